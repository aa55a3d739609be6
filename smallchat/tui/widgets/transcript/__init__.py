"""The conversation, as far as it is mounted."""
