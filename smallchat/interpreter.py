"""How a process of our own is started. Imports nothing large: all that start one use it."""

from __future__ import annotations

import sys

PYTHON = (sys.executable, "-P")
"""Our interpreter, that imports nothing from the folder that the user is in, nor from a program's own."""
