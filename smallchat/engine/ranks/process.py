"""A rank's own process: `python -m smallchat.engine.ranks.process`, told on its standard input what to load.

It computes when the leader's command counter moves, sleeps when that has not moved for a while, and ends when
its input closes or its parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from smallchat.engine.caches import make_caches
from smallchat.engine.loading import open_model
from smallchat.engine.ranks.leader import Plan
from smallchat.engine.ranks.memory import Handles, SharedMemory, Sizes
from smallchat.engine.ranks.team import (
    COMMAND,
    COUNT,
    EVERY,
    SPARSE,
    START,
    AbandonedError,
    RankTeam,
    order_memory,
)
from smallchat.experts.shared import SharedExperts
from smallchat.experts.slab import Slab, SlabSizes
from smallchat.kernels.choose import again
from smallchat.model.decoder import Decoder, Experts
from smallchat.model.share import Share
from smallchat.settings import SparseHead
from smallchat.sharing import offer

AWAKE_SECONDS = 0.02
"""A rank without a command sleeps after this long."""
SETTLE_SECONDS = 0.001
"""Between saying that it sleeps and looking once more: a leader that did not see the first writes no byte."""
READY = 1
"""In place of the last command done; commands count from 2."""


class Rank:
    """One rank, ready to compute."""

    def __init__(self, source: int) -> None:
        """`source` is the file descriptor of the leader's pipe."""
        self._source = source
        body = json.loads(_line(source))
        sizes, head = Sizes(**body["sizes"]), body["head"]
        made = {
            "sizes": sizes,
            "head": head and SparseHead(**head),
            "handles": body["handles"] and Handles(**body["handles"]),
        }
        plan = Plan(**{key: body[key] for key in Plan.__slots__} | made)
        self._rank, self._parent = int(body["rank"]), int(body["parent"])
        self._memory = SharedMemory(plan.sizes, body["handle"])
        self._mine = self._memory.line(self._rank)
        share = Share(self._rank, plan.sizes.ranks)
        self._team = RankTeam(self._memory, share, self.watch)
        model = open_model(plan.path, False, plan.handles, plan.repacks)
        self._rest: Callable[[], None] = lambda: None
        """Called before it sleeps."""
        if plan.handles is None or plan.handles.slab is None:
            experts: Experts = (mapped := model.mapped(share, plan.repack))
            self._rest = mapped.rest
        else:
            slab = Slab(SlabSizes(**body["slab"]), plan.handles.slab)
            experts = shared = SharedExperts(slab, model.layout, model.wrap, self._rank)
            shared.watch = self._look_around
        kernels = again(plan.kernels, plan.repacks)
        self._decoder = Decoder(model.config, model.weights, kernels, experts, self._team)
        self._head = plan.head
        caches = make_caches(model.config, plan.sizes.ranks, plan.context, plan.kv, self._memory.kv)
        self._cache = caches[self._rank]

    def watch(self) -> None:
        """End where the leader has ended."""
        if os.name == "posix" and os.getppid() != self._parent:
            os._exit(0)

    def _look_around(self) -> None:
        self.watch()
        self._team.check()

    def work(self) -> None:
        """Carry out commands for ever."""
        memory = self._memory
        memory.done[self._mine] = READY
        last = 0
        while True:
            self._wait(last)
            order_memory()
            last = memory.control[COMMAND]
            self._team.begin(last)
            start, count = memory.control[START], memory.control[COUNT]
            self._cache.length = start
            try:
                self._decoder.forward(
                    memory.ids[:count].copy(),
                    self._cache,
                    bool(memory.control[EVERY]),
                    sparse=self._head if memory.control[SPARSE] else None,
                )
            except AbandonedError:
                self._decoder.experts.forget()
            memory.done[self._mine] = last

    def _wait(self, last: int) -> None:
        control, spins = self._memory.control, 0
        until = time.monotonic() + AWAKE_SECONDS
        while control[COMMAND] == last:
            spins += 1
            if spins > 1000:
                offer()
                if spins % 64 == 0 and time.monotonic() > until:
                    self._sleep(last)
                    until = time.monotonic() + AWAKE_SECONDS

    def _sleep(self, last: int) -> None:
        asleep = self._memory.asleep
        self._rest()
        asleep[self._mine] = 1
        time.sleep(SETTLE_SECONDS)
        if self._memory.control[COMMAND] == last and not os.read(self._source, 1):
            os._exit(0)  # the leader is gone
        asleep[self._mine] = 0


def _line(source: int) -> bytes:
    """The first line, byte by byte: what follows it is not for us to take yet."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(source, 1)
        if not byte:
            os._exit(0)
        line += byte
    return line


def main() -> None:
    """Entry of the process."""
    Rank(sys.stdin.fileno()).work()


if __name__ == "__main__":
    main()
