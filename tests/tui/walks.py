"""Every screen of the app and the way to it, as a table of walks for `test_pictures`.

A walk is what a user does: it goes on through the pilot with the scripted engine, and yields the name of each
screen that is worth a picture. What stands there is Chinese, emoji, right to left, very long, and hostile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from textual import events

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.hub.known import parse
from smallchat.tui.attachments import mention
from smallchat.tui.models import ListedModel
from tests.support.scripted_engine import budgeted, telemetry
from tests.tui.running import Running, running

ARABIC, HEBREW = "متى نقلم شجرة التفاح؟", "שלום עולם"
FAMILY = "👨‍👩‍👧 🍎"
HOSTILE = "\x1b[31mred\x1b[0m\x07 \x1b]0;owned\x07 \x9b2J\x00\x08\x7f \u202egnp.exe\u2066 [b]bold[/b]"
"""Sequences that a terminal would obey, a name that reads backwards, and markup of the screen's own."""
PATH = "/very/long/" + "path-without-any-space/" * 8 + "苹果树.md"
LONG = "and it goes on and on, without an end in sight, " * 6 + "until here."

QUESTION = f"什么时候修剪苹果树? {FAMILY} {ARABIC}\n{HOSTILE}"
ANSWER = f"""# 修剪 · Pruning {FAMILY}

1. **二月**,在最后一次霜冻之后。每年最多剪掉四分之一,*不要更多*。
2. Shorten the leaders by a third, {LONG}
3. {ARABIC} {HEBREW}

```python
def months(tree: str) -> list[str]:  # {LONG}
    return {{"苹果树": ["二月"], "{HEBREW}": ["🍎"]}}[tree]
```

| 树 | شهر | why |
|---|---|---|
| 苹果树 🍎 | شباط | 在最后一次霜冻之后 |
| plum | July | {HOSTILE} |
"""
AGAIN = "And the pear tree? 那梨树呢?"
SHORT = f"""The `pear tree` can wait until **March**: {PATH}

> {HOSTILE}

- 梨树要等到三月,{FAMILY} {HEBREW}
- {LONG}

```sh
prune --tree 梨 --in March
```

```
{ARABIC} {LONG}
```"""

TITLES = (
    "Garden plan",
    f"A letter to the tax office, {LONG}",
    "家族の予定 👨‍👩‍👧 明日はりんごの木を剪定します、そして庭の手入れをします",
    ARABIC,
    HOSTILE,
)
READ = HOSTILE.replace("\x00", "")
"""A note with a null character is taken for something else than text, and not searched."""
NOTES = {
    "Garden.md": f"# Garden plan\n\n## Trees 🍎 {READ}\n\nPlums are pruned in July. {READ}\n\n"
    f"An apple tree waits. {LONG}\n",
    "花园/苹果树 🍎.md": f"# 苹果树 🍎\n\nThe apple tree: 二月修剪。\n\n{PATH}\n",
    f"{ARABIC}.md": f"# {ARABIC}\n\nThe apple tree, {HEBREW}.\n",
    "esc\x1b[31m\u202egnp.exe.md": f"Another apple tree. {READ}\n",
}
FILES = ("家族の予定.txt", f"{ARABIC[:-1]}.md", f"{'very long ' * 8}.txt", "tree.png", "esc\x1b[31m.md")
MODEL = {"name": f"小思考 4B {HEBREW} {HOSTILE}", "quantisation": "Q4_0"}
MODELS = [
    ListedModel("smallchat demo · Q8_0", "builtin", Path("/models/demo"), 4_700_000, "fits", "built in"),
    ListedModel(f"小思考 4B, {LONG}", "4b", Path("/models/small.gguf"), 2_470_000_000, "fits", "here"),
    ListedModel(f"\u2fdf {ARABIC}", "rtl", Path("/models/rtl"), 998_000_000, "too large here", "here"),
    ListedModel(f"esc{HOSTILE}", "broken", Path("/models/esc"), 12, "ends early", "hub cache", False),
    ListedModel("SmallThinker 21B", "21b", None, 12_200_000_000, "experts from disk", "to fetch"),
]

Walk = Callable[[Running], AsyncIterator[str]]


@dataclass(frozen=True)
class Start:
    """How the app is started for a walk."""

    walk: Walk
    fetches: bool = False
    """With `--model 4b`, which is not on this machine."""
    damaged: bool = False
    """The conversations cannot be read."""
    notes: bool = False
    """With a note folder."""


