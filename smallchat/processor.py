"""What this processor is, and what the numerical libraries should take it for. Standard library only."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import MutableMapping
from pathlib import Path


def flags() -> set[str] | None:
    """Instruction sets of this processor in Linux's spelling; None where they cannot be had."""
    system = platform.system()
    try:
        if system == "Linux":
            found = _cpuinfo().get("flags")
            return None if found is None else set(found.split())
        if system == "Darwin":
            names = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
            text = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, timeout=5).stdout
            return {"avx" if flag == "avx1.0" else flag for flag in text.lower().split()}
    except (OSError, subprocess.TimeoutExpired):
        pass
    return None


def tune_blas(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenBLAS take AMD's Zen 4 for a Haswell, unless the user chose something; before NumPy is imported.

    It computes 512 bits in two steps: OpenBLAS's kernels for 256 bits are faster there, by a tenth for 256
    rows and by a third for 32.
    """
    if "OPENBLAS_CORETYPE" in environment or platform.system() != "Linux":
        return
    try:
        facts = _cpuinfo()
    except OSError:
        return
    zen4 = facts.get("vendor_id") == "AuthenticAMD" and facts.get("cpu family") == "25"
    if zen4 and "avx512f" in facts.get("flags", "").split():
        environment["OPENBLAS_CORETYPE"] = "Haswell"


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of Linux's list."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
