"""Where smallchat keeps its files: the one place that knows.

Each folder is the operating system's own (`platformdirs`); `SMALLCHAT_HOME` puts all of them below one
folder instead, which is what the tests and portable installs use. A home folder in it that nobody has is a
`PlaceError`, whichever place is asked for.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from smallchat.errors import PlaceError

APP = "smallchat"


def named_by(variable: str) -> Path | None:
    """The folder that an environment variable names; None: it is not set, or empty. Raises `PlaceError`."""
    name = os.environ.get(variable)
    try:
        return Path(name).expanduser() if name else None
    except RuntimeError as error:
        what = f"The environment variable {variable} is {name}, which is in no home folder that is known"
        raise PlaceError(what, "Set it to the whole path of a folder") from error


def _folder(kind: str, default: str) -> Path:
    home = named_by("SMALLCHAT_HOME")
    return home / kind if home else Path(default)


def data() -> Path:
    """Conversations: what must not be lost."""
    return _folder("data", platformdirs.user_data_dir(APP, appauthor=False))


def config() -> Path:
    """The configuration file's folder."""
    return _folder("config", platformdirs.user_config_dir(APP, appauthor=False))


def state() -> Path:
    """Logs and other things that may be thrown away."""
    return _folder("state", platformdirs.user_state_dir(APP, appauthor=False))


def cache() -> Path:
    """What takes room and can be made again."""
    return _folder("cache", platformdirs.user_cache_dir(APP, appauthor=False))


def notes_index(folder: Path) -> Path:
    """The index of one note folder (`folder` is resolved): each folder has its own."""
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:20]
    return cache() / "notes" / f"{name}.sqlite3"


def checkpoints() -> Path:
    """What the decoder has read, as KV checkpoints."""
    return cache() / "checkpoints"


def heat_profile(model: Path) -> Path:
    """Which experts of this file were used lately; a file that changed has none."""
    found = model.stat()
    told = f"{model.resolve()} {found.st_size} {found.st_mtime_ns}"
    return cache() / "heat" / f"{hashlib.sha256(os.fsencode(told)).hexdigest()[:20]}.npy"


def models() -> Path:
    """Where `--model NAME` looks for `NAME.gguf`."""
    return data() / "models"


def conversations() -> Path:
    """The SQLite file of all conversations."""
    return data() / "conversations.sqlite3"


def config_file() -> Path:
    """`config.toml`, read at every start; it need not exist."""
    return config() / "config.toml"


def chosen_theme() -> Path:
    """Name of the theme that was chosen last in the app; it need not exist."""
    return state() / "theme"


def engine_log() -> Path:
    """What the decoder's process writes to its standard error."""
    return state() / "engine.log"


def app_log() -> Path:
    """Faults of the app in full; the app went on."""
    return state() / "app.log"


def errors_log() -> Path:
    """Faults that ended smallchat, in full."""
    return state() / "errors.log"


def assets() -> Path:
    """What the wheel carries; a checkout keeps it beside the package."""
    inside = Path(__file__).parent / "assets"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "assets"


def builtin_model() -> Path:
    """The small SmallThinker that smallchat ships."""
    return assets() / "smallchat-demo.gguf"
