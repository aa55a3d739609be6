"""What is on this disk is found, named, verified and removed, whoever fetched it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.commands.resolve import installed_file, model_path
from smallchat.errors import ModelError
from smallchat.hub import details, machine
from smallchat.hub.installed import BUILTIN, HUB, LLAMA_CPP, LM_STUDIO, OURS, Installed, hub_cache, installed
from smallchat.hub.known import MODELS, known, parse
from smallchat.hub.remove import remove
from smallchat.hub.verify import verify
from smallchat.model.gguf import GgufFile, peek
from smallchat.settings import UsageError
from tests.support.models import Recipe, model
from tests.support.shared import shared


def head_of_4b() -> bytes:
    """A small model whose metadata claims the 4B's layers, width and experts: enough to be recognised."""
    gguf = GgufFile(model(Recipe()).path)
    content = bytearray(gguf.whole())
    claims = {"block_count": 32, "embedding_length": 1536, "expert_count": 32}
    for key, value in claims.items():
        _, stop = gguf.spans[f"smallthinker.{key}"]
        content[stop - 4 : stop] = value.to_bytes(4, "little")
    return bytes(content)


def put(path: Path, content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or model(Recipe()).path.read_bytes())
    return path


def in_cache(repository: str, file: str) -> Path:
    """As the hub's client leaves it: a blob, and a link to it."""
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    blob = put(folder / "blobs" / ("ab" * 32))
    link = folder / "snapshots" / ("0" * 40) / file
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(blob)
    return link


def quiet(stage: str, done: int, total: int) -> None:
    assert done <= total


def found() -> dict[str, Installed]:
    return {one.place: one for one in installed()}


def test_every_programs_folder_is_looked_through() -> None:
    home = Path.home()
    places = {
        OURS: put(paths.models() / "mine" / "a.gguf"),
        HUB: in_cache("someone/some-GGUF", "sub/b.Q4_0.gguf"),
        LM_STUDIO: put(home / ".lmstudio" / "models" / "x" / "y" / "c.gguf"),
        LLAMA_CPP: put(paths.data().parent / "llama.cpp" / "d.gguf"),
    }
    put(paths.models() / "broken.gguf").write_bytes(b"GGUF\x03\0\0\0")
    (paths.models() / "text.gguf").write_text("no model")
    seen = found()
    assert {place: one.path for place, one in seen.items() if place != BUILTIN} == places
    assert seen[BUILTIN].path == paths.builtin_model()
    assert seen[HUB].repository == "someone/some-GGUF"
    assert seen[HUB].inside == "sub/b.Q4_0.gguf"


def test_a_model_of_another_architecture_is_none_of_ours(tmp_path: Path) -> None:
    content = model(Recipe()).path.read_bytes()
    other = put(paths.models() / "other.gguf")
    other.write_bytes(
        content.replace(b"\x0c\0\0\0\0\0\0\0smallthinker", b"\x0c\0\0\0\0\0\0\0largethinker", 1)
    )
    assert set(found()) == {BUILTIN}


def test_a_model_is_known_by_its_dimensions_and_not_by_its_name() -> None:
    path = put(paths.models() / "whatever.gguf", head_of_4b())
    assert found()[OURS].model is MODELS[0]
    assert model_path("4b") == path
    assert model_path("4B") == path
    with pytest.raises(ModelError, match="smallchat pull 21b"):
        model_path("21b")
    with pytest.raises(ModelError, match="smallchat pull 4b:q8_0"):
        model_path("4b:q8_0")


def test_a_type_is_chosen_among_several_files_and_the_plain_one_comes_first() -> None:
    source = head_of_4b()
    powerinfer = put(paths.models() / "a.Q4_0.powerinfer.gguf", source)
    eight = put(paths.models() / "b.Q8_0.gguf", source)
    four = put(paths.models() / "c-q4_0.gguf", source)
    assert model_path("4b:powerinfer") == powerinfer
    assert model_path("4b:q8_0") == eight
    assert model_path("4b") == four
    four.unlink()
    assert model_path("4b") in {powerinfer, eight}


def test_names_of_the_hub_are_found_in_its_cache() -> None:
    link = in_cache("someone/some-GGUF", "b.Q4_0.gguf")
    for name in (
        "someone/some-GGUF",
        "someone/some-gguf:b.Q4_0.gguf",
        "https://huggingface.co/someone/some-GGUF/resolve/main/b.Q4_0.gguf",
    ):
        assert model_path(name) == link
    for name in ("someone/some-GGUF:q8_0", "someone/other-GGUF"):
        with pytest.raises(ModelError, match="smallchat pull"):
            model_path(name)


@pytest.mark.parametrize(
    "name",
    [
        *("https://example.com/a/b", "https://huggingface.co/", "https://huggingface.co/a/b/tree/main/x"),
        *(
            "https://huggingface.co/a/b/resolve/main/../../x.gguf",
            "4b:",
            "4b:a/b",
            "a/b:../x.gguf",
            "a/b:/x.gguf",
        ),
        "https://huggingface.co/a/b/resolve/main/x.bin",
    ],
)
def test_names_that_mean_nothing_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        parse(name)


