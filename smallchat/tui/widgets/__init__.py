"""The parts of the chat screen, by area."""
