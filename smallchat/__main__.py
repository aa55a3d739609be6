"""`python -m smallchat` is `smallchat`."""

from smallchat.cli import main

main()
