"""The models that have a short name: where they are on the hub, how large they are, under which licence.

Sizes follow from the published shapes (report, table 1), as Q4_0 with a Q6_K head, which is how the official
files are made; for the 4B that is within a thousandth of the file's 2,472,877,152 bytes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from smallchat.kernels.quants import LAYOUTS, TensorType
from smallchat.model.card import KNOWN
from smallchat.settings import UsageError

DEFAULT_TYPE = "q4_0"
POWERINFER = "powerinfer"
"""Tag of the files with transposed down projections, as `4b:powerinfer`."""
MAIN = "main"
"""The revision that a repository shows first."""
LONGEST_NAME = 255
"""Bytes of a file's name: no disk has longer ones."""

_BITS_4 = LAYOUTS[TensorType.Q4_0].size / LAYOUTS[TensorType.Q4_0].weights
_BITS_6 = LAYOUTS[TensorType.Q6_K].size / LAYOUTS[TensorType.Q6_K].weights
_FLOAT = 4
_VOCABULARY_BYTES = 6 << 20
"""What the real vocabulary takes in a file."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One released model. Byte counts are of its Q4_0 file."""

    short: str
    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_size: int
    experts: int
    experts_used: int
    expert_width: int
    window: int | None
    """Sliding window of three layers in four; None: every layer sees all."""
    context: int
    """Tokens that it was made for."""
    repositories: tuple[str, ...]
    """With GGUF files: the makers' own, under their organisation's new and old name, then others'."""
    licence: str = "Apache-2.0"

    @property
    def name(self) -> str:
        """What people call it."""
        return KNOWN[self.dimensions]

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Layers, hidden width and experts: what a file is recognised by, whatever its name says."""
        return self.layers, self.hidden, self.experts

    @property
    def expert_bytes(self) -> int:
        """All experts of all layers."""
        return self.layers * self.experts * 3 * self.matrix_bytes

    @property
    def matrix_bytes(self) -> int:
        """Gate, up or down of one expert."""
        return round(self.hidden * self.expert_width * _BITS_4)

    @property
    def dense_bytes(self) -> int:
        """What every token reads, whichever experts it uses: attention, routers, head."""
        attention = self.layers * self.hidden * 2 * (self.heads + self.kv_heads) * self.head_size
        router = self.layers * self.hidden * self.experts
        head = self.vocabulary * self.hidden
        return round(attention * _BITS_4 + router * _FLOAT + head * _BITS_6)

    @property
    def active_parameters(self) -> int:
        """Weights that one token uses, without embedding and head."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_size
        experts = 3 * self.experts_used * self.expert_width
        return self.layers * self.hidden * (attention + self.experts + experts)

    @property
    def file_bytes(self) -> int:
        """The whole file; the embedding is beside the head."""
        embedding = self.vocabulary * self.hidden * _BITS_4
        return self.expert_bytes + self.dense_bytes + round(embedding) + _VOCABULARY_BYTES

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each layer: its sliding window in tokens, or None."""
        return tuple(self.window if layer % 4 else None for layer in range(self.layers))


MODELS = (
    KnownModel(
        "4b",
        *(32, 1536, 151936, 12, 2, 128, 32, 4, 768, None, 32_768),
        repositories=(
            "Tiiny/SmallThinker-4BA0.6B-Instruct-GGUF",
            "PowerInfer/SmallThinker-4BA0.6B-Instruct-GGUF",
            "bartowski/PowerInfer_SmallThinker-4BA0.6B-Instruct-GGUF",
            "mradermacher/SmallThinker-4BA0.6B-Instruct-GGUF",
            "gabriellarson/SmallThinker-4BA0.6B-Instruct-GGUF",
        ),
    ),
    KnownModel(
        "21b",
        *(52, 2560, 151936, 28, 4, 128, 64, 6, 768, 4096, 16_384),
        repositories=(
            "Tiiny/SmallThinker-21BA3B-Instruct-GGUF",
            "PowerInfer/SmallThinker-21BA3B-Instruct-GGUF",
            "DevQuasar/PowerInfer.SmallThinker-21BA3B-Instruct-GGUF",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A model by a name that means something on the hub."""

    repositories: tuple[str, ...]
    """`owner/name`, to be tried in this order."""
    type: str = DEFAULT_TYPE
    """Quantisation in small letters, or "powerinfer"."""
    file: str | None = None
    """A file of the repository, where the name says which."""
    revision: str = MAIN
    model: KnownModel | None = None
    """Set for a short name."""

    def choose(self, files: list[str]) -> str | None:
        """The file of a repository that is meant; None: it has none such.

        Files are called `….Q4_0.gguf` or `…-Q4_0.gguf`, and `….Q4_0.powerinfer.gguf`.
        """
        if self.file is not None:
            return self.file if self.file in files else None
        tag = rf"{DEFAULT_TYPE}\.{POWERINFER}" if self.type == POWERINFER else re.escape(self.type)
        wanted = re.compile(rf"(?:^|[./_-]){tag}\.gguf$", re.IGNORECASE)
        return min((file for file in files if wanted.search(file)), key=len, default=None)


