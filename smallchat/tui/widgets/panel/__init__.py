"""The live view of the engine."""
