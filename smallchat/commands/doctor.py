"""`smallchat doctor`: what this machine has, what each model would do here, what is wrong, and the cure."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from smallchat import __version__, paths, settings
from smallchat.chat.failures import explained
from smallchat.chat.store import Store
from smallchat.commands.models import listing
from smallchat.commands.printing import print_json
from smallchat.commands.resolve import model_path
from smallchat.engine.checkpoints.forget import forget
from smallchat.errors import SmallchatError
from smallchat.files import exists
from smallchat.hub.installed import BUILTIN, hub_cache
from smallchat.hub.machine import Machine
from smallchat.notes.folder import open_folder
from smallchat.settings import UsageError
from smallchat.tui import keys, themes
from smallchat.tui.text import outlook, plain, size

LIBRARIES = ("numpy", "ctransformers", "numkong", "tokenizers", "textual", "huggingface_hub", "gguf")
LIBRARIES_HERE = ("pywhispercpp",) if (sys.platform, platform.machine()) == ("linux", "x86_64") else ()
"""Those that only some machines have a use for."""
SLOW_DISK = 200 << 20
"""Bytes a second below which experts from disk are no pleasure."""
LITTLE_SPACE = 4 << 30
"""Bytes of free space below which no real model can be fetched."""
SMALL_TERMINAL = (80, 24)


def run(as_json: bool) -> None:
    """Print the findings; the exit code stays 0, whatever is found."""
    facts = examine()
    if as_json:
        print_json(facts)
        return
    for title in ("processor", "memory", "disk", "terminal", "software"):
        print(f"{title:<10} {plain(_line(title, facts[title]))}")
    for row in facts["installed"]:
        if "problem" not in row:
            where = row["place"] if row["place"] == BUILTIN else row["path"]
            print(plain(f"{'model':<10} {row['name']} {row['quantisation']}: {outlook(row)} ({where})"))
    for row in facts["available"]:
        print(f"{'known':<10} {row['name']}: {outlook(row)} (smallchat pull {row['short']})")
    for problem in facts["problems"]:
        print(plain(f"{'problem':<10} {problem['what']}. {problem['cure']}"))
    if not facts["problems"]:
        print(f"{'problems':<10} none")


def examine() -> dict[str, Any]:
    """All findings by name; sizes in bytes, speeds in bytes a second."""
    machine, installed, available = listing()
    facts: dict[str, Any] = {
        "processor": _processor(machine),
        "memory": {"bytes": machine.memory, "available_bytes": machine.available},
        "disk": _disk(machine, installed),
        "terminal": _terminal(),
        "software": _software(),
        "installed": installed,
        "available": available,
    }
    return facts | {"problems": [{"what": what, "cure": cure} for what, cure in _problems(facts, machine)]}


def _processor(machine: Machine) -> dict[str, Any]:
    return {
        "name": _processor_name(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "kernels": machine.kernels,
        "product_bytes_per_second": round(machine.product_speed),
    }


def _processor_name() -> str:
    """As the system calls it; the kind of machine where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _disk(machine: Machine, installed: list[dict[str, Any]]) -> dict[str, Any]:
    largest = max(installed, key=lambda row: row["bytes"], default=None)
    measured = machine.disk_speed and largest
    return {
        "models_folder": str(paths.models()),
        "models_free_bytes": shutil.disk_usage(_nearest(paths.models())).free,
        "hub_cache": str(hub_cache()),
        "free_bytes": shutil.disk_usage(_nearest(hub_cache())).free,
        "read_bytes_per_second": round(machine.disk_speed) if machine.disk_speed else None,
        "read_file": measured["path"] if measured else None,
    }


def _nearest(folder: Path) -> Path:
    """What there is of a folder and those above it."""
    while not exists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _terminal() -> dict[str, Any]:
    columns, lines = shutil.get_terminal_size()
    return {
        "is_terminal": sys.stdout.isatty(),
        "kind": os.environ.get("TERM", ""),
        "columns": columns,
        "lines": lines,
        "encoding": sys.stdout.encoding,
        "colours": _colours(),
        "ssh": "SSH_CONNECTION" in os.environ,
    }


def _colours() -> str:
    """ "none", "16 million", "256" or "16", as far as the environment tells."""
    kind = os.environ.get("TERM", "")
    if os.environ.get("NO_COLOR") or kind in {"", "dumb"}:
        return "none"
    if os.environ.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return "16 million"
    return "256" if "256" in kind else "16"


def _software() -> dict[str, Any]:
    found: dict[str, Any] = {"smallchat": __version__, "python": platform.python_version()}
    for library in (*LIBRARIES, *LIBRARIES_HERE):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found | {"system": f"{platform.system()} {platform.release()}"}


