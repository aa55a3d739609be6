"""`smallchat info MODEL`: what a model file is, without reading its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smallchat.commands.printing import print_json
from smallchat.model.card import read_card
from smallchat.model.config import ModelConfig, read_config
from smallchat.model.gguf import GgufFile
from smallchat.model.kv_cache import KVCache
from smallchat.model.weights import read_weights
from smallchat.settings import DEFAULT_CONTEXT, DEFAULT_KV
from smallchat.tui.text import plain, size


def run(path: Path, as_json: bool) -> None:
    """Print the facts of the file at `path`. Raises `ModelError`."""
    facts = read(path)
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = (
            size(value) if name.endswith("_bytes") else f"{value:,}" if isinstance(value, int) else str(value)
        )
        print(f"{name.removesuffix('_bytes').replace('_', ' '):<{width}}  {plain(shown)}")


def read(path: Path) -> dict[str, Any]:
    """The facts of a model file, by name; sizes in bytes. Raises `ModelError`."""
    gguf = GgufFile(path)
    try:
        config = read_config(gguf)
        weights = read_weights(gguf, config)
        card = read_card(gguf, config)
        context = min(DEFAULT_CONTEXT, config.context)
        return {
            "name": card.name,
            "path": str(path),
            "quantisation": weights.quantisation,
            "parameters": card.parameters,
            "active_parameters": card.active_parameters,
            "layers": config.layers,
            "hidden": config.hidden,
            "vocabulary": config.vocabulary,
            "heads": f"{config.heads} query, {config.kv_heads} key and value, of {config.head_size}",
            "attention": _attention(config),
            "experts": f"{config.experts} a layer, {config.experts_used} a token, {config.expert_width} wide",
            "router": config.gating.name.lower(),
            "down_projection": "transposed" if weights.layers[0].down_transposed else "plain",
            "context": config.context,
            "file_bytes": gguf.size,
            "experts_bytes": weights.expert_bytes,
            "dense_weights_bytes": weights.dense_bytes,
            f"kv_cache_at_{context}_bytes": KVCache.bytes_for(
                config.windows, context, config.kv_heads, config.head_size, DEFAULT_KV
            ),
        }
    finally:
        gguf.close()


def _attention(config: ModelConfig) -> str:
    windows = sorted({window for window in config.windows if window})
    if not windows:
        return "global with RoPE in every layer"
    sliding = sum(window is not None for window in config.windows)
    return f"{sliding} layers RoPE in a window of {windows[0]}, {config.layers - sliding} global without RoPE"
