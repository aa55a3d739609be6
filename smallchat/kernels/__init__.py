"""Products with quantised matrices: one small interface, NumPy and ggml behind it."""

from smallchat.kernels.base import Kernels, Matrix
from smallchat.kernels.choose import choose

__all__ = ["Kernels", "Matrix", "choose"]
