"""The doctor tells what is there and what is wrong, and never fails because something is."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.commands import doctor
from smallchat.hub import machine
from smallchat.hub.installed import hub_cache
from tests.support.models import Recipe, model


def put(name: str, content: bytes) -> None:
    paths.models().mkdir(parents=True, exist_ok=True)
    (paths.models() / name).write_bytes(content)


def problems(facts: dict[str, object]) -> str:
    return " ".join(f"{problem['what']} {problem['cure']}" for problem in facts["problems"])


def test_everything_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    put("good.gguf", model(Recipe()).path.read_bytes())
    doctor.run(as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["processor"]["threads"] >= 1
    assert facts["processor"]["product_bytes_per_second"] > 1e6
    assert 0 < facts["memory"]["available_bytes"] <= facts["memory"]["bytes"]
    assert facts["disk"]["free_bytes"] > 0
    assert facts["software"]["numpy"]
    assert [row["short"] for row in facts["available"]] == ["4b", "21b"]
    assert all(row["fits"] in {"memory", "disk", "no"} for row in facts["available"])
    assert "demonstration" not in problems(facts)
    doctor.run(as_json=False)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("processor", "memory", "disk", "terminal", "SmallThinker 21B-A3B"))


def test_each_trouble_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    put("cut.gguf", model(Recipe()).path.read_bytes()[:-100])
    poor = machine.Machine(1 << 30, 1 << 29, "numpy", "ggml does not run here.", 1, 1e9, 50e6)
    monkeypatch.setattr(machine, "measure", lambda sample: poor)
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 1 << 60)
    told = problems(doctor.examine())
    for words in ("cut.gguf", "models rm", "ggml does not run here", "smallchat pull 4b", "Make room"):
        assert words in told, words


def test_a_machine_without_memory_is_told_what_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = machine.Machine(1 << 30, 1 << 29, "numpy", None, 1, 1e9, 50e6)
    monkeypatch.setattr(machine, "measure", lambda sample: poor)
    doctor.run(as_json=False)
    assert "SmallThinker 21B-A3B: too large here" in capsys.readouterr().out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that need not be measured."""
    good = machine.Machine(8 << 30, 8 << 30, "numpy", None, 1, 1e9, 1e9)
    monkeypatch.setattr(machine, "measure", lambda sample: good)


def configure(text: str) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text(text, "utf-8")


def damage(content: bytes) -> None:
    paths.data().mkdir(parents=True)
    paths.conversations().write_bytes(content)


def damage_one_page() -> None:
    store = Store(paths.conversations())
    for number in range(30):
        Session(store).ask(f"{number} " * 900)
    store.close()
    whole = bytearray(paths.conversations().read_bytes())
    whole[-8192:] = bytes(8192)
    paths.conversations().write_bytes(whole)


def file_as_folder() -> None:
    paths.state().parent.mkdir(parents=True)
    paths.state().touch()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda: configure("threads = 'many'"), "threads"),
        (lambda: configure("[keys]\nnix = 'f9'"), "no key of smallchat"),
        (lambda: configure("theme = 'mauve'"), "mauve"),
        (lambda: configure("notes = 'nowhere'"), "The note folder nowhere cannot be read"),
        (lambda: configure("model = '4b'"), "The model 4b is not on this machine"),
        (lambda: damage(b"x" * 5000), "conversations.sqlite3: it is damaged"),
        (damage_one_page, "conversations.sqlite3: it is damaged"),
        (lambda: paths.conversations().mkdir(parents=True), "conversations.sqlite3"),
        (file_as_folder, "Nothing can be kept in"),
    ],
)
def test_what_other_commands_would_end_with_is_told(break_it: Callable[[], None], told: str) -> None:
    assert told not in problems(doctor.examine())
    shutil.rmtree(paths.data().parent, ignore_errors=True)
    break_it()
    assert told in problems(doctor.examine())


@pytest.mark.usefixtures("quick")
def test_what_is_in_order_is_no_problem() -> None:
    configure("threads = 2")
    store = Store(paths.conversations())
    Session(store).ask("hello")
    store.close()
    (only,) = doctor.examine()["problems"]
    assert "demonstration" in only["what"]


@pytest.mark.usefixtures("quick")
def test_each_disk_is_told_by_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("good.gguf", model(Recipe()).path.read_bytes())
    free = {paths.models(): 3 << 30}
    usage = shutil.disk_usage(paths.models())

    def disk_usage(folder: Path) -> object:
        return usage._replace(free=free.get(folder, 70 << 30))

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    doctor.run(as_json=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("disk ")]
    assert f"70.00G free for what is fetched, in {hub_cache()}; 3.00G in {paths.models()};" in line
    assert line.endswith(".gguf")


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a newer ggml")
def test_every_library_of_this_machine_is_told() -> None:
    assert ("pywhispercpp" in doctor._software()) == (platform.machine() == "x86_64")
