"""The terminal app. Draws what the engine tells; computes nothing of the model."""
