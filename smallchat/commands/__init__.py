"""What each command of `smallchat` does; `smallchat/cli.py` only parses and calls."""
