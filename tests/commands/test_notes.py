"""`smallchat notes …` as a shell sees it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.errors import ExitCode
from tests.commands.test_cli import smallchat


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    folder.mkdir()
    (folder / "Garden.md").write_text(
        "---\ntags: [garden]\n---\n# Garden plan\n\nPrune the apple tree in [[Feb]].\n"
    )
    (folder / "sub").mkdir()
    (folder / "sub" / "Feb.md").write_text("Cold. See [[garden plan]].\r\n", newline="")
    (folder / "odd.md").write_bytes(b"\0\0")
    return folder


def notes(*arguments: str, vault: Path, piped: str | bytes = "") -> dict[str, object]:
    done = smallchat("notes", *arguments, "--notes", str(vault), "--json", piped=piped)
    assert done.returncode == ExitCode.OK, done.stderr
    return json.loads(done.stdout)


def test_search_as_data_and_as_text(vault: Path) -> None:
    found = notes("search", "when do we prune aplpe?", vault=vault)
    (hit,) = found["hits"]
    assert (hit["path"], hit["title"], hit["first"], hit["last"]) == ("Garden.md", "Garden plan", 4, 6)
    assert [hit["snippet"][start:end] for start, end in hit["marks"]] == ["Prune", "apple"]
    assert hit["fits"] is True
    done = smallchat("--notes", str(vault), "notes", "search", "apple")
    assert done.stdout.startswith("Garden.md:4-6  Garden plan\n    # Garden plan  Prune the apple tree")
    none = smallchat("notes", "search", "zebra", "--notes", str(vault))
    assert (none.stdout, none.returncode) == ("", ExitCode.OK)
    assert "Nothing" in none.stderr


def test_add_makes_a_note_and_never_overwrites(vault: Path) -> None:
    for name in ("First line.md", "First line 2.md"):
        assert notes("add", vault=vault, piped="# First line\n\nMore.\n")["path"] == name
    assert notes("add", "A title", vault=vault, piped="text")["new"] is True
    assert (vault / "A title.md").read_text().endswith("# A title\n\ntext\n")
    assert notes("search", "text", vault=vault)["hits"]


def test_add_to_a_note_and_to_today(vault: Path) -> None:
    assert notes("add", "--append", "feb", vault=vault, piped="Snow.\nIce.\n")["path"] == "sub/Feb.md"
    assert (vault / "sub" / "Feb.md").read_bytes() == b"Cold. See [[garden plan]].\r\n\r\nSnow.\r\nIce.\r\n"
    today = time.strftime("%Y-%m-%d")
    assert notes("add", "--daily", vault=vault, piped="one")["new"] is True
    done = smallchat("notes", "add", "--daily", "--notes", str(vault), piped="two")
    assert done.stdout == f"{vault / today}.md\n"
    assert "+two" in done.stderr
    assert (vault / f"{today}.md").read_text().endswith("one\n\ntwo\n")


def test_index_tags_and_links(vault: Path) -> None:
    report = notes("index", vault=vault)
    assert (report["notes"], list(report["skipped"])) == (2, ["odd.md"])
    assert notes("tags", vault=vault) == {"tags": {"garden": 1}}
    links = notes("links", "garden", vault=vault)
    assert [one["to"]["path"] for one in links["links"]] == ["sub/Feb.md"]
    assert [one["path"] for one in links["backlinks"]] == ["sub/Feb.md"]
    text = smallchat("notes", "index", "--notes", str(vault)).stdout
    assert "not searched: odd.md: is left out: it is not text" in text


def test_the_folder_may_stand_in_the_configuration(vault: Path) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text(f'notes = "{vault}"\nnote_name = "Inbox/{{title}}"\nnote_front = ""\n')
    assert smallchat("notes", "add", "T", piped="x").stdout == f"{vault}/Inbox/T.md\n"
    assert (vault / "Inbox" / "T.md").read_text() == "# T\n\nx\n"


def test_wrong_use_is_one_clear_line(vault: Path) -> None:
    at = ("--notes", str(vault))
    cases = (
        (("search", "x"), "", ExitCode.USAGE, "--notes DIR"),
        (("search", "x", "--notes", str(vault / "nix")), "", ExitCode.NOTES, "nix"),
        (("add", *at), "", ExitCode.NOTES, "nothing to save"),
        (("add", *at), b"\xff\xfe\0", ExitCode.USAGE, "not text"),
        (("add", "--append", "Gardn", *at), "x", ExitCode.NOTES, "Perhaps: Garden plan"),
        (("add", "T", "--daily", *at), "x", ExitCode.USAGE, "exclude"),
        (("links", "a\x1b[31m", *at), "", ExitCode.NOTES, "no note"),
    )
    for arguments, piped, code, words in cases:
        done = smallchat("notes", *arguments, piped=piped)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "\x1b" not in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
