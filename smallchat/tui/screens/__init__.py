"""One module for each screen: the chat, and what opens above it."""
