"""`smallchat models`: what is installed, wherever it lies, and how it would run here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from smallchat.commands.printing import print_json
from smallchat.commands.progress import bar
from smallchat.commands.resolve import installed_file, model_path
from smallchat.errors import ModelError
from smallchat.hub import details, machine
from smallchat.hub.installed import BUILTIN, Installed, installed
from smallchat.hub.known import MODELS, KnownModel
from smallchat.hub.remove import remove
from smallchat.hub.verify import verify as verify_file
from smallchat.tui.text import outlook, plain, size


def run(as_json: bool) -> None:
    """Print every SmallThinker on this disk, and the known ones that are not."""
    _, rows, missing = listing()
    if as_json:
        print_json({"installed": rows, "available": missing})
        return
    for row in rows:
        if "problem" in row:
            print(plain(f"{row['path']}\n  damaged: {row['problem']}"))
            continue
        print(plain(f"{row['name']}  {row['quantisation']}  {size(row['bytes'])}  {outlook(row)}"))
        print(plain(f"  {row['path']}" + (f" ({row['place']})" if row["place"] != BUILTIN else "")))
    for row in missing:
        print(f"{row['name']}  not here  {size(row['bytes'])}  {outlook(row)}")
        print(f"  smallchat pull {row['short']}")


def listing() -> tuple[machine.Machine, list[dict[str, Any]], list[dict[str, Any]]]:
    """This machine, what is installed, and the known models that are not; each as named facts."""
    found = list(installed())
    largest = max(found, key=lambda one: one.size, default=None)
    here = machine.measure(largest.path if largest else None)
    known = {one.model.short for one in found if one.model}
    missing = [_known_row(model, here) for model in MODELS if model.short not in known]
    return here, [_row(one, here) for one in found], missing


def delete(name: str, as_json: bool) -> None:
    """Take the model that `name` means off this disk. Raises `ModelError`."""
    found = installed_file(name)
    freed = remove(found)
    if as_json:
        print_json({"path": str(found.path), "freed_bytes": freed})
    else:
        print(plain(f"{found.path} is deleted; {size(freed)} came free"))


def verify(name: str, as_json: bool) -> None:
    """Read all of a model and look for damage. Raises `ModelError` that names it."""
    path = model_path(name)
    with bar() as progress:
        done = verify_file(path, progress)
    if as_json:
        print_json({"path": str(path), "sound": True, **asdict(done)})
        return
    checksum = f"checksum {done.checksum[:12]}… is right" if done.checksum else "no checksum is known for it"
    print(plain(f"{path} is sound: {done.tensors} tensors in {size(done.size)}, {checksum}"))


def _known_row(model: KnownModel, here: machine.Machine) -> dict[str, Any]:
    facts = details.of_known(model)
    return {
        "name": model.name,
        "short": model.short,
        "bytes": model.file_bytes,
        "licence": model.licence,
        "memory_bytes": facts.memory,
        "smallest_memory_bytes": facts.smallest_memory,
        **asdict(machine.expect(facts, here)),
    }


def _row(found: Installed, here: machine.Machine) -> dict[str, Any]:
    row: dict[str, Any] = {
        "path": str(found.path),
        "place": found.place,
        "bytes": found.size,
        "short": found.model.short if found.model else None,
        "repository": found.repository,
    }
    try:
        facts = details.of_file(found.path)
    except ModelError as error:
        return row | {"problem": error.what}
    return row | {
        "name": facts.name,
        "quantisation": facts.quantisation,
        "transposed": facts.transposed,
        "memory_bytes": facts.memory,
        "smallest_memory_bytes": facts.smallest_memory,
        **asdict(machine.expect(facts, here)),
    }
