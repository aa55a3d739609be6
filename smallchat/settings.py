"""Every setting, with one order of precedence: flag, then environment, then `config.toml`, then default.

The environment variable of a setting is `SMALLCHAT_` and its name in capitals (`SMALLCHAT_MEM=4G`); in
`config.toml` it is a key of the same name (`mem = "4G"`).
"""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from smallchat import paths
from smallchat.errors import ExitCode, SmallchatError

KERNELS = ("auto", "numpy", "ggml")
KVType = Literal["f32", "f16", "q8"]
KV_TYPES: tuple[KVType, ...] = ("f32", "f16", "q8")
DEFAULT_KV: KVType = "f16"
BUILTIN = "builtin"

DEFAULT_CONTEXT = 4096
"""Tokens of context where none are asked for; a model made for fewer gets its own."""

DEFAULT_CHECKPOINTS = 4 << 30

TABLES = ("personas", "keys")
"""Settings that hold names with texts; only the configuration file can."""

UNSET_IF_EMPTY = ("model", "notes", "endpoint", "theme")
"""An empty text leaves these as they are, in the configuration file as in the environment: the empty
name of a folder would mean the one that smallchat happens to be started in."""

NO_LIMIT = 0
"""A memory budget that is none."""

HEAD_THRESHOLD, HEAD_FLOOR = -2.0, 1024
MOST = 1 << 40
"""No whole number among the settings is larger."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class UsageError(SmallchatError):
    """A flag, an environment variable or the configuration file holds a value that means nothing."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of one answer. The defaults are those published with the models.

    `temperature` 0 takes the most likely token (top-k, top-p and min-p then change nothing).
    `top_k` 0, `top_p` 1, `min_p` 0 and `repeat_penalty` 1 each mean: off. `seed` None: a new one each time.
    Raises `UsageError` for a value that means nothing (NaN included).
    """

    temperature: float = 0.6
    top_k: int = 20
    top_p: float = 0.95
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        limits = {
            "temperature": (self.temperature, 0.0, 100.0),
            "top_k": (self.top_k, 0, 1 << 31),
            "top_p": (self.top_p, 1e-9, 1.0),
            "min_p": (self.min_p, 0.0, 1.0),
            "repeat_penalty": (self.repeat_penalty, 1e-3, 100.0),
            "seed": (self.seed or 0, 0, (1 << 63) - 1),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}", f"Choose a value from {low:g} to {high:g}")

    def seeded(self) -> Sampling:
        """The same settings with a seed: this one's, or a new one below 2**31."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(1 << 31))


@dataclass(frozen=True, slots=True)
class SparseHead:
    """How the LM head's predictor chooses rows, where a file has one.

    Measured elsewhere on the released 4B: a threshold of 0 misses the dense head's first choice for 13 of 100
    tokens, −2 for 2 of 100.
    """

    threshold: float = HEAD_THRESHOLD
    """Rows with a score above it are computed."""
    floor: int = HEAD_FLOOR
    """At least so many rows of each rank's share are computed: those with the highest scores."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run of smallchat is told from outside."""

    model: str = BUILTIN
    """A path of a GGUF file, the name of one in the models folder, or "builtin"."""
    mem: int | None = None
    """Memory budget in bytes, written as "8G", "600M" or bytes; 0, written as "none": no limit; None: none
    where the model fits into what is free, else a share of that."""
    context: int = DEFAULT_CONTEXT
    """Tokens of conversation that the model sees, at most the model's own limit."""
    threads: int | None = None
    """Processes that compute; None: what suits the model and the machine."""
    kernels: str = "auto"
    """What multiplies quantised matrices: auto, numpy or ggml."""
    kv: KVType = DEFAULT_KV
    """Type of the KV cache: f32 is exact, f16 half as large, q8 a quarter."""
    checkpoints: int = DEFAULT_CHECKPOINTS
    """Bytes of disk where what was read is kept, so that nothing is read twice; 0: none."""
    repack: bool | None = None
    """Whether experts are laid out anew for the processor, while nothing else is done or when they are used,
    in memory of our own: faster then. None: where there is a conversation, whose pauses that takes."""
    sparse_head: bool = False
    """Let the file's LM head predictor, where it has one, leave out rows of the head; faster, and not
    exact."""
    head_threshold: float = HEAD_THRESHOLD
    head_floor: int = HEAD_FLOOR
    temperature: float = 0.6
    top_k: int = 20
    top_p: float = 0.95
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None
    system: str | None = None
    """System prompt of new conversations; None: none."""
    inline: bool = False
    """Whether the chat goes line by line in the terminal's own scrollback, without a full screen."""
    theme: str | None = None
    """Colours of the app: dark, light, contrast, or terminal (the terminal's own); None: those that were
    chosen last in the app."""
    notes: str | None = None
    """Folder of notes to search and to ask about; None: none."""
    note_name: str = "{title}"
    """File name of a new note, from {title}, {date} and {time}; slashes make folders."""
    note_front: str = "created: {date} {time}"
    """Front matter of a new note, from the same; empty: none."""
    daily_name: str = "{date}"
    """File name of the note of a day."""
    notes_pinned: str | None = None
    """Notes or folders of notes that every conversation begins with, separated by commas."""
    save_conversations: bool = False
    """Whether conversations are also written into the note folder."""
    endpoint: str | None = None
    """Address of a server that speaks OpenAI's chat interface; None: models run here."""
    endpoint_key: str | None = None
    """What that server wants to know its users by; better in the environment than in a file."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the app that are not the usual ones, by the name of what they do."""
    personas: Mapping[str, str] = field(default_factory=dict)
    """System prompts by name; files in the folder `personas` beside the configuration file add to them."""

    def head(self) -> SparseHead | None:
        """How the LM head is computed; None: all of it."""
        return SparseHead(self.head_threshold, self.head_floor) if self.sparse_head else None

    def sampling(self) -> Sampling:
        """The settings of one answer. Raises `UsageError` where one is out of range."""
        return Sampling(self.temperature, self.top_k, self.top_p, self.min_p, self.repeat_penalty, self.seed)


