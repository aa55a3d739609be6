"""What this machine can do is measured, whatever machine it is."""

from __future__ import annotations

from smallchat.hub import machine


def test_more_processors_than_ggml_has_contexts_are_measured() -> None:
    measured = machine.measure(threads=70)
    assert measured.threads == 70
    assert measured.product_speed > 0
