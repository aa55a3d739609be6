"""smallchat: an offline chat in the terminal for SmallThinker models."""

__version__ = "0.1.0"
