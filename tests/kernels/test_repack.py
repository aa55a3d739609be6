"""Rows interleaved by eight: the same weights, in the order that the newer ggml multiplies."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from smallchat.errors import KernelError
from smallchat.kernels import Matrix, ggml, repacked_abi
from smallchat.kernels.numpy import NumpyKernels
from smallchat.kernels.quants import TensorType, dequantise
from smallchat.kernels.repack import repack, restore


def rows_of(count: int, cols: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    data = random.integers(0, 256, (count, cols // 32 * 18), dtype=np.uint8)
    scales = random.normal(0, 0.02, (count, cols // 32)).astype(np.float16)
    data.reshape(count, -1, 18)[..., :2] = scales[..., None].view(np.uint8)
    return data


def both(count: int, cols: int, seed: int = 0) -> tuple[Matrix, Matrix]:
    """The same matrix, plain and repacked."""
    data = rows_of(count, cols, seed)
    return (
        Matrix(TensorType.Q4_0, count, cols, data),
        Matrix(TensorType.Q4_0_8X8, count, cols, repack(data)),
    )


def kernels_or_skip() -> ggml.GgmlKernels:
    library = ggml.find_repacked()
    if library is None:
        pytest.skip("pywhispercpp carries no ggml for this processor")
    return ggml.GgmlKernels(ggml.find_library(), repacked=library)


def test_the_layout_is_that_of_ggml() -> None:
    """Byte by byte, as `block_q4_0x8` is defined."""
    plain = rows_of(16, 96)
    packed = repack(plain).reshape(2, 3, 144)
    for group in range(2):
        for block in range(3):
            of = [plain[8 * group + row, 18 * block : 18 * block + 18] for row in range(8)]
            scales = np.concatenate([one[:2] for one in of])
            runs = [of[at % 8][2 + at // 8 * 8 : 10 + at // 8 * 8] ^ 0x88 for at in range(16)]
            assert np.array_equal(packed[group, block], np.concatenate([scales, *runs]))


@pytest.mark.parametrize("shape", [(8, 32), (24, 64), (128, 1536), (2560, 768)])
def test_what_is_repacked_can_be_restored(shape: tuple[int, int]) -> None:
    plain = rows_of(*shape)
    plain.flags.writeable = False  # a mapped file
    packed = repack(plain)
    assert not np.array_equal(packed, plain)
    packed.flags.writeable = False
    assert np.array_equal(restore(packed), plain)
    assert np.array_equal(dequantise(TensorType.Q4_0_8X8, packed), dequantise(TensorType.Q4_0, plain))


def test_a_part_of_the_rows_is_the_same_part() -> None:
    plain, packed = both(64, 128)
    part = packed.slice(8, 40)
    assert np.array_equal(restore(part.data), plain.data[8:40])
    with pytest.raises(AssertionError):
        packed.slice(4, 40)


def test_columns_are_cut_as_in_the_file() -> None:
    plain, packed = both(16, 256)
    assert packed.columns(0, 256) is packed
    cut = packed.columns(64, 192)
    assert (cut.kind, cut.cols) == (TensorType.Q4_0, 128)
    assert np.array_equal(cut.data, plain.columns(64, 192).data)


@pytest.mark.parametrize("n", [1, 2, 5, ggml.BLAS_FROM, 40, 200])
@pytest.mark.parametrize("shape", [(8, 32), (768, 1536), (200, 4352)])
def test_products_are_those_of_plain_rows(n: int, shape: tuple[int, int]) -> None:
    kernels = kernels_or_skip()
    assert kernels.repacks
    plain, packed = both(*shape)
    x = np.random.default_rng(1).normal(0, 1, (n, shape[1])).astype(np.float32)
    expected = kernels.matmul(x, plain)
    got = kernels.matmul(x, packed)
    # Both round x to 8 bit alike, or neither does; only sums are made in another order. In between, rows that
    # lie as in the file are multiplied unrounded, and these are not yet.
    rounded = n >= ggml.BLAS_FROM and kernels.wants_repacked(n)
    limit = 4e-3 if rounded else 1e-5
    assert (
        np.abs(got - expected).max()
        < limit * np.abs(x).sum(axis=1).max() * np.abs(kernels.floats(plain)).max()
    )
    assert np.allclose(NumpyKernels().matmul(x, packed), NumpyKernels().matmul(x, plain))
    into = np.full((n, shape[0] + 3), np.nan, np.float32)
    assert np.array_equal(kernels.matmul(x, packed, out=into[:, 1:-2]), got)
    assert np.isnan(into[:, [0, -2, -1]]).all()


def test_a_tokens_product_does_not_depend_on_the_tokens_beside_it() -> None:
    kernels = kernels_or_skip()
    _, packed = both(64, 128)
    x = np.random.default_rng(0).normal(0, 1, (47, 128)).astype(np.float32)
    alone = np.concatenate([kernels.matmul(row[None], packed) for row in x])
    for n in (2, 3, 4, 9, 47):
        assert kernels.wants_repacked(n)
        assert np.array_equal(alone[:n], kernels.matmul(x[:n], packed))


def test_without_the_newer_library_nothing_is_repacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "find_spec", lambda name: None)
    assert ggml.find_repacked() is None
    monkeypatch.undo()
    monkeypatch.setattr(ggml.processor, "flags", lambda: {"avx", "sse4_2"})
    assert ggml.find_repacked() is None


def test_a_newer_library_that_does_not_compute_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "libggml-cpu-0.so"
    broken.write_bytes(b"\x7fELF not a library at all")
    try:
        library = ggml.find_library()
    except KernelError:
        pytest.skip("ctransformers carries no ggml for this processor")
    kernels = ggml.GgmlKernels(library, repacked=broken)
    assert not kernels.repacks


def test_the_library_is_tried_by_a_small_product() -> None:
    library = ggml.find_repacked()
    if library is None:
        pytest.skip("pywhispercpp carries no ggml for this processor")
    assert repacked_abi.self_test(str(library))
    assert ggml._works(repacked_abi.__file__, str(library))
    assert not ggml._works(repacked_abi.__file__, sys.executable)
