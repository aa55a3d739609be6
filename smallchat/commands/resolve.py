"""From what `--model` says to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smallchat import paths
from smallchat.engine.client import LoadOptions
from smallchat.errors import ModelError
from smallchat.files import exists, meant
from smallchat.settings import BUILTIN, Settings

if TYPE_CHECKING:  # the app opens without them
    from smallchat.hub.installed import Installed
    from smallchat.hub.known import Reference


class MissingModelError(ModelError):
    """The model is not on this disk, but the hub may have it."""

    def __init__(self, name: str, reference: Reference) -> None:
        from smallchat.hub.known import DEFAULT_TYPE

        about = ""
        if reference.model is not None and reference.type == DEFAULT_TYPE:
            about = f" ({reference.model.file_bytes / 1e9:.1f} GB)"
        super().__init__(
            f"The model {name} is not on this machine", f"Fetch it{about}: smallchat pull {name}"
        )
        self.name, self.reference = name, reference


def model_path(name: str) -> Path:
    """The file that `name` means.

    "builtin"; a path; a file in the models folder, with or without ".gguf", or a part of its name; "4b", a
    repository or an address of the hub, where that is on this disk already, whoever fetched it. Nothing is
    fetched here. Raises `ModelError` that says where it was looked for; `MissingModelError` says how to get
    it; `UsageError` where the name cannot mean anything.
    """
    if name == BUILTIN:
        return paths.builtin_model()
    given = meant(name)
    in_folder = paths.models() / name
    if exists(given):
        return given
    from smallchat.hub.known import parse

    reference = parse(name)
    if given.parent == Path() and (exists(in_folder) or given.suffix == ".gguf"):
        return in_folder if exists(in_folder) else given  # a missing file is the reader's to report
    if reference is None and given.parent != Path():
        return given
    return _in_models_folder(name) or _on_this_disk(name, reference)


def installed_file(name: str) -> Installed:
    """The file that `name` means, as something that can be deleted. Raises `ModelError`."""
    from smallchat.hub.installed import installed

    path = model_path(name)
    for found in installed():
        if found.path == path or found.path.resolve() == path.resolve():
            return found
    raise ModelError(
        f"{path} is in none of the folders that smallchat looks after", "Delete it as any other file"
    )


def _in_models_folder(name: str) -> Path | None:
    folder = paths.models()
    if not exists(folder):
        return None
    exact = folder / f"{name}.gguf"
    if exists(exact):
        return exact
    matches = [
        path for path in sorted(folder.glob("*.gguf")) if f"-{name.lower()}" in f"-{path.name.lower()}"
    ]
    if len(matches) > 1:
        found = ", ".join(path.stem for path in matches)
        raise ModelError(f"{name!r} fits several models in {folder}: {found}", "Give one of these names")
    return matches[0] if matches else None


def _on_this_disk(name: str, reference: Reference | None) -> Path:
    if reference is None:
        cure = f"Put a SmallThinker .gguf file into {paths.models()}, or give the path of one, 4b or 21b"
        raise ModelError(f"There is no model {name!r} in {paths.models()}", cure)
    from smallchat.hub.installed import best

    found = best(reference)
    if found is not None:
        return found.path
    raise MissingModelError(name, reference)


def load_options(settings: Settings) -> LoadOptions:
    """What the engine is to load. Raises `ModelError`."""
    return LoadOptions(
        path=model_path(settings.model),
        mem=settings.mem,
        kernels=settings.kernels,
        kv=settings.kv,
        sparse_head=settings.head(),
        repack=settings.repack,
        threads=settings.threads,
        context=settings.context,
        checkpoints=settings.checkpoints,
        demo=settings.model == BUILTIN,
    )
