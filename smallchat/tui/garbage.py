"""Garbage is collected while nobody waits for the screen.

A look through everything holds the screen up for 20 to 100 ms, in which no key is echoed.
"""

from __future__ import annotations

import gc

AFTER_SECONDS = 3.0
"""How long nothing has moved before a look through everything."""
WORTH = 10
"""… if what is younger was looked through so often since the last one: 70,000 objects came and stayed."""


def begin() -> None:
    """All that is there by now stays until the end: it is left out. The rest is left to `tidy`.

    Python still looks through everything by itself, but so seldom that a single answer hardly gets there:
    without any end, what is not collected would be too much for a small memory budget.
    """
    gc.freeze()
    gc.set_threshold(700, 10, 1500)


def tidy() -> None:
    """Look through everything, if that is worth it."""
    if gc.get_count()[2] >= WORTH:
        gc.collect()