def _problems(facts: dict[str, Any], machine: Machine) -> list[tuple[str, str]]:
    """(what is wrong, its cure), the worst first."""
    disk, terminal = facts["disk"], facts["terminal"]
    found = [(error.what, error.cure) for error in _refused()]
    found += [
        (row["problem"], f"Fetch it again, or delete it: smallchat models rm {row['path']}")
        for row in facts["installed"]
        if "problem" in row
    ]
    if machine.kernels_note:
        found.append(
            (machine.kernels_note.rstrip("."), "Install ctransformers on an x86-64 or macOS machine")
        )
    if not any(row["place"] != BUILTIN and "problem" not in row for row in facts["installed"]):
        found.append(("Only the built-in demonstration model is here", "Fetch a real one: smallchat pull 4b"))
    if disk["free_bytes"] < LITTLE_SPACE:
        what = (
            f"The disk of {disk['hub_cache']}, for what is fetched, has only {size(disk['free_bytes'])} free"
        )
        found.append((what, "Make room, or set HF_HOME to a folder on another disk"))
    needed = [row["name"] for row in facts["installed"] if row.get("fits") == "disk"]
    if needed and disk["read_bytes_per_second"] and disk["read_bytes_per_second"] < SLOW_DISK:
        rate = size(disk["read_bytes_per_second"])
        what = f"{needed[0]} does not fit in memory, and the disk reads only {rate}/s"
        found.append((what, "Free memory, or move the model to a faster disk"))
    if not terminal["is_terminal"]:
        return found
    if terminal["columns"] < SMALL_TERMINAL[0] or terminal["lines"] < SMALL_TERMINAL[1]:
        what = f"The terminal is {terminal['columns']} × {terminal['lines']} characters"
        found.append((what, "Make it at least 80 × 24"))
    if (terminal["encoding"] or "").lower().replace("-", "") != "utf8":
        found.append(
            (f"The terminal's encoding is {terminal['encoding']}", "Set LANG to one with UTF-8, as C.UTF-8")
        )
    return found


def _refused() -> Iterator[SmallchatError]:
    """What other commands would end with."""
    places = {_nearest(folder): folder for folder in (paths.cache(), paths.state(), paths.data())}
    yield from _raised(*(partial(_write_to, there, folder) for there, folder in places.items()))
    yield from _raised(_read_conversations)
    try:
        chosen = settings.load({})
    except UsageError as error:
        yield error
        return
    yield from _raised(partial(keys.remapped, chosen.keys), partial(themes.at_start, chosen.theme))
    if chosen.notes is not None:
        yield from _raised(partial(open_folder, chosen.notes))
    if chosen.endpoint is None:
        yield from _raised(partial(model_path, chosen.model))


def _raised(*checks: Callable[[], object]) -> Iterator[SmallchatError]:
    for check in checks:
        try:
            check()
        except SmallchatError as error:
            yield error


def _write_to(there: Path, folder: Path) -> None:
    """Raises `UsageError` where nothing can be kept in `folder`, of which `there` exists."""
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        what = f"Nothing can be kept in {folder}: {error.strerror}"
        cure = "Make room, or give yourself the right to write there, or set SMALLCHAT_HOME to another folder"
        raise UsageError(what, cure) from error


def _read_conversations() -> None:
    """Raises `StorageError` where the saved ones cannot be opened, or are damaged somewhere."""
    path = paths.conversations()
    if not exists(path):
        return
    store = Store(path)
    try:
        (said,) = store.connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise sqlite3.DatabaseError("malformed")
    except sqlite3.Error as error:
        raise explained(error, path) from error
    finally:
        store.close()
        forget(store.purged)


def _line(title: str, facts: dict[str, Any]) -> str:
    match title:
        case "processor":
            rate = size(facts["product_bytes_per_second"])
            threads = f"{facts['threads']} threads" + (
                f" on {facts['cores']} cores" if facts["cores"] else ""
            )
            return f"{facts['name']}, {threads}; {facts['kernels']} multiplies {rate}/s of Q4_0 weights"
        case "memory":
            return f"{size(facts['bytes'])}, {size(facts['available_bytes'])} of it free"
        case "disk":
            rate = facts["read_bytes_per_second"]
            read = f"{size(rate)}/s in direct reads of {facts['read_file']}" if rate else "speed not measured"
            fetched = f"{size(facts['free_bytes'])} free for what is fetched, in {facts['hub_cache']}"
            return f"{fetched}; {size(facts['models_free_bytes'])} in {facts['models_folder']}; {read}"
        case "terminal":
            if not facts["is_terminal"]:
                return "none on standard output"
            ssh = ", over SSH" if facts["ssh"] else ""
            shape = f"{facts['columns']} × {facts['lines']}"
            kind = facts["kind"] or "unknown"
            return f"{kind}, {shape}, {facts['encoding']}, colours: {facts['colours']}{ssh}"
        case _:
            return ", ".join(f"{name} {found or 'missing'}" for name, found in facts.items())
