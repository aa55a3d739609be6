"""Questions about passages of notes, in every form in which smallchat gives them to a model.

The form of `/notes` is not written here: it is the one that `smallchat.notes.question` makes.
"""

from __future__ import annotations

import random

from smallchat.notes.question import given
from smallchat.notes.search import Hit

from .fact_parts import HEADINGS, TITLES, Asked, Fact, filled, filler
from .facts import fact
from .foreign import foreign
from .grammar import Message, capital, casual, expand
from .words import LISTS

UNKNOWN = ("The notes do not say.", "The notes do not say.", "The notes do not say that.")
UNKNOWN_ONE = ("The note does not say.", "The note does not say.", "The note does not say that.")
FOLLOW = ("", "", "", "and ", "and ", "ok, ", "thanks, ")
SUMMARISE = (
    "Summarise this note in one or two sentences.",
    "Summarise this note.",
    "{summarise|summarize|sum up} {this note|the note|this text|it}{| in one line| briefly|, please}",
    "{what is|tell me} the main point{|s} of {this|the} note?",
    "give me a {short summary|summary} of {this|the} {note|text}",
)


def title(rng: random.Random, held: bool = False) -> str:
    """The name of a note."""
    named = filled(rng, rng.choice(TITLES), held)
    roll = rng.random()
    if roll < 0.15:
        return f"{named} {filled(rng, rng.choice(TITLES), held).lower()}"
    if roll < 0.25:
        return f"{named} {rng.choice(LISTS['nouns'])}"
    if roll < 0.35:
        return f"{named} {rng.randrange(1, 1000)}"
    return (
        f"20{rng.randrange(15, 40)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        if roll < 0.4
        else named
    )


def body(rng: random.Random, facts: list[Fact], fillers: int) -> str:
    """Lines of a passage: facts and sentences that say nothing, as prose, lines or bullets."""
    said = [capital(one.line) for one in facts]
    for _ in range(fillers):
        said.insert(rng.randrange(len(said) + 1), filler(rng))
    form = rng.choice(("prose", "lines", "lines", "bullets", "apart"))
    if form == "prose":
        return " ".join(line if line.endswith((".", "!")) else f"{line}." for line in said)
    if form == "bullets":
        mark = rng.choice(("- ", "- ", "* ", "- [ ] ", "1. "))
        return "\n".join(mark + line for line in said)
    return ("\n\n" if form == "apart" else "\n").join(said)


def passage(rng: random.Random, facts: list[Fact], named: str) -> str:
    """The text of a passage of the note `named`, often below a heading."""
    text = body(rng, facts, rng.choice((0, 0, 1, 1, 2, 3)))
    roll = rng.random()
    if roll < 0.35:
        return f"## {rng.choice(HEADINGS)}\n\n{text}"
    if roll < 0.5:
        return f"# {named}\n\n{text}"
    if roll < 0.65:
        return f"# {named}\n\n## {rng.choice(HEADINGS)}\n\n{text}"
    if roll < 0.7:
        return f"# {named}\n\n{filler(rng)}\n\n## {rng.choice(HEADINGS)}\n\n{text}"
    return text


class Notebook:
    """One fact that may be asked about, neighbours of it, and others, spread over passages with titles."""

    def __init__(
        self, rng: random.Random, passages: int, known: bool, held: bool = False, most: int = 3
    ) -> None:
        self.rng, self.known = rng, known
        self.fact = fact(rng, held)
        self.asked = self.fact.ask(rng)
        near = [self.fact.near(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)) + (not known))]
        others: list[Fact] = []
        for _ in range(rng.randrange(0, most * passages)):
            other = fact(rng, held)
            if not any(word in other.line for word in self.asked.wanted):
                others.append(other)
        mine = rng.randrange(passages)
        groups: list[list[Fact]] = [[] for _ in range(passages)]
        for one in [*near, *others]:
            groups[rng.randrange(passages)].append(one)
        if known:
            groups[mine].append(self.fact)
        self.titles: list[str] = []
        while len(self.titles) < passages:
            name = title(rng, held)
            if name not in self.titles:
                self.titles.append(name)
        self.texts = []
        for name, group in zip(self.titles, groups, strict=True):
            rng.shuffle(group)
            self.texts.append(passage(rng, group or [fact(rng, held)], name))
        self.mine = mine
        self.rest = [(i, one) for i, group in enumerate(groups) for one in group if one is not self.fact]

    def answer(self, asked: Asked | None, place: int, cite: bool) -> str:
        """An answer, with its source where one is wanted; None: there is none."""
        if asked is None:
            return self.rng.choice(UNKNOWN if cite or len(self.texts) > 1 else UNKNOWN_ONE)
        text = capital(asked.answer)
        return f"{text.removesuffix('.')} [[{self.titles[place]}]]." if cite else text

    def first(self, cite: bool) -> str:
        """The answer to the first question."""
        return self.answer(self.asked if self.known else None, self.mine, cite)

    def more(self, cite: bool) -> tuple[str, str]:
        """Another question about these passages, and its answer."""
        rng = self.rng
        if not self.known or not self.rest or rng.random() < 0.2:
            one = fact(rng)
            return one.ask(rng).question, self.answer(None, 0, cite)
        place, one = rng.choice(self.rest)
        asked = one.ask(rng)
        return asked.question, self.answer(asked, place, cite)


