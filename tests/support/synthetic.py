"""Small shapes for made-up models."""

from __future__ import annotations

from dataclasses import replace

from smallchat.model.config import Gating
from smallchat.model.synthetic import Shape

TINY = Shape(
    layers=10,
    hidden=256,
    heads=4,
    kv_heads=2,
    experts=32,
    experts_used=4,
    expert_width=96,
    context=1024,
    gating=Gating.SIGMOID,
    window=None,
    vocabulary=512,
    head_size=32,
)
"""As the 4B: sigmoid, everything seen."""
SLIDING = replace(TINY, experts=64, experts_used=6, gating=Gating.SOFTMAX, window=64)
"""As the 21B: softmax, a window in three of four layers."""
