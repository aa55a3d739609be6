"""The saved conversations, beside the talk."""
