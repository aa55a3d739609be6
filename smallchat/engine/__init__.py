"""Load, generate, telemetry. Speaks token ids and events; knows no screen."""

from typing import TYPE_CHECKING, Any

from smallchat import processor

if TYPE_CHECKING:
    from smallchat.engine.engine import Engine

__all__ = ["Engine"]

processor.tune_blas()


def __getattr__(name: str) -> Any:
    # The screen imports the events and the client of this package; it must not pay for NumPy and the decoder.
    if name == "Engine":
        from smallchat.engine.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
