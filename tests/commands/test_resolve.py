"""Names that can mean no file: each is told, by every command that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.cli import main
from smallchat.errors import ExitCode

LONG = "a" * 300
NOBODY = "~nobody of this name/a"
ODD = "caf\udce9"
"""As Python reads a byte of a command line that is no UTF-8."""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["info", NOBODY], ExitCode.USAGE, "home folder"),
        (["info", LONG], ExitCode.MODEL, "no model"),
        (["info", f"{LONG}.gguf"], ExitCode.MODEL, "cannot be read"),
        (["info", "http://[x"], ExitCode.USAGE, "not on the hub"),
        (["pull", "http://[x"], ExitCode.USAGE, "not on the hub"),
        (["pull", "http:///owner/name"], ExitCode.USAGE, "not on the hub"),
        (["convert", LONG, "out.gguf"], ExitCode.MODEL, "no folder"),
        (["convert", NOBODY, "out.gguf"], ExitCode.USAGE, "home folder"),
        (["quantize", "builtin", LONG], ExitCode.USAGE, "cannot be written"),
        (["quantize", "builtin", f"{LONG}/out.gguf"], ExitCode.USAGE, "cannot be written"),
        (["history", "export", "1", "--out", NOBODY], ExitCode.USAGE, "home folder"),
        (["history", "search", ODD], ExitCode.OK, "Nothing was found"),
        (["--notes", NOBODY, "notes", "tags"], ExitCode.NOTES, "cannot be read"),
        (["--notes", ".", "notes", "links", ODD], ExitCode.NOTES, "no note"),
    ],
    ids=lambda one: " ".join(one)[:30].encode("ascii", "replace").decode() if isinstance(one, list) else "",
)
def test_a_name_that_can_mean_nothing_is_told(
    arguments: list[str],
    code: ExitCode,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Store(paths.conversations())
    Session(store).ask("hello")
    store.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["smallchat", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    line = capsys.readouterr().err
    assert (ended.value.code or 0, told in line, line.count("\n")) == (code, True, 1), line


def test_a_broken_address_of_the_hub_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from smallchat.hub.known import parse

    monkeypatch.setenv("HF_ENDPOINT", "http://[x")
    reference = parse("https://hf.co/owner/name")
    assert reference is not None
    assert reference.repositories == ("owner/name",)