def parse_size(text: str | int) -> int:
    """Bytes from "8G", "1.5GiB", "600M", "1073741824"; units are powers of 1024. Raises `UsageError`."""
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,6})?)\s*([KMGT]?)(?:I?B)?\s*", str(text).upper())
    if not match or (size := int(float(match[1]) * _UNITS[match[2]])) <= 0:
        raise UsageError(f"{text!r} is not a size", 'Write it like "8G" or "600M"')
    return size


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from every source. `flags` holds what the command line gave; None: not given.

    Raises `UsageError` for an unreadable file, an unknown key or a value of the wrong kind.
    """
    settings = Settings()
    for source, values in (
        (str(paths.config_file()), _from_file(paths.config_file())),
        ("the environment", _from_environment(environment)),
        ("the command line", {key: value for key, value in flags.items() if value is not None}),
    ):
        settings = replace(settings, **{k: checked(k, v, source) for k, v in values.items()})
    settings.sampling()
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    cure = "Mend the file, or move it away"
    try:
        if path.exists() and not path.is_file():  # to read a pipe or a device might never end
            raise UsageError(f"{path} is not a file", cure)
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        str(values)  # fails at hexadecimal numbers so long that no error could tell of them
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", cure) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read: a number is too long, or lists nest too deep", cure
        ) from error
    return {key: value for key, value in values.items() if key not in UNSET_IF_EMPTY or value != ""}


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = {f"SMALLCHAT_{one.name.upper()}": one.name for one in fields(Settings) if one.name not in TABLES}
    return {names[key]: value for key, value in environment.items() if key in names and value}


def checked(key: str, value: Any, source: str) -> Any:
    """`value` in the type of the setting `key`; `source` is who sets it. Raises `UsageError`."""
    if key not in {setting.name for setting in fields(Settings)}:
        known = ", ".join(setting.name for setting in fields(Settings))
        raise UsageError(f"{source} sets {key!r}, which smallchat does not know", f"Known: {known}")
    try:
        if key == "checkpoints" and str(value).strip() == "0":
            return 0
        if key == "mem" and str(value).strip().lower() == "none":
            return NO_LIMIT
        if key in {"mem", "checkpoints"}:
            return _size(key, value, source)
        if key in {"context", "threads", "top_k", "seed", "head_floor"}:
            return _integer(key, value, source)
        if key in {"temperature", "top_p", "min_p", "repeat_penalty", "head_threshold"}:
            return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{source} sets {key} to {value!r}, which is not a number", "Correct it") from error
    if key in TABLES:
        return _table(key, value, source)
    if key in {"save_conversations", "sparse_head", "repack", "inline"}:
        return _yes_or_no(key, value, source)
    if key == "kernels" and value not in KERNELS:
        raise UsageError(f"{source} sets kernels to {value!r}", f"Choose one of {', '.join(KERNELS)}")
    if key == "kv" and value not in KV_TYPES:
        raise UsageError(f"{source} sets kv to {value!r}", f"Choose one of {', '.join(KV_TYPES)}")
    if not isinstance(value, str):
        raise UsageError(f"{source} sets {key} to {value!r}, which is not text", "Put it in quotes")
    return value


def _table(key: str, value: Any, source: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        what = f"{source} sets {key} to something else than names with texts"
        raise UsageError(what, f'Write it as a table: [{key}], then lines like name = "text"')
    return value


def _size(key: str, value: Any, source: str) -> int:
    try:
        return parse_size(value)
    except UsageError as error:
        raise UsageError(f"{source} sets {key} to {value!r}, which is not a size", error.cure) from None


def _integer(key: str, value: Any, source: str) -> int:
    number, low = float(value), 0 if key in {"top_k", "seed"} else 1
    if not (number.is_integer() and low <= number <= MOST):
        what = f"{source} sets {key} to {value!r}"
        raise UsageError(what, f"Choose a whole number from {low} to {MOST:,}")
    return int(number)


def _yes_or_no(key: str, value: Any, source: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    found = words.get(str(value).lower())
    if found is None:
        raise UsageError(f"{source} sets {key} to {value!r}", "Write true or false")
    return found
