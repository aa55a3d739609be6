"""Converted models say what the released weights say, whatever the type, and never fill the memory."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from smallchat.commands import convert as commands
from smallchat.errors import ExitCode, ModelError
from smallchat.hub import convert as work
from smallchat.hub.quantise import parse_type, quantise
from smallchat.kernels.quants import TensorType, dequantise
from smallchat.model.gguf import GgufFile
from smallchat.settings import UsageError
from tests.support import reference
from tests.support.engines import opened, rms, worst
from tests.support.models import K_QUANTS, SIMPLE_QUANTS, Recipe
from tests.support.models import model as model_file
from tests.support.released import Released, released, vocabulary

TOKENS = np.random.default_rng(4).integers(0, 256, 14).tolist()
WIDE = {"hidden": 256, "width": 512, "head": 64}

RECIPES = {
    "sigmoid": Recipe(seed=1),
    "softmax-window": Recipe(layers=5, window=6, gating=1, seed=2),
    "pattern": Recipe(layers=3, window=5, pattern=(True, False, True), seed=3),
    "tied": Recipe(tied=True, seed=4),
    "one-expert": Recipe(experts=1, used=1, seed=5),
    "heads-wider-than-model": Recipe(heads=6, kv_heads=2, head=32, seed=6),
}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def made(recipe: Recipe, kind: str = "BF16", shards: int = 2) -> Released:
    return released(recipe, Path(_folder().name) / f"{hash((recipe, kind, shards)):x}", kind, shards)


@functools.cache
def exact(recipe: Recipe, kind: str = "BF16") -> np.ndarray:
    source = made(recipe, kind)
    return reference.logits(source.weights, source.shape, TOKENS)


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 < done <= total


def converted(
    source: Released,
    out: Path,
    kind: str,
    turned: bool = False,
    progress: Callable[[str, int, int], None] = quiet,
) -> Path:
    work.convert(source.path, out, parse_type(kind), turned, progress)
    return out


def logits(path: Path) -> np.ndarray:
    with opened(path, "numpy") as engine:
        return engine.logits(TOKENS)


@pytest.mark.parametrize("turned", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_released_folder_becomes_a_model_that_says_the_same(
    tmp_path: Path, name: str, turned: bool
) -> None:
    recipe = RECIPES[name]
    path = converted(made(recipe), tmp_path / "out.gguf", "f32", turned)
    assert worst(logits(path), exact(recipe)) < 1e-4
    down = GgufFile(path).tensors["blk.0.ffn_down_exps.weight"].shape
    assert down == (
        recipe.experts,
        *((recipe.width, recipe.hidden) if turned else (recipe.hidden, recipe.width)),
    )


@pytest.mark.parametrize("source", ["F32", "F16", "BF16"])
def test_every_released_type_is_read(tmp_path: Path, source: str) -> None:
    recipe = RECIPES["sigmoid"]
    path = converted(made(recipe, source, 1), tmp_path / "out.gguf", "f32")
    assert worst(logits(path), exact(recipe, source)) < 1e-4


@pytest.mark.parametrize(("kind", "most"), [("f16", 0.01), ("bf16", 1e-4), ("q8_0", 0.05)])
def test_types_of_many_bits_say_nearly_the_same(tmp_path: Path, kind: str, most: float) -> None:
    recipe = RECIPES["softmax-window"]
    assert rms(logits(converted(made(recipe), tmp_path / "out.gguf", kind)), exact(recipe)) < most


def read_back(path: Path) -> dict[str, np.ndarray]:
    """The weights of a file, as the gguf package understands them."""
    return {
        tensor.name.removesuffix(".weight"): gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        .astype(np.float64)
        .reshape([int(n) for n in tensor.shape[::-1]])
        for tensor in gguf.GGUFReader(path).tensors
    }


ROUNDING = {
    **{"q8_0": 0.01, "q5_1": 0.05, "q5_0": 0.06, "q4_1": 0.09, "q4_0": 0.11},
    **{"q6_k": 0.03, "q5_k": 0.06, "q4_k": 0.1, "q3_k": 0.2, "q2_k": 0.4},
}
"""Largest root mean square of what rounding to each type may change, in standard deviations of a tensor."""


@pytest.mark.parametrize("turned", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("kind", ROUNDING)
def test_each_tensor_is_rounded_and_nothing_else_and_the_logits_are_those_of_the_rounded_ones(
    tmp_path: Path, kind: str, turned: bool
) -> None:
    recipe = Recipe(layers=2, window=6, gating=1, seed=8, **WIDE)
    source = made(recipe)
    path = converted(source, tmp_path / "out.gguf", kind, turned)
    held = read_back(path)
    if turned:
        held |= {name: w.transpose(0, 2, 1) for name, w in held.items() if "down" in name}
    assert held.keys() == source.weights.keys()
    for name, weights in source.weights.items():
        assert rms(held[name], weights) < ROUNDING[kind], name
    assert worst(logits(path), reference.logits(held, source.shape, TOKENS)) < 1e-3
    assert GgufFile(path).tensors["blk.1.ffn_down_exps.weight"].kind.name.lower() == kind


@pytest.mark.parametrize("kind", [*SIMPLE_QUANTS, *K_QUANTS, "F16", "BF16", "F32"])
def test_what_is_quantised_is_close_to_what_it_was(kind: str) -> None:
    weights = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    wanted = parse_type(kind)
    back = dequantise(wanted, quantise(weights, wanted, "x"))
    bits = {"F": 11, "B": 8, "Q": int(kind[1]) if kind[0] == "Q" else 0}[kind[0]]
    assert rms(back, weights) < 2.0 ** (1.2 - bits)


def test_the_metadata_is_what_the_converter_of_llama_cpp_writes(tmp_path: Path) -> None:
    recipe = Recipe(layers=5, window=6, gating=1, template="{{ messages }}", seed=2)
    path = converted(made(recipe), tmp_path / "out.gguf", "q8_0")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    words = vocabulary(recipe.vocab)
    expected = {
        "general.architecture": "smallthinker",
        "general.type": "model",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "smallthinker.block_count": 5,
        "smallthinker.context_length": 512,
        "smallthinker.embedding_length": 64,
        "smallthinker.feed_forward_length": 32,
        "smallthinker.expert_feed_forward_length": 32,
        "smallthinker.attention.head_count": 4,
        "smallthinker.attention.head_count_kv": 2,
        "smallthinker.attention.key_length": 16,
        "smallthinker.attention.value_length": 16,
        "smallthinker.attention.sliding_window": 6,
        "smallthinker.expert_count": 4,
        "smallthinker.expert_used_count": 2,
        "smallthinker.expert_gating_func": 1,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": list(words.tokens),
        "tokenizer.ggml.token_type": list(words.kinds),
        "tokenizer.ggml.merges": list(words.merges),
        "tokenizer.ggml.eos_token_id": words.special("<|im_end|>"),
        "tokenizer.ggml.padding_token_id": words.special("<|endoftext|>"),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{{ messages }}",
    }
    assert {key: fields.get(key) for key in expected} == expected
    assert "smallthinker.attention.sliding_window_pattern" not in fields


def test_norms_and_routers_stay_float32(tmp_path: Path) -> None:
    path = converted(made(Recipe(seed=8, **WIDE)), tmp_path / "out.gguf", "q4_0")
    kinds = {name: tensor.kind for name, tensor in GgufFile(path).tensors.items()}
    for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.1.ffn_gate_inp.weight"):
        assert kinds[name] is TensorType.F32
    assert kinds["output.weight"] is TensorType.Q6_K
    assert kinds["token_embd.weight"] is TensorType.Q4_0


def test_llama_cpp_agrees(tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    # It knows no window but the 21B's.
    for name, recipe in (
        ("sigmoid", Recipe(seed=1)),
        ("window", Recipe(layers=5, window=4096, gating=1, seed=2)),
    ):
        path = converted(made(recipe), tmp_path / f"{name}.gguf", "f32")
        theirs = llama_cpp.Llama(str(path), n_ctx=64, n_batch=64, logits_all=True, verbose=False)
        theirs.eval(TOKENS)
        assert worst(np.array(theirs.scores[: len(TOKENS)]), exact(recipe)) < 0.02, name


def test_a_square_down_projection_is_not_transposed_because_no_reader_could_tell(tmp_path: Path) -> None:
    recipe = Recipe(hidden=64, width=64)
    with pytest.raises(UsageError, match="square"):
        converted(made(recipe), tmp_path / "out.gguf", "q8_0", turned=True)
    with pytest.raises(UsageError, match="square"):
        work.requantise(model_file(recipe).path, tmp_path / "out.gguf", TensorType.Q8_0, True, quiet)


# Stopped and gone on


class StopError(Exception):
    pass


def stop_after(calls: int) -> Callable[[str, int, int], None]:
    left = [calls]

    def progress(stage: str, done: int, total: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StopError

    return progress


@pytest.mark.parametrize("calls", [0, 1, 5, 12, 19])
def test_a_stopped_conversion_goes_on_and_makes_the_very_same_file(tmp_path: Path, calls: int) -> None:
    source, out = made(RECIPES["sigmoid"]), tmp_path / "out.gguf"
    whole = converted(source, tmp_path / "whole.gguf", "q8_0").read_bytes()
    with pytest.raises(StopError):
        converted(source, out, "q8_0", progress=stop_after(calls))
    assert not out.exists()
    part = tmp_path / "out.gguf.part"
    kept = json.loads(note.read_text())["tensors"] if (note := Path(f"{part}.json")).exists() else 0
    size = part.stat().st_size
    again: list[int] = []
    converted(source, out, "q8_0", progress=lambda stage, done, total: again.append(done))
    assert out.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gguf", "whole.gguf"]
    # What was written whole is not written twice.
    assert (kept > 0) == (calls > 0)
    assert kept == 0 or again[0] > size // 2


def test_another_type_or_source_does_not_go_on_with_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    for source, kind in ((made(RECIPES["sigmoid"]), "q4_0"), (made(Recipe(seed=77)), "q8_0")):
        with pytest.raises(StopError):
            converted(source, out, kind, progress=stop_after(9))
    converted(made(RECIPES["sigmoid"]), out, "q8_0")
    assert out.read_bytes() == converted(made(RECIPES["sigmoid"]), tmp_path / "b.gguf", "q8_0").read_bytes()


def test_a_killed_conversion_leaves_no_file_under_the_final_name(tmp_path: Path) -> None:
    source, out = made(RECIPES["sigmoid"]), tmp_path / "out.gguf"
    code = (
        "import os, sys; from pathlib import Path; from smallchat.hub import convert as c\n"
        "from smallchat.kernels.quants import TensorType as T\n"
        "def p(stage, done, total): os.kill(os.getpid(), 9) if done > total / 2 else None\n"
        "c.convert(Path(sys.argv[1]), Path(sys.argv[2]), T.Q8_0, False, p)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(source.path), str(out)], capture_output=True)
    assert done.returncode != 0
    assert not out.exists()
    converted(source, out, "q8_0")
    assert out.read_bytes() == converted(source, tmp_path / "whole.gguf", "q8_0").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX systems")
def test_a_disk_that_fills_up_is_told_and_the_same_command_goes_on(tmp_path: Path) -> None:
    import resource

    source, out = made(RECIPES["sigmoid"]), tmp_path / "out.gguf"
    command = [sys.executable, "-m", "smallchat", "convert", str(source.path), str(out), "-t", "q8_0"]
    limit = 70_000
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert full.returncode == ExitCode.MODEL
    assert "goes on" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert not out.exists()
    assert (tmp_path / "out.gguf.part.json").exists()
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == ExitCode.OK
    assert out.read_bytes() == converted(source, tmp_path / "whole.gguf", "q8_0").read_bytes()


def test_memory_holds_pieces_and_not_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(layers=2, hidden=256, experts=24, width=320, vocab=4096, head=64, seed=9)
    source = made(recipe)
    monkeypatch.setattr(work, "PIECE", 1 << 15)
    size = sum(weights.size for weights in source.weights.values())
    tracemalloc.start()
    try:
        converted(source, tmp_path / "out.gguf", "q8_0", turned=True)
        first = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        work.requantise(tmp_path / "out.gguf", tmp_path / "again.gguf", TensorType.Q4_0, False, quiet)
        second = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 11e6
    assert first < 8e6
    assert second < 8e6


# From one GGUF to another


def test_quantising_a_file_is_the_same_as_converting_to_that_type(tmp_path: Path) -> None:
    source = made(Recipe(seed=8, **WIDE))
    floats = converted(source, tmp_path / "f32.gguf", "f32")
    for kind in ("q4_0", "q4_k"):
        direct = converted(source, tmp_path / "direct.gguf", kind)
        work.requantise(floats, tmp_path / "again.gguf", parse_type(kind), False, quiet)
        assert (tmp_path / "again.gguf").read_bytes() == direct.read_bytes()


def test_transposing_a_file_keeps_what_it_says(tmp_path: Path) -> None:
    source = converted(made(RECIPES["sigmoid"]), tmp_path / "f32.gguf", "f32")
    work.requantise(source, tmp_path / "turned.gguf", TensorType.F32, True, quiet)
    assert (
        np.array_equal(logits(tmp_path / "turned.gguf"), logits(source))
        or worst(logits(tmp_path / "turned.gguf"), exact(RECIPES["sigmoid"])) < 1e-4
    )
    work.requantise(tmp_path / "turned.gguf", tmp_path / "twice.gguf", TensorType.F32, True, quiet)
    assert (tmp_path / "twice.gguf").read_bytes() == (tmp_path / "turned.gguf").read_bytes()


@pytest.mark.parametrize("kind", [TensorType.F32, TensorType.Q8_0])
def test_a_source_that_goes_away_is_told_and_not_taken_for_a_full_disk(
    tmp_path: Path, kind: TensorType
) -> None:
    source = converted(made(RECIPES["sigmoid"]), tmp_path / "f32.gguf", "f32")

    def take_away(stage: str, done: int, total: int) -> None:
        source.unlink(missing_ok=True)

    with pytest.raises(ModelError, match=r"f32\.gguf cannot be read: No such file.*it goes on"):
        work.requantise(source, tmp_path / "out.gguf", kind, False, take_away)


def test_tensors_that_have_their_type_are_copied_bit_by_bit(tmp_path: Path) -> None:
    source = model_file(Recipe(type="Q4_0", types=(("output", "Q8_0"),), fused=True)).path
    work.requantise(source, tmp_path / "out.gguf", TensorType.Q4_0, False, quiet)
    before, after = GgufFile(source), GgufFile(tmp_path / "out.gguf")
    for name, tensor in before.tensors.items():
        assert after.bytes_of(after.tensors[name]).tobytes() == before.bytes_of(tensor).tobytes(), name
    changed = {"general.file_type"}
    assert {k: v for k, v in after.metadata.items() if k not in changed} == {
        k: v for k, v in before.metadata.items() if k not in changed
    }


# Wrong folders


def unread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails, under this one file."""
    real = Path.read_text

    def read_text(self: Path, *arguments: Any, **options: Any) -> str:
        if self == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)


