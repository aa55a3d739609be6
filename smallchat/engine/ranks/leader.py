"""The first rank's hold on the others: it starts them, gives the commands, and ends them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smallchat.engine.ranks.memory import Handles, SharedMemory, Sizes
from smallchat.engine.ranks.team import (
    ABANDONED,
    COMMAND,
    COUNT,
    EVERY,
    SPARSE,
    START,
    RankTeam,
    order_memory,
)
from smallchat.errors import EngineError
from smallchat.experts.slab import SlabSizes
from smallchat.interpreter import PYTHON
from smallchat.model.share import Share
from smallchat.settings import KVType, SparseHead

START_SECONDS = 120
"""A rank that is not ready by then has failed."""
_NOT_STARTED = "A process of the decoder does not start", "Try --threads 1"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rank needs to know to load its share."""

    path: str
    kernels: str
    """The name that was chosen: "numpy" or "ggml"."""
    context: int
    kv: KVType
    head: SparseHead | None
    """How a sparse head is computed, where that is wanted."""
    sizes: Sizes
    repacks: bool = False
    """Whether those kernels know interleaved rows: all ranks alike, or they would share work otherwise."""
    repack: bool = False
    """Whether experts are repacked where they are first used."""
    slab: SlabSizes | None = None
    """Where experts lie; None: the mapped file serves them."""
    handles: Handles | None = None
    """… and how that memory is found."""


class Ranks:
    """The ranks beside this process, and the team that they make with it."""

    def __init__(self, plan: Plan) -> None:
        """Starts the processes and returns: `command` waits until they are ready.

        Raises `EngineError` where one cannot be started.
        """
        size = plan.sizes.ranks
        self.watch: Callable[[], None] = lambda: None
        """What else to look at while waiting for a rank; it may raise."""
        self._number = 1  # of the latest command; `done` says 1 once a rank is ready
        self._ready = False
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self.memory = SharedMemory(plan.sizes)
            for rank in range(1, size):
                self._processes.append(_start(plan, rank, self.memory))
        except OSError as error:
            self.close()
            raise EngineError(
                f"A process of the decoder could not be started: {error.strerror}", "Try --threads 1"
            ) from None
        self.team = RankTeam(self.memory, Share(0, size), self._look_around)

    @property
    def pids(self) -> list[int]:
        """Process numbers of the other ranks."""
        return [process.pid for process in self._processes]

    def command(self, ids: npt.NDArray[np.int64], start: int, every: bool, sparse: bool) -> None:
        """Let all ranks feed `ids`, int64 [n ≤ chunk], at positions `start`…; this process then does its
        share.

        Raises `EngineError` where a rank has ended.
        """
        if not self._ready:
            self._wait_until_ready()
        memory = self.memory
        control = memory.control
        memory.ids[: len(ids)] = ids
        control[START], control[COUNT] = start, len(ids)
        control[EVERY], control[SPARSE] = every, sparse
        self._number += 1
        self.team.begin(self._number)
        order_memory()
        control[COMMAND] = self._number
        order_memory()
        for rank, process in enumerate(self._processes, 1):
            if memory.asleep[memory.line(rank)]:
                self._wake(process)

    def abandon(self) -> None:
        """Give the running pass up, in whatever state: returns when every rank waits for a new command.

        Raises `EngineError` where one has ended, or has not become ready: it may never do so.
        """
        if not self._ready:
            raise EngineError(*_NOT_STARTED)
        self.memory.control[ABANDONED] = self._number
        for rank in range(1, len(self._processes) + 1):
            while self.memory.done[self.memory.line(rank)] < self._number:
                self._check()
                time.sleep(0.0005)

    def close(self) -> None:
        """End the other ranks. Never raises."""
        for process in self._processes:
            with contextlib.suppress(OSError):
                process.kill()  # it holds nothing that needs an orderly end
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        if hasattr(self, "memory"):
            self.memory.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        for rank in range(1, len(self._processes) + 1):
            while self.memory.done[self.memory.line(rank)] == 0:
                self._check()
                if time.monotonic() > deadline:
                    raise EngineError(*_NOT_STARTED)
                time.sleep(0.001)
        self._ready = True

    def _look_around(self) -> None:
        self._check()
        self.watch()

    def _check(self) -> None:
        for process in self._processes:
            code = process.poll()
            if code is not None:
                ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
                raise EngineError(f"A process of the decoder {ended}", "Ask again: it is started anew")

    def _wake(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None:
            return
        try:
            os.write(process.stdin.fileno(), b"\n")
        except OSError:
            self._check()


def _start(plan: Plan, rank: int, memory: SharedMemory) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {}
    if memory.shared.fd is not None:
        others = [] if plan.handles is None else [plan.handles.image, plan.handles.slab]
        options["pass_fds"] = (memory.shared.fd, *(int(handle) for handle in others if handle is not None))
    if os.name == "posix":
        # Ctrl+C in the terminal is for the app to handle; it ends its ranks itself.
        options["start_new_session"] = True
    process = subprocess.Popen(
        [*PYTHON, "-m", "smallchat.engine.ranks.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # One BLAS thread a rank from its first moment: more would be made and then idle.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        **options,
    )
    body = asdict(plan) | {"rank": rank, "handle": memory.shared.handle, "parent": os.getpid()}
    if process.stdin is not None:
        process.stdin.write(json.dumps(body).encode("ascii") + b"\n")
        process.stdin.flush()
    return process
