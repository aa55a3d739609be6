"""What is measured of the app, each in a terminal and a folder of its own that is thrown away."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from smallchat.chat.records import Turn
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.commands import bench
from smallchat.commands.screen.terminal import Terminal
from smallchat.settings import BUILTIN, Settings

STARTS = 5
IDLE_SECONDS = 8.0
PAUSE_SECONDS = 4.0
"""Before something is asked: experts are laid out anew meanwhile, as `bench.measure` lets them be too."""
STREAM_SECONDS = 8.0
KEYS = 24
LONG, LONGEST = 300, 1000
"""Messages of the conversation in which is decoded, and of the one that is opened."""
LAST = "This is where the conversation ended."
TYPED = "zqxj"
"""The keys begin with this, which no answer contains."""

_READING = re.compile(rb"reading \d[\d,]* of")
_STREAMING = re.compile(rb"(?<!of )(?<![\d,])(\d[\d,]*) tokens? \xc2\xb7 Esc stops")
_STOPPED = re.compile(rb"seed \d+")


@dataclass(frozen=True, slots=True)
class Echo:
    """Seconds from a key to its letter on the screen."""

    median: float
    worst: float


class Place:
    """A folder with saved conversations, and the app on it."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.home = home
        self._settings = settings

    def open(self) -> Terminal:
        """The app, on the model that is measured."""
        told = {
            name: getattr(self._settings, name)
            for name in ("model", "mem", "context", "threads", "kernels", "kv")
        }
        flags = [
            part for name, value in told.items() if value is not None for part in (f"--{name}", str(value))
        ]
        return Terminal(flags, {"SMALLCHAT_HOME": str(self.home)})

    def store(self) -> Store:
        """The conversations; none is open elsewhere."""
        return Store(self.home / "data" / "conversations.sqlite3")

    def talk(self, messages: int, draft: str = "") -> None:
        """Save a conversation of so many messages; with `draft`, the app begins in it."""
        store = self.store()
        session = Session(store)
        for number in range(messages // 2):
            session.ask(f"{number}?")
            session.reply(LAST if number == messages // 2 - 1 else f"**{number}**")
        if draft:
            store.save_draft(session.id, draft)
        store.close()

    def last(self) -> Turn:
        """The newest message of the conversation that was open last."""
        store = self.store()
        turn = store.turns(store.conversations(1)[0].id)[-1]
        store.close()
        return turn


def measure(settings: Settings, repeat: int = 1) -> dict[str, Any]:
    """All figures by name: seconds, shares of one processor core, tokens a second.

    So many times as `repeat` says, an answer in the app and then decoding without it: medians, and of keys
    the slowest of all. Raises `SmallchatError`.
    """
    facts: dict[str, Any] = {"app_tokens_per_s": None}
    for what, phase in (("starting", start), ("opening a conversation", opening)):
        facts |= _alone(settings, what, phase)
    if settings.model != BUILTIN:  # its answers are over before anything can be measured
        facts |= together([_round(settings, number) for number in range(repeat)])
    bench.narrate("")
    return facts


def _alone(settings: Settings, what: str, phase: Callable[[Place], dict[str, Any]]) -> dict[str, Any]:
    bench.narrate(what)
    with tempfile.TemporaryDirectory() as home:
        return phase(Place(Path(home), settings))


def _round(settings: Settings, number: int) -> dict[str, Any]:
    """An answer in the app, and the same work without it."""
    facts = _alone(settings, f"talking ({number + 1})", talking)
    if facts["app_tokens_per_s"] is not None:
        bench.narrate(f"decoding without the app ({number + 1})")
        work = bench.Work(1, facts["gen_tokens"], facts["prompt_tokens"] - 1, 1)
        alone = bench.measure(replace(settings, context=facts["prompt_tokens"] + facts["gen_tokens"]), work)
        facts["bench_tokens_per_s"] = alone["decode_tokens_per_s"]
        facts["decode_share"] = facts["app_tokens_per_s"] / alone["decode_tokens_per_s"]
    return facts


def together(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The medians of all rounds that measured something, the worst of what is a worst, and all shares."""
    measured = [facts for facts in rounds if facts["app_tokens_per_s"] is not None]
    if not measured:
        return dict(rounds[0])
    over = {name: max if name.endswith("_worst_s") else median for name in measured[0]}
    facts = {name: over[name](one[name] for one in measured) for name in measured[0]}
    return facts | {"decode_shares": [one["decode_share"] for one in measured]}


def start(place: Place) -> dict[str, Any]:
    """From the command to the first frame, the prompt in it, and what the app costs while nothing happens."""
    frames = []
    for _ in range(STARTS + 1):
        with place.open() as app:
            frames.append(app.wait("Write a message") - app.started)
    with place.open() as app:
        app.wait("Enter sends")
        time.sleep(3.0)  # the model is loaded, and its loading drawn
        before = app.cpu
        time.sleep(IDLE_SECONDS)
        idle = (app.cpu - before) / IDLE_SECONDS
        echo = _echo(app)
    return {
        "first_frame_s": median(frames[1:]),  # the first one finds nothing in the page cache
        "idle_cpu_share": idle,
        "key_idle_s": echo.median,
        "key_idle_worst_s": echo.worst,
    }


def opening(place: Place) -> dict[str, Any]:
    """A saved conversation, from the key that opens it to its last message."""
    place.talk(LONGEST)
    with place.open() as app:
        app.wait("Enter sends")
        time.sleep(2.0)
        app.type("\x0f")  # Ctrl+O
        app.wait("0?")
        time.sleep(0.5)
        mark, pressed = app.mark(), time.perf_counter()
        app.type("\r")
        opened = app.wait(LAST, mark) - pressed
    return {"open_messages": LONGEST, "open_s": opened}


def talking(place: Place) -> dict[str, Any]:
    """An answer in a long conversation with the panel open: its speed, and what the screen takes for it."""
    place.talk(LONG, draft=" ")
    facts: dict[str, Any] = {"messages": LONG}
    with place.open() as app:
        app.wait("Enter sends")
        app.wait(LAST)
        time.sleep(PAUSE_SECONDS)
        mark = app.mark()
        app.type("Tell me everything.\r")
        app.wait(_READING, mark)
        reading = _echo(app)
        app.wait(_STREAMING, mark)
        before, at, mark = app.cpu, time.perf_counter(), app.mark()
        time.sleep(STREAM_SECONDS)
        cpu, streamed = app.cpu - before, time.perf_counter() - at
        # Before anybody types: every key has the prompt counted.
        counts = app.drawn(_STREAMING, mark)
        writing = _echo(app)
        mark = app.mark()
        app.type("\x1b")
        app.wait(_STOPPED, mark)
    turn = place.last()
    return facts | {
        "key_reading_s": reading.median,
        "key_reading_worst_s": reading.worst,
        "key_writing_s": writing.median,
        "key_writing_worst_s": writing.worst,
        "stream_cpu_share": cpu / streamed,
        "app_tokens_per_s": _speed(counts),
        "prompt_tokens": turn.prompt_tokens,
        "gen_tokens": turn.tokens,
    }


def _speed(counts: list[tuple[bytes, float]]) -> float | None:
    """Tokens a second between the first and the last of what the screen said; None: it said too little."""
    if len(counts) < 2:
        return None
    (first, began), (last, ended) = counts[0], counts[-1]
    tokens = int(last.replace(b",", b"")) - int(first.replace(b",", b""))
    return tokens / (ended - began)


def _echo(app: Terminal) -> Echo:
    """Type at uneven times, so that the screen's clock is met at every point; what was typed is deleted."""
    took, typed = [], ""
    for number in range(KEYS):
        letter = TYPED[number] if number < len(TYPED) else chr(ord("a") + number % 26)
        typed += letter
        mark, pressed = app.mark(), time.perf_counter()
        app.type(letter)
        took.append(app.wait(typed, mark) - pressed)
        time.sleep(0.05 + 0.12 * (number * 0.618 % 1))
    app.type("\x15")  # Ctrl+U: delete to the start of the line
    return Echo(median(took), max(took))