def test_the_sizes_of_the_known_models_are_those_of_their_files() -> None:
    by_short = {known.short: known for known in MODELS}
    # The official file, as the hub lists it.
    assert by_short["4b"].file_bytes == pytest.approx(2_472_877_152, rel=1e-3)
    assert by_short["4b"].name == "SmallThinker 4B-A0.6B"
    assert known((52, 2560, 64)) is by_short["21b"]
    assert known((52, 2560, None)) is None


def test_the_head_of_a_file_is_read_without_its_vocabulary() -> None:
    path = shared("data", "qwen2-vocab.gguf")
    head = peek(path)
    assert "general.architecture" in head
    assert not any(key.startswith("tokenizer.") for key in head)


def test_removing_from_the_hubs_cache_frees_the_blob_unless_another_name_holds_it() -> None:
    first = in_cache("someone/some-GGUF", "a.Q4_0.gguf")
    blob = first.resolve()
    second = first.with_name("same.Q4_0.gguf")
    second.symlink_to(blob)
    assert remove(Installed(second, HUB, 10, None, "someone/some-GGUF")) == 0
    assert blob.exists()
    assert remove(installed_file("someone/some-GGUF")) == model(Recipe()).path.stat().st_size
    assert not blob.exists()


def test_what_cannot_be_removed_is_told() -> None:
    with pytest.raises(ModelError, match="belongs to smallchat"):
        remove(installed_file("builtin"))
    with pytest.raises(ModelError, match="any other file"):
        installed_file(str(model(Recipe()).path))


def test_a_sound_file_verifies_and_each_damage_is_found(tmp_path: Path) -> None:
    for recipe in (
        Recipe(type="Q4_0"),
        Recipe(type="BF16"),
        Recipe(type="Q6_K", hidden=256, width=256, head=64),
    ):
        made = model(recipe)
        assert verify(made.path, quiet).tensors == len(GgufFile(made.path).tensors)
        copy = put(tmp_path / "copy.gguf", made.path.read_bytes())
        info = GgufFile(copy).tensors["blk.1.ffn_up_exps.weight"]
        content = bytearray(copy.read_bytes())
        scale = {"Q4_0": 0, "BF16": 0, "Q6_K": 208}[recipe.type]
        content[info.offset + scale : info.offset + scale + 2] = (
            b"\xff\x7f" if recipe.type == "BF16" else b"\0\x7c"
        )
        copy.write_bytes(content)
        with pytest.raises(ModelError, match=r"blk\.1\.ffn_up_exps\.weight"):
            verify(copy, quiet)
        copy.write_bytes(made.path.read_bytes()[:-40])
        with pytest.raises(ModelError, match="past its end"):
            verify(copy, quiet)


def test_a_file_of_the_cache_is_held_against_its_checksum() -> None:
    link = in_cache("someone/some-GGUF", "a.Q4_0.gguf")  # its blob's name is not its checksum
    with pytest.raises(ModelError, match="checksum"):
        verify(link, quiet)


def test_expectations_follow_memory_and_disk() -> None:
    facts = details.of_known(MODELS[0])
    figures = {"kernels": "numpy", "kernels_note": None, "threads": 2, "product_speed": 10e9}

    def with_memory(free: int, disk: float | None = 1e9) -> machine.Expectation:
        return machine.expect(facts, machine.Machine(free, free, **figures, disk_speed=disk))

    roomy = with_memory(16 << 30)
    assert roomy.fits == "memory"
    seconds = (facts.dense + facts.used) / 10e9 + 32 * machine.STEP_SECONDS
    assert roomy.tokens_per_second == pytest.approx(1 / seconds)
    tight, tighter = with_memory(2 << 30), with_memory(3 << 29)
    assert (tight.fits, tighter.fits) == ("disk", "disk")
    assert roomy.tokens_per_second > tight.tokens_per_second > tighter.tokens_per_second > 1
    assert with_memory(2 << 30, disk=None).tokens_per_second is None
    assert with_memory(1 << 30).fits == "no"


def test_the_list_is_json_with_what_a_program_needs(capsys: pytest.CaptureFixture[str]) -> None:
    from smallchat.commands import models

    put(paths.models() / "x.gguf")
    put(paths.models() / "y.gguf", head_of_4b())
    models.run(as_json=True)
    listed = json.loads(capsys.readouterr().out)
    ours, damaged, builtin = listed["installed"]
    assert (ours["place"], ours["quantisation"], ours["fits"]) == (OURS, "F32", "memory")
    assert damaged["short"] == "4b"
    assert "tensor" in damaged["problem"]
    assert builtin["place"] == BUILTIN
    assert [one["short"] for one in listed["available"]] == ["21b"]
    models.run(as_json=False)
    shown = capsys.readouterr().out
    assert "smallchat pull 21b" in shown
    assert "damaged" in shown
