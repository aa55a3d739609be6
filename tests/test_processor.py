"""What OpenBLAS is told to take this processor for."""

from __future__ import annotations

import pytest

from smallchat import processor

ZEN4 = {"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "fpu sse2 avx2 avx512f avx512vl"}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ZEN4, {"OPENBLAS_CORETYPE": "Haswell"}),
        (ZEN4 | {"flags": "fpu sse2 avx2"}, {}),  # Zen 3 is of the same family
        (ZEN4 | {"cpu family": "26"}, {}),  # Zen 5 computes 512 bits at once
        (ZEN4 | {"vendor_id": "GenuineIntel"}, {}),
        ({"flags": "avx512f"}, {}),
        ({}, {}),
    ],
)
def test_zen_4_alone_is_taken_for_a_haswell(monkeypatch, facts, expected):
    monkeypatch.setattr(processor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(processor, "_cpuinfo", lambda: facts)
    environment: dict[str, str] = {}
    processor.tune_blas(environment)
    assert environment == expected


@pytest.mark.parametrize("chosen", ["SkylakeX", "Haswell", ""])
def test_the_users_choice_stands(monkeypatch, chosen):
    monkeypatch.setattr(processor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(processor, "_cpuinfo", lambda: ZEN4)
    environment = {"OPENBLAS_CORETYPE": chosen}
    processor.tune_blas(environment)
    assert environment == {"OPENBLAS_CORETYPE": chosen}


def test_other_systems_and_hidden_processors_are_left_alone(monkeypatch):
    def hidden() -> dict[str, str]:
        raise PermissionError

    environment: dict[str, str] = {}
    monkeypatch.setattr(processor, "_cpuinfo", lambda: ZEN4)
    monkeypatch.setattr(processor.platform, "system", lambda: "Darwin")
    processor.tune_blas(environment)
    monkeypatch.setattr(processor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(processor, "_cpuinfo", hidden)
    processor.tune_blas(environment)
    assert environment == {}


def test_only_the_first_processor_of_the_list_is_read(monkeypatch, tmp_path):
    listed = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: fpu avx2\n\nflags\t\t: avx512f\n"
    (tmp_path / "cpuinfo").write_text(listed)
    monkeypatch.setattr(processor, "Path", lambda _: tmp_path / "cpuinfo")
    assert processor._cpuinfo() == {"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "fpu avx2"}
