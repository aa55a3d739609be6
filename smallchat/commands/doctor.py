"""`smallchat doctor`: what this machine has, what each model would do here, what is wrong, and the cure."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from smallchat import __version__, paths
from smallchat.commands.models import listing
from smallchat.commands.printing import print_json
from smallchat.hub.installed import BUILTIN, hub_cache
from smallchat.hub.machine import Machine
from smallchat.tui.text import outlook, plain, size

LIBRARIES = ("numpy", "ctransformers", "tokenizers", "textual", "huggingface_hub", "gguf")
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
        "disk": _disk(machine),
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


def _disk(machine: Machine) -> dict[str, Any]:
    folder = hub_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return {
        "models_folder": str(paths.models()),
        "hub_cache": str(hub_cache()),
        "free_bytes": shutil.disk_usage(folder).free,
        "read_bytes_per_second": round(machine.disk_speed) if machine.disk_speed else None,
    }


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
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found | {"system": f"{platform.system()} {platform.release()}"}


def _problems(facts: dict[str, Any], machine: Machine) -> list[tuple[str, str]]:
    """(what is wrong, its cure), the worst first."""
    disk, terminal = facts["disk"], facts["terminal"]
    found = [
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
        what = f"The disk of the models has only {size(disk['free_bytes'])} free"
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
            read = f"{size(rate)}/s in direct reads" if rate else "its speed could not be measured"
            return f"{size(facts['free_bytes'])} free, {read}; models in {facts['models_folder']}"
        case "terminal":
            if not facts["is_terminal"]:
                return "none on standard output"
            ssh = ", over SSH" if facts["ssh"] else ""
            shape = f"{facts['columns']} × {facts['lines']}"
            kind = facts["kind"] or "unknown"
            return f"{kind}, {shape}, {facts['encoding']}, colours: {facts['colours']}{ssh}"
        case _:
            return ", ".join(f"{name} {found or 'missing'}" for name, found in facts.items())
