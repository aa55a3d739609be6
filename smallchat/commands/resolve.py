"""From what `--model` says to a file."""

from __future__ import annotations

from pathlib import Path

from smallchat import paths
from smallchat.engine.client import LoadOptions
from smallchat.errors import ModelError
from smallchat.settings import BUILTIN, Settings


def model_path(name: str) -> Path:
    """The file that `name` means: "builtin", a path, or a file in the models folder, with or without ".gguf".

    Raises `ModelError` that says where it was looked for.
    """
    if name == BUILTIN:
        return paths.builtin_model()
    given = Path(name).expanduser()
    if given.exists() or given.parent != Path() or given.suffix == ".gguf":
        if not given.exists() and (paths.models() / given.name).exists() and given.parent == Path():
            return paths.models() / given.name
        return given  # a missing file is the reader's to report
    folder = paths.models()
    exact = folder / f"{name}.gguf"
    if exact.exists():
        return exact
    matches = [
        path for path in sorted(folder.glob("*.gguf")) if f"-{name.lower()}" in f"-{path.name.lower()}"
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        found = ", ".join(path.stem for path in matches)
        raise ModelError(f"{name!r} fits several models in {folder}: {found}", "Give one of these names")
    cure = f"Put a SmallThinker .gguf file into {folder}, or give the path of one"
    raise ModelError(f"There is no model {name!r} in {folder}", cure)


def load_options(settings: Settings) -> LoadOptions:
    """What the engine is to load. Raises `ModelError`."""
    return LoadOptions(
        path=model_path(settings.model),
        mem=settings.mem,
        kernels=settings.kernels,
        kv=settings.kv,
        sparse_head=settings.head(),
        threads=settings.threads,
        context=settings.context,
        demo=settings.model == BUILTIN,
    )
