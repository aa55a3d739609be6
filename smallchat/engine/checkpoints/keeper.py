"""Keeps what the KV caches hold, block by block, and brings back what a prompt shares with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.engine.checkpoints.block import BLOCK, Block, DamagedError, read, short, write
from smallchat.engine.checkpoints.folder import Folder, remove, touch
from smallchat.model.kv_cache import KVCache, LayerCache

Ids = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

WORTH = 16
"""Tokens that are read again sooner than kept or brought back."""


@dataclass(frozen=True, slots=True)
class Found:
    """A block, and how far the wanted tokens agree with it."""

    path: Path
    block: Block
    stop: int
    """Position behind the last token that agrees."""


class Checkpoints:
    """The checkpoints of one loaded model. Where the disk fails, nothing is kept and nothing is said."""

    def __init__(self, folder: Folder, fingerprint: bytes, caches: Sequence[KVCache]) -> None:
        """`caches` are those of all ranks, which do nothing while a method runs."""
        self._folder, self._root = folder, fingerprint
        self._lead = caches[0]
        self._caches = [cache for cache in caches if cache.token_size]
        self._token_size = sum(cache.token_size for cache in self._caches)
        rings = [layer.capacity for cache in caches for layer in cache.layers if layer.window is not None]
        self._ring = min(rings, default=None)
        self.owner = 0
        """The conversation that is being read."""
        self.kept = 0
        """How many of the tokens that the caches hold are kept, or given up."""
        self._buffer: Bytes | None = None

    def find(self, ids: npt.ArrayLike) -> list[Found]:
        """The blocks that hold the longest beginning of `ids` which can be brought back; empty: none."""
        found: list[Found] = []
        children, wanted, parent = self._children(), np.asarray(ids, np.int32), self._root
        at = 0
        while at < len(wanted):
            rest = wanted[at : at + BLOCK]
            sound = self._sound(children[short(parent)], parent, at)
            best = max(
                (Found(path, block, at + common(block.ids, rest)) for path, block in sound),
                key=lambda one: (one.stop, -one.block.whole_from),
                default=None,
            )
            if best is None or best.stop == at:
                break
            found.append(best)
            if best.stop < at + BLOCK:
                break
            at, parent = best.stop, best.block.key
        while found and not self._complete(found):
            found.pop()
        return found

    def resume(self, prompt: npt.NDArray[np.int64], shared: int) -> int:
        """Make the caches, whose first `shared` tokens are those of `prompt`, hold as many of them as they
        can, all but the last; how many.
        """
        while True:
            self.kept = min(self.kept, shared)
            found = self.find(prompt[:-1])
            worth = bool(found) and found[-1].stop >= self._lead.keeps(shared) + WORTH
            first = self._lead.rewind(shared)
            if not worth:
                return first
            if self._restore(found, first):
                stop = self._lead.length = self.kept = found[-1].stop
                self._lead.wrote(stop)
                return stop
            self._lead.rewind(0)
            shared = 0

    def _restore(self, found: Sequence[Found], first: int) -> bool:
        """Write positions from `first` on into the caches; False where a file is damaged, which goes."""
        stop = found[-1].stop
        used = []
        for one in found:
            used.append(one.path)
            if one.stop <= first:
                continue
            try:
                block = read(one.path, self._token_size, self._memory())
            except (DamagedError, OSError):
                remove(one.path)
                return False
            count = len(block.ids)
            for layer, data in self._parts(count):
                low = max(first, block.start, 0 if layer.window is None else stop - layer.capacity)
                if low < one.stop:
                    layer.restore(low, one.stop, data, block.start)
        touch(used)
        return True

    def loses(self, length: int) -> bool:
        """Whether going on to `length` tokens overwrites something that is not kept, or not in a whole
        block: its later tokens are still to be written with it.
        """
        if self._ring is None:
            return False
        kept = self.kept - self.kept % BLOCK if self._ring >= BLOCK else self.kept
        return length - self._ring > kept

    def keep(self, ids: Sequence[int]) -> bool:
        """Write the first block of `ids`, which the caches hold, that is not there yet. False: there is
        nothing more to write, or no room for it.
        """
        try:
            if self._keep(np.asarray(ids, np.int32), self._lead.intact_from):
                return True
        except OSError:
            pass
        self.kept = len(ids)
        return False

    def _keep(self, ids: Ids, whole_from: int) -> bool:
        children, parent, chain = self._children(), self._root, list[Path]()
        for start in range(0, len(ids), BLOCK):
            block = Block(parent, start, ids[start : start + BLOCK], whole_from, self.owner)
            before = list(self._sound(children[short(parent)], parent, start))
            there = [path for path, other in before if _holds(other, block)]
            if not there:
                return self._write(block, before, chain)
            chain += there
            parent = block.key
        touch(chain)
        return False

    def _write(self, block: Block, before: Sequence[tuple[Path, Block]], chain: list[Path]) -> bool:
        as_whole = [other for _, other in before if other.whole_from <= max(block.whole_from, block.start)]
        held = max((common(other.ids, block.ids) for other in as_whole), default=0)
        size = self._token_size * len(block.ids)
        if len(block.ids) < BLOCK and len(block.ids) - held < WORTH:
            return False
        if not self._folder.make_room(size, chain):
            return False
        payload = self._memory()[:size]
        payload.fill(0)
        stop = block.start + len(block.ids)
        for layer, data in self._parts(len(block.ids)):
            low = max(block.start, 0 if layer.window is None else block.whole_from)
            if low < stop:
                layer.save(low, stop, data, block.start)
        write(self._folder.path / block.name, block, payload)
        for path, other in before:  # what this one holds too
            if path.name != block.name and _holds(block, other):
                remove(path)
        return True

    def _children(self) -> defaultdict[str, list[Path]]:
        """Files by what they follow."""
        children: defaultdict[str, list[Path]] = defaultdict(list)
        try:
            for entry in self._folder.entries():
                children[entry.parent].append(entry.path)
        except OSError:
            pass
        return children

    def _sound(self, paths: Sequence[Path], parent: bytes, start: int) -> Iterator[tuple[Path, Block]]:
        """Those that are what they are called; the others are removed."""
        for path in paths:
            try:
                block = read(path, self._token_size)
            except (DamagedError, OSError):
                remove(path)
                continue
            if block.parent == parent and block.start == start:
                yield path, block
            else:
                remove(path)

    def _complete(self, found: Sequence[Found]) -> bool:
        """Whether sliding-window layers have all that is looked at behind the last of these tokens."""
        if self._ring is None:
            return True
        needed = max(0, found[-1].stop - self._ring)
        return all(one.block.whole_from <= max(needed, one.block.start) for one in found if one.stop > needed)

    def _parts(self, count: int) -> Iterator[tuple[LayerCache, Bytes]]:
        """Each layer of each rank, and its part of a payload of `count` tokens."""
        at, memory = 0, self._memory()
        for cache in self._caches:
            size = count * (cache.token_size // len(cache.layers))
            for layer in cache.layers:
                yield layer, memory[at : at + size]
                at += size

    def _memory(self) -> Bytes:
        """Room for one block."""
        if self._buffer is None:
            self._buffer = np.empty(BLOCK * self._token_size, np.uint8)
        return self._buffer


def common(one: npt.ArrayLike, other: npt.ArrayLike) -> int:
    """How many ids two sequences begin with alike."""
    one, other = np.asarray(one), np.asarray(other)
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


def _holds(one: Block, other: Block) -> bool:
    """Whether the first, which follows the same tokens, makes the second needless."""
    begins = common(one.ids, other.ids) == len(other.ids)
    return begins and one.whole_from <= max(other.whole_from, one.start)
