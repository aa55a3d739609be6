"""SmallThinker files that are already on this disk, whichever program fetched them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallchat import paths
from smallchat.errors import ModelError
from smallchat.hub.known import DEFAULT_TYPE, POWERINFER, KnownModel, Reference, known
from smallchat.model.config import ARCHITECTURE
from smallchat.model.gguf import peek

BUILTIN, OURS, HUB, LM_STUDIO, LLAMA_CPP = "built in", "models folder", "hub cache", "LM Studio", "llama.cpp"
"""Places, as the user is told them."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One file of the right architecture. Its weights have not been looked at."""

    path: Path
    place: str
    size: int
    """Bytes."""
    model: KnownModel | None
    """Which released model it is, by its dimensions."""
    repository: str | None = None
    """`owner/name`, for a file of the hub's cache."""

    def is_of(self, reference: Reference) -> bool:
        """Whether this is what `reference` names."""
        if reference.model is not None and self.model is not None:
            return self.model is reference.model and self.is_type(reference.type)
        if self.repository is None:
            return False
        same = self.repository.lower() in {name.lower() for name in reference.repositories}
        return same and reference.choose([self.inside]) is not None

    def is_type(self, tag: str) -> bool:
        """Whether the file's name tells this type; any name will do for the type that nobody asked for."""
        name = self.path.name.lower()
        if tag == POWERINFER or POWERINFER in name:
            return (tag == POWERINFER) == (POWERINFER in name)
        return re.search(rf"(?:^|[._-]){re.escape(tag)}\.gguf$", name) is not None

    @property
    def inside(self) -> str:
        """The file's name within its repository."""
        parts = self.path.parts
        return "/".join(parts[parts.index("snapshots") + 2 :]) if "snapshots" in parts else self.path.name


def hub_cache() -> Path:
    """The hub client's own cache, by its rules: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, the home folder.

    Raises `PlaceError`.
    """
    if cache := paths.named_by("HF_HUB_CACHE"):
        return cache
    if home := paths.named_by("HF_HOME"):
        return home / "hub"
    return _cache() / "huggingface" / "hub"


def folders() -> list[tuple[str, Path, str]]:
    """(place, folder, pattern of the files in it), ours first; they need not exist. Raises `PlaceError`."""
    home = Path.home()
    llama = os.environ.get("LLAMA_CACHE")
    system = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}
    return [
        (OURS, paths.models(), "**/*.gguf"),
        (HUB, hub_cache(), "models--*/snapshots/*/**/*.gguf"),
        (LM_STUDIO, home / ".lmstudio" / "models", "**/*.gguf"),
        (LM_STUDIO, home / ".cache" / "lm-studio" / "models", "**/*.gguf"),
        (LLAMA_CPP, Path(llama) if llama else system.get(sys.platform, _cache()) / "llama.cpp", "**/*.gguf"),
    ]


def installed() -> Iterator[Installed]:
    """Every SmallThinker file in the known folders, each once; the model that smallchat ships comes last.

    Files of other models, and what is no readable GGUF, are passed over.
    """
    seen: set[Path] = set()
    for place, folder, pattern in folders():
        for path in _files(folder, pattern):
            with contextlib.suppress(OSError, ModelError):
                if (real := path.resolve()) in seen:
                    continue
                seen.add(real)
                if (found := look(path, place)) is not None:
                    yield found
    with contextlib.suppress(OSError, ModelError):
        if (found := look(paths.builtin_model(), BUILTIN)) is not None:
            yield found


def look(path: Path, place: str) -> Installed | None:
    """What the file at `path` is; None: not a SmallThinker. Raises `ModelError` or `OSError`."""
    metadata = peek(path)
    if metadata.get("general.architecture") != ARCHITECTURE:
        return None
    return Installed(path, place, path.stat().st_size, _model(metadata), _repository(path))


def best(reference: Reference) -> Installed | None:
    """The file on this disk that `reference` names; the one without a tag may be of any type."""
    every = [found for found in installed() if found.place != BUILTIN]
    for found in every:
        if found.is_of(reference):
            return found
    if reference.type != DEFAULT_TYPE or reference.model is None:
        return None
    return next((found for found in every if found.model is reference.model), None)


def _model(metadata: dict[str, Any]) -> KnownModel | None:
    keys = ("block_count", "embedding_length", "expert_count")
    layers, hidden, experts = (metadata.get(f"{ARCHITECTURE}.{key}") for key in keys)
    return known((layers, hidden, experts))


def _repository(path: Path) -> str | None:
    """`owner/name` from the hub cache's folder `models--owner--name`."""
    for parent in path.parents:
        if parent.name.startswith("models--"):
            return "/".join(parent.name.split("--")[1:])
    return None


def _files(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except OSError:
        return []


def _cache() -> Path:
    return paths.named_by("XDG_CACHE_HOME") or Path.home() / ".cache"
