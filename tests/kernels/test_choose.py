"""Which kernels compute: the fastest that works here, and the truth about it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from smallchat.errors import ExitCode, KernelError
from smallchat.kernels import Matrix, choose, ggml
from smallchat.kernels.numpy import NumpyKernels
from smallchat.kernels.quants import TensorType, row_bytes

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def forget() -> None:
    """Whether a library works is asked once a process: not in these tests."""
    ggml._works.cache_clear()


def library_or_skip() -> Path:
    try:
        return ggml.find_library()
    except KernelError:
        pytest.skip("ctransformers carries no ggml for this processor")


def test_numpy_is_numpy() -> None:
    kernels, note = choose("numpy", 1)
    assert kernels.name == "numpy"
    assert note is None


def test_auto_takes_ggml_where_it_loads_and_names_the_build() -> None:
    build = library_or_skip().parent.name
    kernels, note = choose("auto", 1)
    assert kernels.name == f"ggml ({build})"
    assert note is None


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(KernelError, match="cuda"):
        choose("cuda", 1)


def broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "lib" / "avx2" / "libctransformers.so"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x7fELF not a library at all")
    monkeypatch.setattr(ggml, "find_library", lambda: path)
    monkeypatch.setattr(sys.modules["smallchat.kernels.choose"], "find_library", lambda: path)
    return path


def test_a_broken_library_makes_auto_take_numpy_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken(tmp_path, monkeypatch)
    kernels, note = choose("auto", 1)
    assert type(kernels) is NumpyKernels
    assert kernels.name == "numpy"
    assert note is not None
    assert str(path) in note


def test_a_broken_library_that_is_asked_for_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(tmp_path, monkeypatch)
    with pytest.raises(KernelError) as raised:
        choose("ggml", 1)
    assert raised.value.exit_code is ExitCode.KERNELS


def test_a_library_that_kills_the_process_is_only_seen_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands for a build of the wrong processor: the child that tries it dies of a signal.
    killer = tmp_path / "killer.py"
    killer.write_text("import os, signal; os.kill(os.getpid(), getattr(signal, 'SIGILL', signal.SIGTERM))")
    monkeypatch.setattr(ggml.ggml_abi, "__file__", str(killer))
    path = tmp_path / "basic" / "libctransformers.so"
    with pytest.raises(KernelError, match="does not run"):
        ggml.GgmlKernels(path, 1)


@pytest.mark.parametrize(
    ("system", "machine", "flags", "builds"),
    [
        ("Linux", "x86_64", {"avx", "avx2", "fma", "f16c"}, ("avx2", "avx", "basic")),
        ("Linux", "x86_64", {"avx", "avx2", "f16c"}, ("avx", "basic")),
        ("Linux", "x86_64", {"sse4_2"}, ("basic",)),
        ("Windows", "amd64", None, ("avx2", "avx", "basic")),
        ("Linux", "aarch64", {"asimd"}, ()),
        ("Darwin", "arm64", None, ("basic",)),
    ],
)
def test_builds_follow_the_processor(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    machine: str,
    flags: set[str] | None,
    builds: tuple[str, ...],
) -> None:
    monkeypatch.setattr(ggml.processor, "flags", lambda: flags)
    assert ggml._builds(system, machine) == builds


@pytest.mark.parametrize("kind", [TensorType.Q4_0, TensorType.Q8_0, TensorType.F32, TensorType.F16])
@pytest.mark.parametrize("n", [1, 2, 17])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_products_are_those_of_numpy_on_any_number_of_threads(kind: TensorType, n: int, threads: int) -> None:
    kernels = ggml.GgmlKernels(library_or_skip(), threads)
    random = np.random.default_rng(0)
    rows, cols = 1000, 4352  # enough weights to be shared out, in parts of unequal size
    data = random.integers(0, 256, (rows, row_bytes(kind, cols)), dtype=np.uint8)
    if kind in (TensorType.F32, TensorType.F16):
        real = np.float32 if kind is TensorType.F32 else np.float16
        data = random.normal(0, 1, (rows, cols)).astype(real).view(np.uint8)
    else:
        size = 18 if kind is TensorType.Q4_0 else 34
        data.reshape(-1, size)[:, :2] = np.array([0.01], np.float16).view(np.uint8)
    x = random.normal(0, 1, (n, cols)).astype(np.float32)
    w = Matrix(kind, rows, cols, data)
    expected = NumpyKernels().matmul(x, w)
    got = kernels.matmul(x, w)
    # Each activation is rounded to 8 bit in front of quantised weights.
    assert np.abs(got - expected).max() < 0.05 * expected.std()
    if threads > 1:
        assert np.array_equal(got, ggml.GgmlKernels(library_or_skip(), 1).matmul(x, w))


def test_a_tokens_product_does_not_depend_on_the_tokens_beside_it() -> None:
    kernels = ggml.GgmlKernels(library_or_skip(), 2)
    random = np.random.default_rng(0)
    data = random.integers(0, 256, (64, row_bytes(TensorType.Q4_0, 128)), dtype=np.uint8)
    data.reshape(-1, 18)[:, :2] = np.array([0.01], np.float16).view(np.uint8)
    w = Matrix(TensorType.Q4_0, 64, 128, data)
    x = random.normal(0, 1, (9, 128)).astype(np.float32)
    alone = np.concatenate([kernels.matmul(row[None], w) for row in x])
    assert np.array_equal(alone, kernels.matmul(x, w))


def test_what_ggml_does_not_know_is_computed_by_numpy() -> None:
    kernels = ggml.GgmlKernels(library_or_skip(), 1)
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (8, 64)).astype(np.float32)
    data = (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(8, 128)
    x = random.normal(0, 1, (2, 64)).astype(np.float32)
    w = Matrix(TensorType.BF16, 8, 64, data)
    assert np.allclose(kernels.matmul(x, w), NumpyKernels().matmul(x, w))


def test_transposed_products_skip_silent_neurons_and_stay_right() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (40, 24)).astype(np.float32)
    w = Matrix(TensorType.F32, 40, 24, values.view(np.uint8).reshape(40, 96))
    x = np.maximum(random.normal(0, 1, (3, 40)), 0).astype(np.float32)
    x[:, ::3] = 0
    assert np.allclose(NumpyKernels().matmul_transposed(x, w), x @ values, atol=1e-5)
