"""A released folder's config.json and tokenizer, as the metadata that llama.cpp's converter writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from smallchat.errors import ModelError
from smallchat.hub import gguf_writer as out
from smallchat.hub.safetensors import CURE, MAX_JSON, Folder
from smallchat.model.config import ARCHITECTURE, GLOBAL_EVERY, LARGEST, Gating
from smallchat.model.template import MAX_SOURCE

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""GGUF's kinds of tokens."""

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""How the released tokenizers split text: GGUF's pre-tokenizer "qwen2"."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """The dimensions that tensors are held against."""

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_size: int
    experts: int
    expert_width: int
    tied: bool


def shapes(folder: Folder) -> Shapes:
    """The dimensions of config.json. Raises `ModelError`."""
    config = _Config(folder)
    if config.values.get("model_type", ARCHITECTURE) != ARCHITECTURE:
        raise config.wrong(f"it is a {str(config.values.get('model_type'))[:40]!r}, not a SmallThinker")
    heads = config.count("num_attention_heads")
    return Shapes(
        layers=config.count("num_hidden_layers", limit=4096),
        hidden=config.count("hidden_size"),
        vocabulary=config.count("vocab_size"),
        heads=heads,
        kv_heads=config.count("num_key_value_heads", heads),
        head_size=config.count("head_dim", max(1, config.count("hidden_size") // heads)),
        experts=config.count("moe_num_primary_experts"),
        expert_width=config.count("moe_ffn_hidden_size"),
        tied=config.values.get("tie_word_embeddings") is True,
    )


def metadata(folder: Folder, file_type: int) -> list[bytes]:
    """All entries of the GGUF. Raises `ModelError` for a folder that is no SmallThinker or cannot be one."""
    config, model = _Config(folder), shapes(folder)
    key = f"{ARCHITECTURE}.{{}}".format
    softmax = config.values.get("moe_primary_router_apply_softmax") is True
    entries = [
        out.text("general.architecture", ARCHITECTURE),
        out.text("general.type", "model"),
        out.text("general.name", os.fsencode(folder.path.resolve().name).decode("utf-8", "replace")),
        out.u32(key("block_count"), model.layers),
        out.u32(key("context_length"), config.count("max_position_embeddings", limit=1 << 30)),
        out.u32(key("embedding_length"), model.hidden),
        out.u32(key("attention.head_count"), model.heads),
        out.u32(key("attention.head_count_kv"), model.kv_heads),
        out.f32(key("rope.freq_base"), config.number("rope_theta", 10000.0)),
        out.f32(key("attention.layer_norm_rms_epsilon"), config.number("rms_norm_eps", 1e-6)),
        out.u32(key("attention.key_length"), model.head_size),
        out.u32(key("attention.value_length"), model.head_size),
        out.u32("general.file_type", file_type),
        out.u32(key("expert_count"), model.experts),
        out.u32(
            key("expert_used_count"), config.count("moe_num_active_primary_experts", limit=model.experts)
        ),
        out.u32(key("expert_feed_forward_length"), model.expert_width),
        out.u32(key("feed_forward_length"), model.expert_width),
        out.u32(key("expert_gating_func"), Gating.SOFTMAX if softmax else Gating.SIGMOID),
        *_windows(config, model.layers),
        out.u32("general.quantization_version", 2),
    ]
    return entries + _vocabulary(folder, config, model.vocabulary)


def _windows(config: _Config, layers: int) -> list[bytes]:
    """The sliding window. The format knows one rule: layers that turn are those with a window, if any has."""
    sliding = config.layout("sliding_window_layout", layers, False)
    rotary = config.layout("rope_layout", layers, True)
    if rotary != (sliding if any(sliding) else [True] * layers):
        raise config.wrong(
            "its rope_layout and sliding_window_layout go together in a way that GGUF cannot tell"
        )
    if not any(sliding):
        return []
    entries = [
        out.u32(
            f"{ARCHITECTURE}.attention.sliding_window", config.count("sliding_window_size", limit=1 << 30)
        )
    ]
    if sliding != [layer % GLOBAL_EVERY != 0 for layer in range(layers)]:
        entries.append(out.booleans(f"{ARCHITECTURE}.attention.sliding_window_pattern", sliding))
    return entries


def _vocabulary(folder: Folder, config: _Config, size: int) -> list[bytes]:
    tokenizer = folder.json("tokenizer.json")
    model = (tokenizer or {}).get("model")
    if tokenizer is None or not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise config.wrong("it has no tokenizer.json with a BPE vocabulary")
    if QWEN2 not in _patterns(tokenizer.get("pre_tokenizer")):
        raise config.wrong("its tokenizer.json splits text in another way than the released models'")
    tokens = [f"[PAD{index}]" for index in range(size)]
    kinds = [UNUSED] * size
    named: list[tuple[Any, Any, int]] = [(text, index, NORMAL) for text, index in _items(model.get("vocab"))]
    for added in config.listed("added_tokens", tokenizer):
        if isinstance(added, dict):
            kind = CONTROL if added.get("special") is True else USER_DEFINED
            named.append((added.get("content"), added.get("id"), kind))
    for token, index, kind in named:
        if not isinstance(token, str) or type(index) is not int or not 0 <= index < size:
            raise config.wrong(f"its vocabulary has the token {str(token)[:40]!r} at {str(index)[:20]}")
        tokens[index], kinds[index] = token, kind
    merges = [
        merge if isinstance(merge, str) else _pair(config, merge) for merge in config.listed("merges", model)
    ]
    ids = {token: index for index, token in enumerate(tokens)}
    told = folder.json("tokenizer_config.json") or {}
    return [
        out.text("tokenizer.ggml.model", "gpt2"),
        out.text("tokenizer.ggml.pre", "qwen2"),
        out.texts("tokenizer.ggml.tokens", tokens),
        out.i32s("tokenizer.ggml.token_type", kinds),
        out.texts("tokenizer.ggml.merges", merges),
        *_specials(config, told, ids),
        out.boolean("tokenizer.ggml.add_bos_token", told.get("add_bos_token") is True),
        *_template(config, told),
    ]


def _specials(config: _Config, told: dict[str, Any], ids: dict[str, int]) -> list[bytes]:
    """Ids of what begins, ends and fills: by tokenizer_config.json, else by config.json."""
    entries = []
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("padding", "pad")):
        token = told.get(f"{theirs}_token")
        token = token.get("content") if isinstance(token, dict) else token
        index = ids.get(token) if isinstance(token, str) else None
        if index is None:
            index = config.values.get(f"{theirs}_token_id")
        if type(index) is int and 0 <= index < len(ids):
            entries.append(out.u32(f"tokenizer.ggml.{ours}_token_id", index))
    return entries


def _template(config: _Config, told: dict[str, Any]) -> list[bytes]:
    template = told.get("chat_template")
    path = config.path / "chat_template.jinja"
    try:
        if path.is_file() and path.stat().st_size <= MAX_JSON:
            template = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise config.wrong(f"{path.name} cannot be read: {error.strerror}") from None
    if isinstance(template, list):  # several by name
        named = [
            one.get("template") for one in template if isinstance(one, dict) and one.get("name") == "default"
        ]
        template = named[0] if named else None
    if not isinstance(template, str) or len(template) > MAX_SOURCE:
        return []
    return [out.text("tokenizer.chat_template", template)]


def _items(vocabulary: Any) -> list[tuple[Any, Any]]:
    return list(vocabulary.items()) if isinstance(vocabulary, dict) else []


def _pair(config: _Config, merge: Any) -> str:
    if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(part, str) for part in merge):
        raise config.wrong(f"its merges hold {str(merge)[:40]!r}")
    return " ".join(merge)


