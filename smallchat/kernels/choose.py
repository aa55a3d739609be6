"""Which kernels compute: what was asked for, or the fastest that works here."""

from __future__ import annotations

from smallchat.errors import KernelError
from smallchat.kernels.base import Kernels
from smallchat.kernels.ggml import GgmlKernels, find_library, find_repacked
from smallchat.kernels.numpy import NumpyKernels


def choose(name: str) -> tuple[Kernels, str | None]:
    """Kernels for `name` ("auto", "numpy" or "ggml"), and what the user should be told, if anything.

    Raises `KernelError` where "ggml" is asked for and does not run; "auto" then takes NumPy and says so.
    """
    if name == "numpy":
        return NumpyKernels(), None
    if name not in {"auto", "ggml"}:
        raise KernelError(f"There are no kernels called {name!r}", "Choose auto, numpy or ggml")
    try:
        return GgmlKernels(find_library(), repacked=find_repacked()), None
    except KernelError as error:
        if name == "ggml":
            raise
        return NumpyKernels(), f"{error.what}, so NumPy computes, which is several times slower."


def again(name: str, repacks: bool) -> Kernels:
    """The kernels of this name once more, in another process of the same engine: tried already, and found to
    repack or not."""
    if name == "numpy":
        return NumpyKernels()
    return GgmlKernels(find_library(), probe=False, repacked=find_repacked() if repacks else None)