def broken(path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = released(RECIPES["sigmoid"], path, shards=1)
    config = json.loads((path / "config.json").read_text())
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    shard = source.path / "model.safetensors"
    raw = shard.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    match what:
        case "no config":
            (path / "config.json").unlink()
        case "config is a list":
            (path / "config.json").write_text("[1]")
        case "another kind":
            config["model_type"] = "llama"
        case "no experts":
            config["moe_num_primary_experts"] = 0
        case "layout":
            config["rope_layout"] = [1, 0]
        case "wrong dimensions":
            config["hidden_size"] = 65
        case "more layers":
            config["num_hidden_layers"] = 3
        case "fewer layers":
            config["num_hidden_layers"] = 1
        case "tokenizer":
            tokenizer["model"]["vocab"] = {"a": 1 << 40}
        case "another split":
            tokenizer["pre_tokenizer"] = None
        case "huge number":
            config["rope_theta"] = 10**400
        case "pattern is text":
            tokenizer["pre_tokenizer"] = {"pattern": "x"}
        case "splits are no list":
            tokenizer["pre_tokenizer"] = {"pretokenizers": 7}
        case "merges are no list":
            tokenizer["model"]["merges"] = 7
        case "added tokens are no list":
            tokenizer["added_tokens"] = 7
        case "half a character":
            tokenizer["model"]["merges"] = ["a \ud800"]
        case "half a character in the template":
            (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "\udfff"}))
        case "template that cannot be read":
            (path / "chat_template.jinja").write_text("x")
            unread(path / "chat_template.jinja", monkeypatch)
        case "shard missing":
            shard.unlink()
        case "shard cut":
            shard.write_bytes(raw[:-100])
        case "header too long":
            shard.write_bytes(struct.pack("<Q", 1 << 60) + raw[8:])
        case "offsets":
            header["lm_head.weight"]["data_offsets"] = [-8, 40952]
        case "type":
            header["lm_head.weight"]["dtype"] = "F8_E4M3"
        case "type is a list":
            header["lm_head.weight"]["dtype"] = []
        case "not a number":
            shard.write_bytes(raw[:-64] + b"\xff" * 64)
        case "index leaves the folder":
            shard.rename(path.parent / "evil.safetensors")
            index = {"weight_map": dict.fromkeys(header, "../evil.safetensors")}
            (path / "model.safetensors.index.json").write_text(json.dumps(index))
    if what in {"offsets", "type", "type is a list"}:
        text = json.dumps(header).encode()
        shard.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    if (path / "config.json").exists() and what != "config is a list":
        (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))


