"""The KV caches of all ranks: each holds its own heads, and the first rank can reach them all."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import numpy.typing as npt

from smallchat.model.config import ModelConfig
from smallchat.model.kv_cache import KVCache
from smallchat.model.share import Share
from smallchat.settings import KVType


def cache_bytes(config: ModelConfig, ranks: int, context: int, kind: KVType) -> list[int]:
    """Bytes of each rank's cache. Ranks that read the same head each keep it."""
    return [
        KVCache.bytes_for(config.windows, context, _heads(config, rank, ranks), config.head_size, kind)
        for rank in range(ranks)
    ]


def make_caches(
    config: ModelConfig, ranks: int, context: int, kind: KVType, memory: npt.NDArray[np.uint8] | None = None
) -> list[KVCache]:
    """An empty cache for each rank, in `memory` that the ranks share: uint8, of all their bytes."""
    borders = list(accumulate(cache_bytes(config, ranks, context, kind), initial=0))
    return [
        KVCache(
            config.windows,
            context,
            _heads(config, rank, ranks),
            config.head_size,
            kind,
            None if memory is None else memory[borders[rank] : borders[rank + 1]],
        )
        for rank in range(ranks)
    ]


def _heads(config: ModelConfig, rank: int, ranks: int) -> int:
    first, last = Share(rank, ranks).heads(config).kv
    return last - first