def known(dimensions: tuple[object, object, object]) -> KnownModel | None:
    """The released model of these layers, hidden width and experts."""
    return next((model for model in MODELS if model.dimensions == dimensions), None)


def short_name(name: str) -> KnownModel | None:
    """The model that `name` is the short name of, with or without a tag ("4b", "4B:q8_0")."""
    short = name.partition(":")[0].lower()
    return next((model for model in MODELS if model.short == short), None)


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_]{1,20}")


def parse(name: str) -> Reference | None:
    """What `name` means on the hub: "4b", "4b:q8_0", "owner/name", "owner/name:file", or a URL of either.

    None where it can mean nothing there. Raises `UsageError` for a URL of no model and for an unknown tag.
    """
    if re.match(r"https?://", name, re.IGNORECASE):
        return _from_url(name)
    base, colon, tag = name.partition(":")
    if colon and not tag:
        raise UsageError(f"{name!r} ends in a colon", "Write a type behind it, as 4b:q8_0")
    model = short_name(base)
    if model is not None:
        if tag and not _TAG.fullmatch(tag):
            raise UsageError(f"{tag[:40]!r} is no type", "Write one like q4_0, q8_0 or powerinfer")
        return Reference(model.repositories, tag.lower() or DEFAULT_TYPE, model=model)
    if not _REPOSITORY.fullmatch(base) or base.lower().endswith(".gguf"):
        return None
    if tag.lower().endswith(".gguf"):
        return Reference((base,), file=_inside(tag))
    return Reference((base,), tag.lower() or DEFAULT_TYPE)


def _from_url(url: str) -> Reference:
    cure = "Give the address of a .gguf file or of a model on the hub, as in a browser"
    hosts = {
        "huggingface.co",
        "www.huggingface.co",
        "hf.co",
        _host(os.environ.get("HF_ENDPOINT", "")),
    }
    if (host := _host(url)) is None or host not in hosts:
        raise UsageError(f"{url[:200]!r} is not on the hub", "Fetch it with a browser, then give its path")
    parts = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    repository = "/".join(parts[:2])
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{url[:200]!r} is no model's address", cure)
    if len(parts) == 2 or (len(parts) == 4 and parts[2] == "tree"):
        return Reference((repository,), revision=parts[3] if len(parts) == 4 else MAIN)
    if len(parts) < 5 or parts[2] not in {"resolve", "blob"} or not parts[-1].lower().endswith(".gguf"):
        raise UsageError(f"{url[:200]!r} is no model file's address", cure)
    return Reference((repository,), file=_inside("/".join(parts[4:])), revision=parts[3])


def _host(url: str) -> str | None:
    """None where there is none, or what stands there cannot be one."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def is_repository(name: str) -> bool:
    """Whether the hub can have a repository of this name, `owner/name`."""
    return bool(_REPOSITORY.fullmatch(name))


def is_inside(file: str) -> bool:
    """Whether `file`, by whatever name, stays inside its repository's folder, on every disk."""
    if not file.isprintable() or "\\" in file or len(file.encode()) > LONGEST_NAME:
        return False
    return not any(part in {"", ".", ".."} for part in file.split("/"))


def _inside(file: str) -> str:
    """`file`, which must stay inside its repository's folder."""
    if not is_inside(file):
        raise UsageError(f"{file[:200]!r} is no file of a repository", "Write it as the hub shows it")
    return file
