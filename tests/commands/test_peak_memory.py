"""Memory is counted at its highest, and that of child processes too."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import psutil

from smallchat.commands.peak_memory import PeakMemory

MIB = 1 << 20


def test_memory_given_back_before_the_look_counts():
    with PeakMemory() as memory:
        memory.look()
        before = memory.bytes
        assert before > 10 * MIB
        block, end = np.ones(300 * MIB, np.uint8), time.monotonic() + 30
        taken = psutil.Process().memory_info()
        private = taken.rss - getattr(taken, "shared", 0)
        # Seen by the thread between two looks: that is what is tested.
        while memory._private < private - MIB and time.monotonic() < end:
            time.sleep(0.01)
        size = block.nbytes
        del block
        memory.look()
        assert memory.bytes > before + 0.9 * size
        highest = memory.bytes
        memory.look()
        assert memory.bytes == highest


def test_children_count():
    with PeakMemory() as memory:
        memory.look()
        before = memory.bytes
        code = "held = bytes(1) * (100 << 20); print(1, flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            memory.look()
            assert memory.bytes > before + 90 * MIB
            child.communicate("\n")
        memory.look()  # it is gone, and that is no error