def _patterns(node: Any, depth: int = 0) -> list[str]:
    """Every regular expression that a pre-tokenizer splits by."""
    if not isinstance(node, dict) or depth > 4:
        return []
    pattern, parts = node.get("pattern"), node.get("pretokenizers")
    text = pattern.get("Regex") if isinstance(pattern, dict) else None
    found = [text] if isinstance(text, str) else []
    for inner in parts if isinstance(parts, list) else []:
        found += _patterns(inner, depth + 1)
    return found


class _Config:
    """Typed and bounded access to config.json."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder.path
        values = folder.json("config.json")
        if values is None:
            raise self.wrong("config.json is missing")
        self.values = values

    def count(self, key: str, default: int | None = None, limit: int = LARGEST) -> int:
        value = self.values.get(key)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value <= limit:
            raise self.wrong(f"config.json has {key} = {str(value)[:40]}")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.values.get(key)
        value = default if value is None else value
        if type(value) not in (int, float) or not 0 < value <= 1e12:  # also what is infinite, or no number
            raise self.wrong(f"config.json has {key} = {str(value)[:40]}")
        return float(value)

    def layout(self, key: str, layers: int, default: bool) -> list[bool]:
        value = self.values.get(key)
        if value is None:
            return [default] * layers
        if not isinstance(value, list) or len(value) != layers or not all(one in (0, 1) for one in value):
            raise self.wrong(f"config.json has a {key} that is not one 0 or 1 a layer")
        return [bool(one) for one in value]

    def listed(self, key: str, tokenizer: dict[str, Any]) -> list[Any]:
        """A list that stands in (a part of) tokenizer.json; empty where it does not."""
        value = tokenizer.get(key) or []
        if not isinstance(value, list):
            raise self.wrong(f"tokenizer.json has {key} that are no list")
        return value

    def wrong(self, what: str) -> ModelError:
        return ModelError(f"{self.path} cannot be converted: {what}", CURE)
