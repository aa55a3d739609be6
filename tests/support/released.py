"""Folders as models are released: config.json, tokenizer.json, sharded safetensors, made up on the spot."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smallchat.hub.released import QWEN2
from tests.support.models import Recipe, tensors, vocabulary
from tests.support.reference import Shape

NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate_inp": "block_sparse_moe.primary_router",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


@dataclass(frozen=True)
class Released:
    path: Path
    weights: dict[str, np.ndarray]
    """As `reference.Weights`, exactly as the folder holds them."""
    shape: Shape


def stored(value: np.ndarray, kind: str) -> tuple[bytes, np.ndarray]:
    """(as safetensors hold it, float64 of the same numbers)."""
    if kind == "BF16":
        bits = (value.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
        return bits.tobytes(), (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    held = value.astype({"F32": "<f4", "F16": "<f2"}[kind])
    return held.tobytes(), held.astype(np.float64)


def write_shard(path: Path, parts: dict[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (kind, shape, raw) in parts.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(raw for _, _, raw in parts.values()))


def tokenizer_json(size: int) -> dict[str, object]:
    words = vocabulary(size)
    normal = {token: i for i, token in enumerate(words.tokens) if words.kinds[i] == 1}
    added = [
        {"id": i, "content": token, "special": True}
        for i, token in enumerate(words.tokens)
        if words.kinds[i] == 3
    ]
    split = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}
    return {
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel"}]},
        "model": {"type": "BPE", "vocab": normal, "merges": [merge.split(" ") for merge in words.merges]},
    }


def config_json(recipe: Recipe) -> dict[str, object]:
    shape = recipe.shape()
    return {
        "architectures": ["SmallThinkerForCausalLM"],
        "model_type": "smallthinker",
        "num_hidden_layers": recipe.layers,
        "hidden_size": recipe.hidden,
        "num_attention_heads": recipe.heads,
        "num_key_value_heads": recipe.kv_heads,
        "head_dim": recipe.head,
        "vocab_size": recipe.vocab,
        "max_position_embeddings": recipe.context,
        "rope_theta": recipe.theta,
        "rms_norm_eps": recipe.eps,
        "moe_num_primary_experts": recipe.experts,
        "moe_num_active_primary_experts": recipe.used,
        "moe_ffn_hidden_size": recipe.width,
        "moe_primary_router_apply_softmax": recipe.gating == 1,
        "rope_layout": [int(turns) for turns in shape.rope],
        "sliding_window_layout": [int(window is not None) for window in shape.window],
        "sliding_window_size": recipe.window or 4096,
        "tie_word_embeddings": recipe.tied,
        "bos_token_id": 0,
        "eos_token_id": [0, 2],
    }


def released(recipe: Recipe, path: Path, kind: str = "BF16", shards: int = 2) -> Released:
    """Writes the folder."""
    path.mkdir(parents=True, exist_ok=True)
    weights: dict[str, np.ndarray] = {}
    parts: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for name, value in tensors(recipe).items():
        if name in TOP:
            theirs = [TOP[name]]
            values = [value]
        else:
            _, layer, part = name.split(".")
            prefix = f"model.layers.{layer}."
            if part in NAMES:
                theirs, values = [prefix + NAMES[part]], [value]
            else:
                which = part.split("_")[1]
                theirs = [f"{prefix}block_sparse_moe.experts.{e}.{which}" for e in range(recipe.experts)]
                values = list(value)
        held = [stored(one, kind) for one in values]
        weights[name] = (
            np.array([back for _, back in held]) if len(held) > 1 or value.ndim == 3 else held[0][1]
        )
        for full, one, (raw, _) in zip(theirs, values, held, strict=True):
            parts[f"{full}.weight"] = (kind, one.shape, raw)
    names = list(parts)
    if shards == 1:
        write_shard(path / "model.safetensors", parts)
    else:
        files = {}
        for number, chunk in enumerate(_split(names, shards)):
            file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
            write_shard(path / file, {name: parts[name] for name in chunk})
            files |= dict.fromkeys(chunk, file)
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (path / "config.json").write_text(json.dumps(config_json(recipe)))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer_json(recipe.vocab)))
    told = {
        "eos_token": "<|im_end|>",
        "pad_token": {"content": "<|endoftext|>"},
        "chat_template": recipe.template,
    }
    (path / "tokenizer_config.json").write_text(json.dumps(told))
    return Released(path, weights, recipe.shape())


def _split(names: list[str], shards: int) -> list[list[str]]:
    """In turns, so that a layer's experts lie in several files, as in the real ones."""
    return [names[number::shards] for number in range(shards)]