def save(store_path: Path) -> None:
    """Conversations of before: one with two answers is pinned, and several say something of an apple tree."""
    store = Store(store_path)
    for title in TITLES:
        session = Session(store)
        session.ask(f"{title}: the apple tree")
        session.reply(f"Prune the **apple tree** in February, {FAMILY} 二月. {HOSTILE} {LONG}")
        session.rename(title)
        if title == TITLES[0]:
            session.reply("Or in March: the apple tree does not mind.")
            assert session.id
            store.pin(session.id, True)
    store.close()


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """These files in this folder."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def prepare(folder: Path, start: Start) -> None:
    """What is in `folder`, from which the app is started, and what was said before."""
    write(folder, dict.fromkeys(FILES, "Prune the apple tree. 修剪苹果树。\n"))
    if start.notes:
        write(folder / "notes", NOTES)
    if start.damaged:
        write(paths.data(), {paths.conversations().name: f"no database {HOSTILE}"})
    else:
        save(paths.conversations())


@asynccontextmanager
async def started(start: Start, size: tuple[int, int], theme: str = "dark") -> AsyncIterator[Running]:
    """The app as this walk begins, in the present folder."""
    reference = parse("4b")
    assert reference is not None
    wanted = ("4b", reference) if start.fetches else None
    notes = {"notes": "notes"} if start.notes else {}
    async with running(size=size, ready=False, sidebar=True, wanted=wanted, theme=theme, **notes) as run:
        yield run


# Ways that several walks begin with


async def load(run: Running) -> None:
    await run.until(lambda: run.engine.starts)
    run.engine.ready(**MODEL)
    await run.until(lambda: run.chat.dialogue.ready)


async def talk(run: Running) -> None:
    """One question and its answer."""
    await load(run)
    await run.answer(QUESTION, SHORT)


async def mark(run: Running) -> None:
    """The keyboard belongs to the messages, of which the last is marked."""
    await run.until(lambda: run.transcript.can_focus)
    await run.pilot.press("escape")
    await run.until(lambda: run.transcript.focused_turn)


# The walks


async def start(run: Running) -> AsyncIterator[str]:
    await run.until(lambda: run.engine.starts)
    await run.type(QUESTION)
    await run.pilot.press("enter")
    await run.shows("waiting for the model")
    yield "loading"
    await run.pilot.press("escape", "ctrl+n")
    run.engine.ready(**MODEL, demo=True)
    await run.shows("Demonstration model")
    yield "welcome"
    await run.pilot.press("f1")
    await run.shows("Esc closes")
    yield "help"
    await run.pilot.press("end")
    await run.shows("What if")
    yield "help-end"


async def chat(run: Running) -> AsyncIterator[str]:
    await load(run)
    await run.ask(QUESTION)
    for start in range(0, len(ANSWER), 7):
        run.engine.say(ANSWER[start : start + 7], seconds=0.03 + 0.02 * (start % 5) / 5)
        if start % 119 == 70:
            run.engine.say("", seconds=0.075, waited=0.04)
    run.engine.finish()
    run.engine.emit(budgeted(telemetry(step=3)))
    await run.until(lambda: not run.chat.dialogue.busy and run.chat.dialogue.telemetry)
    yield "chat"
    await run.pilot.press("f3")
    yield "chat-panel"  # above the talk where there is no room beside it; else it is hidden by that key
    if not run.chat.panel.shown:
        await run.pilot.press("f3")
    await run.pilot.press("f6", "f6", "right", "right", "down")
    await run.shows("layer 1")
    yield "panel"


async def answers(run: Running) -> AsyncIterator[str]:
    await load(run)
    await run.answer(QUESTION, f"**二月**, {ARABIC} {PATH}")
    await run.ask(AGAIN)
    run.engine.read_prompt(812, 2048)
    await run.shows("reading 812 of")
    yield "reading"
    run.engine.say("梨树要等到三月, ", HOSTILE, f" {ARABIC}")
    await run.shows("3 tokens")
    await run.type("谢谢 " + LONG)
    await run.pilot.press("enter")
    await run.until(lambda: "Waiting" in run.hint)
    yield "answering"
    run.prompt.text = ""
    run.engine.fail(f"The context {HOSTILE} is full", f"Take a larger one, {LONG}", code=1)
    await run.until(lambda: not run.chat.dialogue.busy)
    yield "failed"
    await run.ask(AGAIN)
    run.engine.too_long(2)
    await run.shows("Leave them out")
    yield "leaving-out"


async def messages(run: Running) -> AsyncIterator[str]:
    await talk(run)
    await run.pilot.press("ctrl+r")
    await run.until(lambda: len(run.engine.chats) == 2)
    run.engine.answer(SHORT)
    await run.until(lambda: not run.chat.dialogue.busy)
    await mark(run)
    await run.shows("‹ 2/2 ›")
    yield "marked"
    await run.pilot.press("c")
    await run.shows("Which code block?")
    yield "code-blocks"
    await run.pilot.press("escape", "v")
    await run.shows("Y copies")
    await run.pilot.press("v", "down", "down")
    yield "alone"
    await run.pilot.press("escape", "escape", "t")
    await run.shows("Step back")
    await run.pilot.press("home", *["right"] * 7)
    await run.shows("token 8 of")
    await run.until(lambda: len(run.engine.looks[-1]) == 7)
    yield "stepping"
    await run.pilot.press("escape", "g")
    await run.until(lambda: run.transcript.focused_turn is run.turns[0])
    await run.pilot.press("e")
    await run.until(lambda: "In other words" in str(run.prompt.border_title))
    yield "editing"


async def sidebar(run: Running) -> AsyncIterator[str]:
    await load(run)
    await run.pilot.press("ctrl+o", "enter")
    await run.until(lambda: run.turns)
    await run.pilot.press("ctrl+o", "down", "delete")
    await run.shows("brings it back")
    yield "conversations"
    await run.pilot.press("r")
    await run.shows("Enter gives this name")
    yield "naming"
    await run.pilot.press("escape", "slash", *"apple tr")
    await run.until(lambda: run.chat.sidebar._found)
    yield "searching"
    await run.pilot.press("enter")
    await run.until(lambda: run.transcript.focused_turn)
    yield "found"


async def prompt(run: Running) -> AsyncIterator[str]:
    await load(run)
    await run.pilot.press(*"/s")
    await run.shows("› /system")
    await run.pilot.press("down")
    yield "commands"
    run.prompt.text = ""
    await run.pilot.press("@")
    await run.shows("› @")
    yield "files"
    run.prompt.text = ""
    for text in ("line\n" * 50, f"{HOSTILE} {LONG}" * 20):
        run.prompt.post_message(events.Paste(text))
    await run.type(f"What do {mention(FILES[0])} and {mention(FILES[1])} say? ")
    await run.until(lambda: len(run.chat.attached) == 4 and all(one.exact for one in run.chat.attached))
    await run.until(lambda: "of 4,096 tokens" in run.hint)
    yield "attached"
    await run.pilot.press("f7")
    await run.shows("Sent along with the message")
    yield "attachments"
    await run.pilot.press("escape", "enter")
    await run.until(lambda: run.engine.chats)
    run.engine.answer("I see. 看到了。")
    await run.until(lambda: not run.chat.dialogue.busy)
    yield "sent"
    await run.type(f"/system {ARABIC} {HOSTILE}")
    await run.pilot.press("enter")
    await run.type("/nix")
    await run.pilot.press("enter")
    await run.shows("There is no command /nix")
    yield "told"


async def models(run: Running) -> AsyncIterator[str]:
    await load(run)
    await run.pilot.press("f5")
    await run.shows("SmallThinker 21B")
    yield "models"
    await run.pilot.press("end", "enter")
    await run.shows("Ask again")
    yield "asking-the-hub"


async def fetch(run: Running) -> AsyncIterator[str]:
    await run.shows("3.0M", "Fetch it")
    yield "fetch"
    await run.pilot.press("enter")
    await run.shows("Fetching: ", "of 3.0M")
    yield "fetching"


async def failures(run: Running) -> AsyncIterator[str]:
    await run.shows("Go on without saving")
    yield "unreadable"
    await run.pilot.press("enter")
    await run.until(lambda: run.engine.starts)
    run.engine.fail(f"/models/{HOSTILE}.gguf ends in the middle of a tensor", f"Fetch it again. {LONG}")
    await run.shows("Load again")
    yield "no-model"


async def notes(run: Running) -> AsyncIterator[str]:
    await load(run)
    await run.until(lambda: run.chat.notebook and run.chat.notebook.watch and run.chat.notebook.watch.report)
    await run.pilot.press("f2", *"aple tr")
    await run.shows("apple tree waits")
    await run.pilot.press("down")
    yield "notes"
    await run.pilot.press("escape")
    await run.answer("/notes When are plums pruned?", f"In July [[Garden plan]]. {FAMILY}")
    await run.shows("Sources")
    yield "sourced"
    await run.pilot.press("f4")
    await run.shows("Enter opens in")
    yield "sources"
    await run.pilot.press("escape")
    await run.type("/append Garden plan")
    await run.pilot.press("enter")
    await run.shows("Write it")
    yield "change"


WALKS = {
    "start": Start(start),
    "chat": Start(chat),
    "answers": Start(answers),
    "messages": Start(messages),
    "sidebar": Start(sidebar),
    "prompt": Start(prompt),
    "models": Start(models),
    "fetch": Start(fetch, fetches=True),
    "failures": Start(failures, damaged=True),
    "notes": Start(notes, notes=True),
}
