"""Folders as they come: damaged, hostile, or gone. Clear words, nothing lost, nothing outside touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.errors import ExitCode, NotesError
from smallchat.notes import folder, writing
from smallchat.notes.folder import open_folder
from smallchat.notes.index import Index
from smallchat.notes.search import search
from smallchat.notes.watch import Watch
from tests.notes.conftest import Write
from tests.support.waiting import until

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and rights of POSIX systems")


def texts(index: Index, question: str) -> list[str]:
    return [hit.path for hit in search(index, question)]


def test_broken_utf8_is_searched_and_binaries_are_told(write: Write, index: Index) -> None:
    write("broken.md", b"caf\xe9 \xff\xfe zebra \xf0\x9f")
    write("binary.md", b"\x7fELF\0\0\0zebra" + bytes(range(256)) * 20)
    write("picture.md", b"\x89PNG\r\n\x1a\n\0\0zebra")
    write("wide.txt", "zebra über alles".encode("utf-16"))
    write("bom.md", b"\xef\xbb\xbf# Title zebra\r\n\r\ntext\r\n")
    write("image.png", "zebra")
    write("nothing.md", "")
    report = index.sync()
    assert report.notes == 4
    assert set(report.skipped) == {"binary.md", "picture.md"}
    assert all("not text" in why for why in report.skipped.values())
    assert set(texts(index, "zebra")) == {"broken.md", "wide.txt", "bom.md"}
    again = index.sync()
    assert (again.changed, again.notes, set(again.skipped)) == (0, 4, set(report.skipped))


@posix
def test_links_are_not_followed_wherever_they_lead(
    write: Write, index: Index, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("the zebra password")
    write("in/own.md", "zebra")
    (root / "link.md").symlink_to(outside / "secret.md")
    (root / "linked").symlink_to(outside)
    (root / "in" / "circle").symlink_to(root)
    (root / "in" / "self.md").symlink_to("self.md")
    (root / "etc").symlink_to("/etc")
    report = index.sync()
    assert texts(index, "zebra") == ["in/own.md"]
    assert report.notes == 1
    assert report.skipped["link.md"] == "links are not followed"
    for path in ("linked/secret.md", "link.md", "../outside/secret.md", "in/../../outside/secret.md"):
        with pytest.raises(folder.UnreadableError):
            folder.read_bytes(root, path)
    with pytest.raises(NotesError):
        writing.create(root, "linked/new.md", "text")
    with pytest.raises(NotesError):
        writing.create(root, "linked/deep/new.md", "text")
    with pytest.raises(NotesError):
        writing.create(root, "../new.md", "text")
    with pytest.raises(NotesError):
        writing.appended(root, "link.md", "text")
    assert [path.name for path in outside.rglob("*")] == ["secret.md"]
    assert (outside / "secret.md").read_text() == "the zebra password"
    (root / "dangling.md").symlink_to(tmp_path / "made.md")
    assert writing.create(root, "dangling.md", "text") == "dangling 2.md"
    assert not (tmp_path / "made.md").exists()


@posix
def test_a_folder_that_becomes_a_link_after_it_was_indexed(
    write: Write, index: Index, root: Path, tmp_path: Path
) -> None:
    write("sub/note.md", "zebra")
    index.sync()
    shutil.move(root / "sub", tmp_path / "moved")
    (root / "sub").symlink_to(tmp_path / "moved")
    with pytest.raises(folder.UnreadableError):
        folder.read_bytes(root, "sub/note.md")
    index.sync()
    assert texts(index, "zebra") == []


def test_notes_that_link_in_circles(write: Write, index: Index) -> None:
    write("a.md", "zebra [[b]] [[a]]")
    write("b.md", "zebra [[a]]")
    index.sync()
    assert len(texts(index, "zebra")) == 2


def test_a_large_file_is_told_and_not_read(root: Path, index: Index, write: Write) -> None:
    write("small.md", "zebra")
    with (root / "large.md").open("wb") as file:
        file.write(b"zebra ")
        file.truncate(50 << 20)
    report = index.sync()
    assert texts(index, "zebra") == ["small.md"]
    assert "too large (50 MB" in report.skipped["large.md"]


def test_a_note_of_one_very_long_line(index: Index, write: Write) -> None:
    write("line.md", "zebra " + "[[" * 200_000 + "#" * 200_000 + "1" * 100_000 + " `" * 50_000)
    write("headings.md", "#" * 300_000 + "\n" + "# # # " * 50_000 + "zebra")
    assert index.sync().notes == 2
    assert set(texts(index, "zebra")) == {"line.md", "headings.md"}


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_are_told(write: Write, index: Index) -> None:
    file = write("closed.md", "zebra")
    inner = write("shut/in.md", "zebra").parent
    write("open.md", "zebra")
    file.chmod(0)
    inner.chmod(0)
    try:
        report = index.sync()
        assert texts(index, "zebra") == ["open.md"]
        assert "denied" in report.skipped["closed.md"]
        assert "denied" in report.skipped["shut"]
    finally:
        inner.chmod(0o700)
    file.chmod(0o600)


def test_a_file_that_cannot_be_read_is_told(
    write: Write, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("closed.md", "zebra")
    write("open.md", "zebra")
    really = os.open

    def refuse(path: object, *arguments: object, **options: object) -> int:
        if str(path).endswith("closed.md"):
            raise PermissionError(13, "Permission denied")
        return really(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    report = index.sync()
    assert texts(index, "zebra") == ["open.md"]
    assert "Permission denied" in report.skipped["closed.md"]


@posix
def test_pipes_and_devices_do_not_hold_it_up(root: Path, index: Index, write: Write) -> None:
    os.mkfifo(root / "pipe.md")
    write("a.md", "zebra")
    report = index.sync()
    assert report.notes == 1
    assert report.skipped == {"pipe.md": "not a file"}


NAMES = (
    *(
        "花园.md",
        "サクラ/メモ.md",
        "сад.md",
        "حديقة.md",
        "κήπος.md",
        "สวน.md",
        "🌳 tree.md",
        "é.md",
        "e\u0301.md",
    ),
    *(
        "a'b\"c.md",
        "per%cent.md",
        "new\nline.md",
        "esc\x1b[31m.md",
        "-rf.md",
        "spa ce/ .md",
        "x" * 200 + ".md",
    ),
)


@posix
def test_names_in_every_script(write: Write, index: Index, root: Path) -> None:
    for name in NAMES:
        write(name, "zebra")
    os.close(os.open(os.fsencode(root) + b"/caf\xe9.md", os.O_CREAT | os.O_WRONLY))
    report = index.sync()
    assert report.notes == len(NAMES)
    assert list(report.skipped.values()) == ["its name is not UTF-8"]
    assert {hit.path for hit in search(index, "zebra", limit=50)} == set(NAMES)


@posix
def test_a_read_only_folder_is_searched_and_not_written(
    write: Write, index: Index, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.md", "zebra")
    index.sync()
    assert texts(index, "zebra") == ["a.md"]
    really = os.open

    def read_only(path: object, flags: int, *arguments: object, **options: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return really(path, flags, *arguments, **options)  # type: ignore[arg-type]

    change = writing.appended(root, "a.md", "more")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        for attempt in (lambda: writing.create(root, "b.md", "x"), change.apply):
            with pytest.raises(NotesError, match="read-only: copy the text"):
                attempt()
    assert [path.name for path in root.iterdir()] == ["a.md"]
    assert (root / "a.md").read_text() == "zebra"


def test_a_folder_that_vanishes_keeps_its_index(
    write: Write, index: Index, root: Path, tmp_path: Path
) -> None:
    write("a.md", "zebra")
    index.sync()
    root.rename(tmp_path / "away")
    with pytest.raises(NotesError, match="cannot be read any more"):
        index.sync()
    assert texts(index, "zebra") == ["a.md"]
    with pytest.raises(NotesError):
        writing.create(root, "b.md", "x")
    assert not root.exists()
    (tmp_path / "away").rename(root)
    assert index.sync().changed == 0


@pytest.mark.parametrize("name", ["missing", "a file", "\0"])
def test_a_folder_that_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(NotesError, match="--notes DIR") as raised:
        open_folder(tmp_path / name)
    assert raised.value.exit_code == ExitCode.NOTES


def test_a_folder_in_no_home_that_is_known() -> None:
    with pytest.raises(NotesError, match="~nobody of this name/notes cannot be read"):
        open_folder("~nobody of this name/notes")


@pytest.mark.parametrize("damage", ["noise", "another version", "empty"])
def test_a_damaged_index_is_made_anew(damage: str, write: Write, root: Path) -> None:
    write("a.md", "zebra")
    file = paths.notes_index(root)
    index = Index(root, file)
    index.sync()
    index.close()
    if damage == "another version":
        raw = sqlite3.connect(file)
        raw.execute("PRAGMA user_version = 99")
        raw.close()
    else:
        file.write_bytes(b"noise" * 5000 if damage == "noise" else b"")
    index = Index(root, file)
    assert index.sync().changed == 1
    assert texts(index, "zebra") == ["a.md"]
    index.close()


@posix
def test_an_index_that_cannot_be_made_is_told(root: Path, tmp_path: Path) -> None:
    file = paths.notes_index(root)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(tmp_path / "nowhere" / "index")
    with pytest.raises(NotesError, match=r"The index of the notes, .*: No such file"):
        Index(root, file)
    watch = Watch(lambda: Index(root, file), lambda: None)
    watch.start()
    until(lambda: watch.problem)
    watch.stop()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_index_that_may_not_be_written_is_told_with_what_to_do(root: Path) -> None:
    file = paths.notes_index(root)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o500)
    try:
        with pytest.raises(NotesError, match=r"Permission denied\. Give yourself the right"):
            Index(root, file)
    finally:
        file.parent.chmod(0o700)


def test_a_full_disk_is_told_and_the_index_goes_on_when_there_is_room(write: Write, index: Index) -> None:
    write("a.md", "zebra")
    index.sync()
    pages = index.connection.execute("PRAGMA page_count").fetchone()[0]
    index.connection.execute(f"PRAGMA max_page_count = {pages}")
    write("b.md", "\n\n".join(f"# {number}\n\nhorse {number} {number:b}" for number in range(3000)))
    with pytest.raises(NotesError, match=r"full\. Make room on the disk"):
        index.sync()
    assert texts(index, "zebra") == ["a.md"]
    index.connection.execute("PRAGMA max_page_count = 1000000")
    index.sync()
    assert "b.md" in texts(index, "horse")


def test_stopping_keeps_what_is_done_and_the_next_time_goes_on(write: Write, index: Index) -> None:
    for number in range(20):
        write(f"{number}.md", f"zebra {number}")
    calls = iter(range(100))
    report = index.sync(stop=lambda: next(calls) >= 5)
    assert (report.changed, report.stopped) == (5, True)
    assert index.sync().changed == 15


def test_changes_only(write: Write, index: Index, root: Path) -> None:
    write("a.md", "zebra")
    write("b.md", "zebra")
    index.sync()
    os.utime(root / "a.md", ns=(1, 1))
    assert index.sync().changed == 0  # a new date, the same bytes
    write("a.md", "horse")
    (root / "b.md").unlink()
    report = index.sync()
    assert (report.changed, report.removed, report.notes) == (1, 1, 1)
    assert texts(index, "zebra") == []
    assert texts(index, "horse") == ["a.md"]


def test_a_change_within_one_tick_of_the_clock_is_seen(write: Write, index: Index, root: Path) -> None:
    file = write("a.md", "zebra")
    date = file.stat().st_mtime_ns
    index.sync()
    write("a.md", "horse")
    os.utime(file, ns=(date, date))  # as a file system with coarse dates would have it
    index.sync()
    assert texts(index, "horse") == ["a.md"]
