"""`smallchat bench --screen`: measure the app in a pseudo-terminal, and print."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from smallchat.commands.printing import print_json
from smallchat.settings import Settings, UsageError
from smallchat.tui.text import speed


def run(settings: Settings, repeat: int, synthetic: str | None, as_json: bool) -> None:
    """Measure the app on the model of `settings`, or the `synthetic` one of that name; answers so many times
    as `repeat` says.

    Raises `SmallchatError`.
    """
    if sys.platform == "win32":
        raise UsageError("--screen needs a pseudo-terminal, which Windows does not have", "Leave it out")
    from smallchat.commands.screen.measure import measure

    if synthetic is not None:
        from smallchat.commands.synthetic import path_of

        settings = replace(settings, model=str(path_of(synthetic)))

    facts = measure(settings, repeat)
    if as_json:
        print_json(facts)
        return
    for name, value in _table(facts):
        print(f"{name:<14} {value}")


def _table(facts: dict[str, Any]) -> list[tuple[str, str]]:
    def keys(when: str) -> str:
        return f"{facts[f'key_{when}_s'] * 1e3:.0f} ms, worst {facts[f'key_{when}_worst_s'] * 1e3:.0f} ms"

    rows = [
        ("first frame", f"{facts['first_frame_s']:.2f} s"),
        ("idle", f"{facts['idle_cpu_share']:.1%} of a core"),
        ("a key", f"shown after {keys('idle')}"),
        ("opening", f"{facts['open_s']:.2f} s for {facts['open_messages']:,} messages"),
    ]
    if facts["app_tokens_per_s"] is None:
        return [*rows, ("answering", "too short to be measured; choose a larger --model")]
    return [
        *rows,
        ("… reading", f"a key shown after {keys('reading')}, while a prompt is read"),
        ("… answering", f"a key shown after {keys('writing')}"),
        (
            "answering",
            f"{facts['stream_cpu_share']:.0%} of a core at {speed(facts['app_tokens_per_s'])} tok/s, "
            f"{facts['messages']} messages",
        ),
        (
            "decode",
            f"{facts['decode_share']:.2f} of {speed(facts['bench_tokens_per_s'])} tok/s without the app "
            f"({', '.join(f'{share:.2f}' for share in facts['decode_shares'])})",
        ),
    ]