def as_given(rng: random.Random, book: Notebook) -> str:
    """The passages as the chat gives them to a model before the question."""
    hits = []
    for name, text in zip(book.titles, book.texts, strict=True):
        first = rng.randrange(1, 120)
        hits.append(Hit(f"{name}.md", name, "", first, first + text.count("\n"), text, 1.0, 1.0, "", ()))
    return given(hits)


def _turn(rng: random.Random, text: str) -> Message:
    return Message("user", casual(rng, text))


def asked_notes(rng: random.Random) -> list[Message]:
    """`/notes question`: passages, rules, a question; an answer that names its source. Perhaps one more."""
    messages: list[Message] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        book = Notebook(rng, rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6)), rng.random() < 0.72)
        asked, answer = casual(rng, book.asked.question), book.first(cite=True)
        if rng.random() < 0.02:
            asked, answer = (m.text for m in foreign(rng))
        messages += [
            Message("user", f"{as_given(rng, book)}\n\n{asked}"),
            Message("assistant", answer),
        ]
    if rng.random() < 0.25:
        question, answer = book.more(cite=True)
        messages += [_turn(rng, rng.choice(FOLLOW) + question), Message("assistant", answer)]
    return messages


def held_notes(rng: random.Random, known: bool) -> tuple[str, tuple[str, ...], str]:
    """For the evaluation: a prompt of `/notes` with values kept from training, what is wanted, its source."""
    book = Notebook(rng, rng.choice((1, 2, 3, 4)), known, held=True)
    return (
        f"{as_given(rng, book)}\n\n{capital(book.asked.question)}",
        book.asked.wanted,
        book.titles[book.mine],
    )


WRAPPINGS = (
    "<note>\n\n<Ask>",
    "<note>\n\n<Ask>",
    "Here is a note:\n\n<note>\n\n<Ask>",
    "File <file>:\n\n<note>\n\n<Ask>",
    "File <file>:\n\n<note>\n\n<ask>",
    "<Ask>\n\n<note>",
    "Note:\n<note>\n\nQuestion: <Ask>",
    "<note>\n<ask>",
    "Text:\n<note>\n\n<Ask>",
    '"""\n<note>\n"""\n<Ask>',
    "Read this: <note>\n\n<ask>",
    "<note>\n\nAnswer from the text above: <ask>",
    "From my notes:\n\n<note>\n\n<Ask>",
)


def wrap(rng: random.Random, note: str, asked: str, named: str) -> str:
    """A text and a question in one message, as people and `@` put them together."""
    ending = rng.choice((".md", ".md", ".txt", ""))
    file = f"{named.lower().replace(' ', rng.choice(('-', '_', ' ')))}{ending}"
    form = rng.choice(WRAPPINGS).replace("<file>", file)
    return form.replace("<Ask>", capital(asked)).replace("<ask>", asked).replace("<note>", note)


def pasted(rng: random.Random) -> list[Message]:
    """A text pasted, attached or piped, and questions about it."""
    book = Notebook(rng, 1, rng.random() < 0.75, most=6)
    asked = casual(rng, book.asked.question)
    messages = [
        Message("user", wrap(rng, book.texts[0], asked, book.titles[0])),
        Message("assistant", book.first(cite=False)),
    ]
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        question, answer = book.more(cite=False)
        messages += [_turn(rng, rng.choice(FOLLOW) + question), Message("assistant", answer)]
    return messages


def pinned(rng: random.Random) -> list[Message]:
    """Notes at the beginning of a conversation, as `/pin` puts them there, and a question about them."""
    book = Notebook(rng, rng.choice((1, 1, 2, 3)), rng.random() < 0.75)
    text = "\n\n".join(f"[[{name}]]\n{text}" for name, text in zip(book.titles, book.texts, strict=True))
    messages = [
        Message("system", text),
        _turn(rng, book.asked.question),
        Message("assistant", book.first(cite=False)),
    ]
    if rng.random() < 0.5:
        question, answer = book.more(cite=False)
        messages += [_turn(rng, rng.choice(FOLLOW) + question), Message("assistant", answer)]
    return messages


def summary(rng: random.Random, held: bool = False) -> list[Message]:
    """A note and a summary: what stands in its first facts."""
    facts = [fact(rng, held) for _ in range(rng.choice((1, 2, 2, 3, 4)))]
    named = title(rng, held)
    text = passage(rng, facts, named)
    said = sorted((capital(one.line) for one in facts), key=text.find)
    tidy = [line if line.endswith((".", "!")) else f"{line}." for line in said[:2]]
    asked = SUMMARISE[0] if held else expand(rng, rng.choice(SUMMARISE))
    opening = rng.choice(
        ("Here is a note:\n\n", "Here is a note:\n\n", "", "Note:\n", f"File {named}.md:\n\n")
    )
    return [
        Message("user", f"{opening}{text}\n\n{asked if asked in SUMMARISE else casual(rng, asked)}"),
        Message("assistant", " ".join(tidy)),
    ]
