"""What a user may want, read from the text files: questions, answers, and how to tell a right answer."""

from __future__ import annotations

from .grammar import Intent
from .source import lines

# "~ term" in a file: the usual ways of asking what a word means, and two kept for the evaluation.
TERM_ASKS = (
    "what is {}?",
    "what's {}?",
    "{{explain|describe}} {}",
    "what does {} mean?",
    "{{tell me|can you tell me}} what {} is",
    "I do not understand {}",
    "what do you mean by {}?",
    "{{in short, |}}what is {}?",
    "define {}",
    "what exactly is {}?",
)
TERM_HELD = ("could you explain {} to me?", "please say in short what {} is")
# "^ to do something": the usual ways of asking how.
DEED_ASKS = (
    "how do I {}?",
    "how can I {}?",
    "which key do I press to {}?",
    "what do I press to {}?",
    "is there a {{key|way}} to {}?",
    "what is the key to {}?",
    "tell me how to {}",
    "how to {}?",
    "I want to {}",
    "I would like to {}",
    "how does one {}?",
    "can I {}?",
    "what must I do to {}?",
    "show me how to {}",
)
# "@ Ctrl+R": the usual ways of asking what a key, a command or a flag does.
THING_ASKS = (
    "what does {} do?",
    "what is {} for?",
    "what's {}?",
    "{{explain|describe}} {}",
    "what happens with {}?",
    "when do I use {}?",
    "{}?",
    "tell me about {}",
    "how do I use {}?",
    "what is {}?",
    "what is the {{use|purpose|meaning}} of {}?",
)
THING_HELD = ("what would {} do for me?",)


def read(name: str) -> tuple[Intent, ...]:
    """The intents of one file, in its order."""
    found: list[Intent] = []
    for part in "\n".join(lines(name)).split("\n# "):
        title, *rest = part.removeprefix("# ").splitlines()
        asks: list[str] = []
        held: list[str] = []
        answers: list[str] = []
        keys: tuple[tuple[str, ...], ...] = ()
        for line in rest:
            mark, _, text = line.partition(" ")
            if mark == "?":
                asks.append(text)
            elif mark == "??":
                held.append(text)
            elif mark == "!":
                answers.append(text)
            elif mark == "~":
                asks += [form.format(text) for form in TERM_ASKS]
                held += [form.format(text) for form in TERM_HELD]
            elif mark == "^":
                asks += [form.format(text) for form in DEED_ASKS]
            elif mark == "@":
                asks += [form.format(text) for form in THING_ASKS]
                held += [form.format(text) for form in THING_HELD]
            elif mark == "=":
                keys = tuple(tuple(group.split(" / ")) for group in text.split(" ; "))
            else:
                raise ValueError(f"{name}: {line!r} begins with no mark")
        found.append(Intent(title, tuple(asks), tuple(answers), tuple(held), keys))
    return tuple(found)


APP = read("app.txt")
KEYS = read("keys.txt")
MODELS = read("models.txt")
COMMANDS = read("commands.txt")
CONCEPTS = read("concepts.txt")
SMALLTALK = read("smalltalk.txt")
(DECLINE,) = read("decline.txt")
HOWTO: tuple[Intent, ...] = APP + KEYS + MODELS + COMMANDS + CONCEPTS
ALL: tuple[Intent, ...] = HOWTO + SMALLTALK
NAMED = {intent.name: intent for intent in ALL}
