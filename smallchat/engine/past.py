"""The past of the next token: what the KV caches of all ranks hold, and its checkpoints on disk."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from smallchat import paths
from smallchat.engine.checkpoints.fingerprint import fingerprint
from smallchat.engine.checkpoints.folder import Folder
from smallchat.engine.checkpoints.keeper import WORTH, Checkpoints, common
from smallchat.engine.crew import Crew
from smallchat.errors import EngineError
from smallchat.model.decoder import Watcher

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SAVE_SECONDS = 0.3
"""A prompt waits so long, at the most, for what it overwrites to be kept."""


class Past:
    """The tokens that were read, of one engine."""

    def __init__(self, crew: Crew, checkpoints: int) -> None:
        """`checkpoints`: bytes of disk where `save_some` keeps them (0: none, and none is looked for)."""
        self.ids: list[int] = []
        """The tokens that the KV caches hold."""
        self.logits: Floats | None = None
        """float32 [1, vocabulary], behind the last of them; None: not known."""
        self._crew, self._checkpoint_bytes = crew, checkpoints
        self._fingerprint: bytes | None = None  # known once it is wanted
        self._checkpoints: Checkpoints | None = None
        self._unsaved = False  # something was read that may be no checkpoint yet

    def feed(self, tokens: Ints, watcher: Watcher) -> Floats:
        """One pass for these tokens, int64 [n], behind those that are there; logits [1, vocabulary] of the
        last. What `watcher` raises gives the pass up.

        Raises `EngineError`, and nothing is kept, where a rank has ended or the model's file was changed.
        """
        if self._checkpoints is not None and self._checkpoints.loses(len(self.ids) + len(tokens)):
            while self.save_some():
                pass
        file = self._crew.model.gguf
        try:
            logits = self._crew.forward(tokens, watcher=watcher)
        except EngineError:
            file.check()  # that a rank has ended may come of it
            raise
        file.check()
        self.logits = logits.copy()
        self.ids.extend(tokens.tolist())
        self._unsaved = True
        return self.logits

    def reuse(self, prompt: Ints, owner: int) -> int:
        """Hold nothing but tokens at the beginning of `prompt`, as many of them as are known: in the KV
        caches or, longer, in a checkpoint; how many. All of them only where their logits are known too.

        `owner` is the number of the conversation, for `checkpoints.forget`.
        """
        shared, total = common(self.ids, prompt), len(prompt)
        if shared == total == len(self.ids) and self.logits is not None:
            return total
        # The last token is computed in any case: its logits are what is wanted.
        reused = self._rewind(prompt, min(shared, total - 1), owner)
        self.ids[:] = prompt[:reused].tolist()
        self.logits = None
        return reused

    def save_some(self) -> bool:
        """Keep a part of what was read as a checkpoint: some milliseconds of work. False: nothing is left to
        be kept.
        """
        checkpoints = self._open_checkpoints() if self._unsaved else None
        self._unsaved = checkpoints is not None and checkpoints.keep(self.ids)
        return self._unsaved

    def clear(self) -> None:
        """Forget all."""
        self._crew.cache.rewind(0)
        self.ids, self.logits = [], None

    def lost(self) -> None:
        """The KV caches are others now, and empty."""
        self.ids, self.logits, self._checkpoints = [], None, None

    def _rewind(self, prompt: Ints, shared: int, owner: int) -> int:
        """Let the KV caches hold the known tokens at the beginning of `prompt`, of which they have the first
        `shared`; how many."""
        checkpoints = self._open_checkpoints()
        if checkpoints is None:
            return self._crew.cache.rewind(shared)
        if len(self.ids) - shared >= WORTH:  # what is about to be overwritten
            until = time.perf_counter() + SAVE_SECONDS
            while time.perf_counter() < until and self.save_some():
                pass
        checkpoints.owner = owner
        self._crew.make_room(len(prompt))
        return checkpoints.resume(prompt, shared)

    def _open_checkpoints(self) -> Checkpoints | None:
        if self._checkpoints is None and self._checkpoint_bytes:
            crew = self._crew
            if self._fingerprint is None:
                setup = crew.setup
                self._fingerprint = fingerprint(crew.model, crew.kernels.name, setup.threads, setup.kv)
            folder = Folder(paths.checkpoints(), self._checkpoint_bytes)
            self._checkpoints = Checkpoints(folder, self._fingerprint, crew.caches)
        return self._checkpoints
