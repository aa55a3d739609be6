"""`smallchat paths`: where smallchat keeps its files."""

from __future__ import annotations

from smallchat import paths
from smallchat.commands.printing import print_json


def run(as_json: bool) -> None:
    """Print every place, whether it exists yet or not."""
    from smallchat.hub.installed import hub_cache

    places = {
        "conversations": paths.conversations(),
        "config": paths.config_file(),
        "models": paths.models(),
        "fetched": hub_cache(),
        "cache": paths.cache(),
        "checkpoints": paths.checkpoints(),
        "notes": paths.cache() / "notes",
        "log": paths.engine_log(),
        "app_log": paths.app_log(),
        "errors_log": paths.errors_log(),
        "theme": paths.chosen_theme(),
        "builtin": paths.builtin_model(),
    }
    if as_json:
        print_json({name: str(path) for name, path in places.items()})
        return
    for name, path in places.items():
        print(f"{name:<13}  {path}")
