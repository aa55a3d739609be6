"""Settings: where each comes from, what wins, and clear words for what means nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from smallchat import paths, settings
from smallchat.settings import Sampling, Settings, UsageError, parse_size


def write_config(text: str) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text(text, encoding="utf-8")


def test_defaults_are_the_published_ones() -> None:
    assert settings.load({}, {}) == Settings()
    assert settings.load({}, {}).sampling() == Sampling(0.6, 20, 0.95, 0.0, 1.0, None)


def test_flag_beats_environment_beats_file() -> None:
    write_config('mem = "1G"\nthreads = 1\ncontext = 1000\n')
    loaded = settings.load(
        {"mem": "3G", "threads": None}, {"SMALLCHAT_MEM": "2G", "SMALLCHAT_THREADS": "2", "OTHER": "x"}
    )
    assert (loaded.mem, loaded.threads, loaded.context) == (3 << 30, 2, 1000)


@pytest.mark.parametrize("name", ["model", "notes", "endpoint", "theme"])
def test_an_empty_name_is_none(name: str) -> None:
    write_config(f'{name} = ""\n')
    assert settings.load({}, {}) == Settings()
    paths.config_file().write_text(f'{name} = "one"\n', encoding="utf-8")
    assert getattr(settings.load({}, {f"SMALLCHAT_{name.upper()}": ""}), name) == "one"


@pytest.mark.parametrize(("text", "size"), [("0", 0), (0, 0), ("2G", 2 << 30)])
def test_checkpoints_may_be_none(text, size) -> None:
    assert settings.load({"checkpoints": text}, {}).checkpoints == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 << 30),
        ("600M", 600 << 20),
        ("1.5GiB", 3 << 29),
        ("2gb", 2 << 30),
        (" 512 K ", 512 << 10),
        ("1073741824", 1 << 30),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1G", "8X", "G", "1e9", "nan", "8 G B", "1" * 30, "0.0000001K"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


@pytest.mark.parametrize(
    "flags",
    [
        {"threads": 0},
        {"context": -5},
        {"context": 2.5},
        {"kernels": "cuda"},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": 2.0},
        {"top_k": -1},
        {"repeat_penalty": 0.0},
        {"seed": -1},
        {"mem": "much"},
        {"model": 7},
    ],
)
def test_values_that_mean_nothing(flags: dict[str, object]) -> None:
    with pytest.raises(UsageError) as raised:
        settings.load(flags, {})
    assert next(iter(flags)) in str(raised.value) or repr(flags.get("mem")) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "mem = ",
        "[",
        'colour = "red"',
        "\x00",
        'threads = "many"',
        "top_k = inf",
        pytest.param(f"temperature = 1{'0' * 400}", id="huge"),
        pytest.param(f"seed = {'1' * 5000}", id="long"),
        pytest.param(f"theme = [0x{'f' * 5000}]", id="long hexadecimal"),
        pytest.param("keys = " + "[" * 5000, id="deep"),
    ],
)
def test_a_wrong_config_file_is_named(text: str) -> None:
    write_config(text)
    with pytest.raises(UsageError) as raised:
        settings.load({}, {})
    assert "config.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("context = -5", "sets context to -5. Choose a whole number from 1 to "),
        ("threads = 0", "sets threads to 0. Choose a whole number from 1 to "),
        ("top_k = 1.5", "sets top_k to 1.5. Choose a whole number from 0 to "),
        ("context = 'many'", "sets context to 'many', which is not a number"),
        ("mem = 'much'", "sets mem to 'much', which is not a size. Write it like "),
    ],
)
def test_a_wrong_value_is_told_with_its_file_and_its_limits(text: str, told: str) -> None:
    write_config(text)
    with pytest.raises(UsageError) as caught:
        settings.load({}, {})
    assert f"{paths.config_file()} {told}" in str(caught.value)


def test_a_config_file_that_is_no_text_is_named() -> None:
    write_config("")
    paths.config_file().write_bytes(b"mem = \xff\xfe")
    with pytest.raises(UsageError, match=r"config\.toml"):
        settings.load({}, {})


@pytest.mark.parametrize(("word", "meant"), [("true", True), ("no", False), ("1", True)])
def test_yes_and_no(word: str, meant: bool) -> None:
    assert settings.load({}, {"SMALLCHAT_SAVE_CONVERSATIONS": word}).save_conversations is meant
    with pytest.raises(UsageError, match="true or false"):
        settings.load({}, {"SMALLCHAT_SAVE_CONVERSATIONS": "perhaps"})


def test_a_seed_is_made_up_only_where_there_is_none() -> None:
    assert Sampling(seed=5).seeded() == Sampling(seed=5)
    made = {Sampling().seeded().seed for _ in range(5)}
    assert None not in made
    assert len(made) > 1


def test_all_folders_lie_below_the_home_that_is_set(home: Path) -> None:
    for path in (paths.conversations(), paths.config_file(), paths.models(), paths.engine_log()):
        assert path.is_relative_to(home)


def test_without_a_home_the_folders_are_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALLCHAT_HOME")
    assert paths.conversations().name == "conversations.sqlite3"
    assert "smallchat" in paths.data().parts


def test_no_limit_is_written_as_none() -> None:
    assert settings.load({"mem": "none"}, {}).mem == 0
    assert settings.load({}, {}).mem is None
