"""What a model is called and how large it is, in the words that people use for it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from smallchat.model.config import ModelConfig
from smallchat.model.gguf import GgufFile

KNOWN = {
    # layers, hidden, experts: a file's own name may say anything
    (32, 1536, 32): "SmallThinker 4B-A0.6B",
    (52, 2560, 64): "SmallThinker 21B-A3B",
}
_NAME_LENGTH = 60

MADE_UP = "smallchat.made_up"
"""Metadata key of files with made-up weights, which `model/synthetic.py` writes."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Name and size of a model."""

    name: str
    parameters: int
    """All weights."""
    active_parameters: int
    """Weights that one token uses, without embedding and head: the "A" of the models' names."""
    made_up: bool = False
    """Whether the weights are made up: for speed, never for quality."""


def read_card(gguf: GgufFile, config: ModelConfig) -> ModelCard:
    """The card of a file whose tensors were checked."""
    total = sum(math.prod(tensor.shape) for tensor in gguf.tensors.values())
    attention = config.hidden * 2 * (config.query_width + config.kv_width)
    expert = 3 * config.hidden * config.expert_width
    router = config.hidden * config.experts
    active = config.layers * (attention + router + config.experts_used * expert)
    own = str(gguf.metadata.get("general.name") or gguf.path.stem)
    # The name goes to the screen, and the file is not trusted.
    printable = re.sub(r"[^\w .:+()-]", "", own)[:_NAME_LENGTH].strip() or "a SmallThinker"
    name = KNOWN.get((config.layers, config.hidden, config.experts), printable)
    made_up = MADE_UP in gguf.metadata
    return ModelCard(f"{name}, made-up weights" if made_up else name, total, active, made_up)