WRONG = {
    "no config": "config.json is missing",
    "config is a list": "no JSON object",
    "another kind": "not a SmallThinker",
    "no experts": "moe_num_primary_experts",
    "layout": "rope_layout",
    "wrong dimensions": "the config says",
    "more layers": "is missing",
    "fewer layers": "unknown",
    "tokenizer": "vocabulary",
    "another split": "splits text",
    "huge number": "config.json has rope_theta = 1000",
    "pattern is text": r"tokenizer.json splits text",
    "splits are no list": r"tokenizer.json splits text",
    "merges are no list": r"tokenizer.json has merges that are no list",
    "added tokens are no list": r"tokenizer.json has added_tokens that are no list",
    "half a character": r"tokenizer.json cannot be read.*surrogates",
    "half a character in the template": r"tokenizer_config.json cannot be read.*surrogates",
    "template that cannot be read": r"chat_template.jinja cannot be read: Input/output error",
    "shard missing": "is missing",
    "shard cut": "does not fit",
    "header too long": "claims a header",
    "offsets": "nonsense",
    "type": "F8_E4M3",
    "type is a list": r"is of type \[\]",
    "not a number": "no number",
    "index leaves the folder": "outside",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_folder_is_told_and_nothing_is_written(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(tmp_path / "model", what, monkeypatch)
    with pytest.raises(ModelError, match=WRONG[what]):
        work.convert(tmp_path / "model", tmp_path / "out.gguf", TensorType.Q8_0, False, quiet)
    assert not (tmp_path / "out.gguf").exists()


def test_a_folders_odd_name_and_a_templates_odd_name_stop_nothing(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path / "mod") + b"\xe9l"))
    released(RECIPES["sigmoid"], folder, shards=1)
    templates = [{"name": [], "template": "no"}, {"name": "default", "template": "{{ x }}"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    work.convert(folder, tmp_path / "out.gguf", TensorType.Q8_0, False, quiet)
    gguf = GgufFile(tmp_path / "out.gguf")
    assert gguf.metadata["general.name"] == "mod\ufffdl"
    assert gguf.metadata["tokenizer.chat_template"] == "{{ x }}"
    gguf.close()


@pytest.mark.skipif(os.name != "posix", reason="a pipe with a name is made")
@pytest.mark.parametrize("name", ["pipe", "n" * 300, "folder", "none/out.gguf"])
def test_nothing_is_put_in_the_place_of_what_is_no_file(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        commands.convert(tmp_path, tmp_path / name, "q4_0", False, True, False)
    with pytest.raises(UsageError, match="cannot be written"):
        commands.quantize("builtin", tmp_path / name, "q4_0", False, True, False)
    assert (tmp_path / "pipe").is_fifo()


def test_a_disk_that_is_too_small_is_told_in_figures_that_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3 << 20))
    with pytest.raises(ModelError, match=r"out\.gguf needs 65M of free space, and the disk of \S+ has 3M\."):
        converted(made(Recipe()), tmp_path / "out.gguf", "q4_0")


def test_commands(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "smallchat", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))

    folder, out = str(made(RECIPES["sigmoid"]).path), str(tmp_path / "a.gguf")
    done = run("convert", folder, out, "--type", "q8_0", "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    assert json.loads(done.stdout) == {"path": out, "bytes": Path(out).stat().st_size}
    assert run("convert", folder, out).returncode == ExitCode.USAGE
    assert run("convert", folder, out, "--type", "q9").returncode == ExitCode.USAGE
    again = run("quantize", out, str(tmp_path / "b.gguf"), "--type", "q4_0", "--transpose-down")
    assert again.returncode == ExitCode.OK, again.stderr
    assert run("quantize", out, out, "--force").returncode == ExitCode.USAGE
    none = str(tmp_path / "none.gguf")
    assert run("quantize", none, out, "--force").returncode == ExitCode.MODEL
    facts = json.loads(run("info", str(tmp_path / "b.gguf"), "--json").stdout)
    assert (facts["quantisation"], facts["down_projection"]) == ("Q4_0", "transposed")
    assert run("convert", str(tmp_path / "none"), str(tmp_path / "c.gguf")).returncode == ExitCode.MODEL


@pytest.mark.parametrize("name", ["q9_9", "q4_0_8x8"])
def test_a_type_that_no_file_has_names_those_that_files_have(name: str) -> None:
    with pytest.raises(UsageError, match=f"no type '{name}'.*f32, f16, q4_0, .*, bf16$"):
        parse_type(name)
