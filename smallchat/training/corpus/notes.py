"""Short notes made up from facts, with questions whose answers stand in the note, or do not.

A fact is drawn once (or several times with other values), no value occurs twice in a note, so that every
question has one answer. The facts live in `text/notes.txt`, which tells their format.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .grammar import Message, capital, casual, expand, fill, slots_of
from .source import lines
from .values import value

UNKNOWN = (
    "The note does not say.",
    "The note does not say.",
    "The note does not say.",
    "The note does not say that.",
)
SUMMARISE = (
    "{summarise|summarize|sum up} {this note|the note|it}{| in one line| in one sentence|, please}",
    "what is {the|this} note about?",
    "give me a {short summary|summary} of the note",
)
MISSING = (
    "I see no note here. Paste it into the chat and ask again.",
    "I do not know that. If it stands in a note, paste the note and ask again.",
)
OPENINGS = ("", "Here is a note:\n\n", "Note:\n", "Please read this note.\n\n")
ACKNOWLEDGED = (
    "I have read the note. What would you like to know?",
    "Thank you, I have read it. What is your question?",
)


@dataclass(frozen=True)
class Ask:
    """Questions and answers of a fact, as templates."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass
class Fact:
    """One kind of statement: wordings, questions, and whether a note may hold several of it."""

    wordings: tuple[str, ...]
    repeatable: bool
    asks: list[Ask] = field(default_factory=list)


@dataclass
class Domain:
    """A kind of note."""

    titles: tuple[str, ...]
    about: str
    facts: list[Fact] = field(default_factory=list)


@dataclass(frozen=True)
class Stated:
    """A fact with its values, as it stands in a note."""

    fact: Fact
    slots: dict[str, str]
    line: str


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(" / "))


def parse(source: list[str]) -> list[Domain]:
    """Read the lines of `text/notes.txt`."""
    found: list[Domain] = []
    for line in source:
        mark, _, rest = line.partition(" ")
        if mark == "@":
            titles, about = rest.rsplit("|", 1)
            found.append(Domain(tuple(title.strip() for title in titles.split(";")), about.strip()))
        elif mark in ("=", "=*"):
            found[-1].facts.append(Fact(_parts(rest), mark == "=*"))
        elif mark == "?":
            questions, answers = rest.split(" > ")
            found[-1].facts[-1].asks.append(Ask(_parts(questions), _parts(answers)))
    return found


DOMAINS = parse(lines("notes.txt"))


class Note:
    """A note under construction: its facts, its values (none twice) and its text."""

    def __init__(self, rng: random.Random, size: int, held: bool = False) -> None:
        self.rng, self.held = rng, held
        self.domain = rng.choice(DOMAINS)
        self.used: set[str] = set()
        self.prose = rng.random() < 0.4
        self.stated: list[Stated] = []
        once = list(self.domain.facts)
        while len(self.stated) < size and once:
            fact = rng.choice(once)
            self.stated.append(self.state(fact))
            if not fact.repeatable:
                once.remove(fact)
        self.text = self.compose()

    def fresh(self, template: str) -> dict[str, str]:
        """New values for the slots of a template (and all other slots of its fact)."""
        slots: dict[str, str] = {}
        for name in slots_of(template):
            for _ in range(50):
                slots[name] = value(self.rng, name, self.held)
                if slots[name] not in self.used:
                    break
            self.used.add(slots[name])
        return slots

    def all_slots(self, fact: Fact) -> dict[str, str]:
        """Values for every slot that a wording, question or answer of a fact may need."""
        texts = [*fact.wordings, *(t for ask in fact.asks for t in (*ask.questions, *ask.answers))]
        return self.fresh(" ".join(texts))

    def state(self, fact: Fact) -> Stated:
        """Draw one fact as a sentence (prose) or in any wording (lists)."""
        slots = self.all_slots(fact)
        wordings = [w for w in fact.wordings if w.endswith(".")] if self.prose else list(fact.wordings)
        line = capital(fill(expand(self.rng, self.rng.choice(wordings)), slots))
        return Stated(fact, slots, line)

    def compose(self) -> str:
        """Title (often) and facts as prose, lines or bullets."""
        rng = self.rng
        title = rng.choice(self.domain.titles)
        title = fill(title, self.fresh(title))
        lines = [stated.line for stated in self.stated]
        if self.prose:
            body = " ".join(lines)
        else:
            bullet = rng.choice(("- ", "- ", "* ", "", ""))
            body = "\n".join(bullet + line for line in lines)
        if rng.random() < 0.25:
            return body
        head = rng.choice((f"# {title}\n\n", f"# {title}\n", f"{title}\n", f"{title}:\n", f"## {title}\n\n"))
        return head + body

    def known(self, stated: Stated) -> tuple[str, str, list[str]]:
        """A question about a stated fact, its answer, and the values that the answer must hold."""
        rng = self.rng
        ask = rng.choice(stated.fact.asks)
        question, answer = expand(rng, rng.choice(ask.questions)), expand(rng, rng.choice(ask.answers))
        wanted = [stated.slots[s] for s in slots_of(answer) if s not in slots_of(question)]
        return fill(question, stated.slots), capital(fill(answer, stated.slots)), wanted

    def unknown(self) -> tuple[str, str]:
        """A question that this note does not answer: another fact, or this fact of something else."""
        rng = self.rng
        stated = [s.fact for s in self.stated]
        options = [f for f in self.domain.facts if f not in stated]
        hard = [f for f in self.domain.facts if f.repeatable and f in stated]
        fact = rng.choice(hard if hard and (not options or rng.random() < 0.4) else options)
        # A question that names nothing would be answered by the stated fact of its kind.
        questions = [q for ask in fact.asks for q in ask.questions if fact in options or slots_of(q)]
        question = expand(rng, rng.choice(questions))
        return fill(question, self.fresh(question)), rng.choice(UNKNOWN)

    def summary(self) -> tuple[str, str]:
        """A request for a line about the note, and that line: what it is about and its first fact."""
        rng = self.rng
        asked = expand(rng, rng.choice(SUMMARISE))
        first = self.stated[0]
        sentence = fill(expand(rng, first.fact.wordings[0]), first.slots)
        return asked, f"The note is about {self.domain.about}: {sentence}"


# How a note (<note>) comes with a question, tidy (<Ask>) or as typed (<ask>).
WRAPPINGS = (
    "Here is a note:\n\n<note>\n\n<Ask>",
    "Here is a note:\n<note>\n\nQuestion: <Ask>",
    "Note:\n<note>\n\n<Ask>",
    "Note:\n<note>\n\nQuestion: <Ask>",
    "<Ask>\n\n<note>",
    "<note>\n\n<Ask>",
    "<note>\n<ask>",
    "Here is my note. <note>\n\n<ask>",
    "Read this note and answer: <Ask>\n\n<note>",
    '"""\n<note>\n"""\n<Ask>',
    "My note: <note>\n<ask>",
    "Answer from this note.\n\n<note>\n\n<Ask>",
    "<ask>\n\nNote:\n<note>",
    "[note]\n<note>\n[/note]\n\n<Ask>",
    "This is my note:\n\n<note>\n\n<ask>",
    "<note> <Ask>",
    "```\n<note>\n```\n<Ask>",
    "I wrote this down: <note>\n\n<Ask>",
)


def _wrap(rng: random.Random, note: str, asked: str) -> str:
    """A note and a first question in one message."""
    form = rng.choice(WRAPPINGS)
    return form.replace("<Ask>", capital(asked)).replace("<ask>", asked).replace("<note>", note)


def missing_note(rng: random.Random) -> list[Message]:
    """A question about a note when there is none."""
    note = Note(rng, 1)
    asked = casual(rng, note.known(note.stated[0])[0])
    return [Message("user", asked), Message("assistant", rng.choice(MISSING))]


def note_questions(rng: random.Random) -> list[Message]:
    """A note and one to four questions about it."""
    note = Note(rng, rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 7)))
    order = rng.sample(note.stated, len(note.stated))
    messages: list[Message] = []
    for number in range(rng.choice((1, 2, 2, 3, 3, 4))):
        if rng.random() < 0.17:
            asked, answer = note.unknown()
        elif rng.random() < 0.07 and len(note.stated) <= 4:
            asked, answer = note.summary()
        else:
            asked, answer, _ = note.known(order[number % len(order)])
        asked = casual(rng, asked)
        if number == 0 and rng.random() < 0.12:
            opening = rng.choice(
                (
                    note.text,
                    f"Here is a note:\n\n{note.text}",
                    f"Note:\n{note.text}",
                    f"Please read this note.\n\n{note.text}",
                )
            )
            messages += [
                Message("user", opening),
                Message("assistant", rng.choice(ACKNOWLEDGED)),
                Message("user", asked),
            ]
        else:
            follow = rng.choice(("", "", "", "and ")) if number else ""
            messages.append(Message("user", _wrap(rng, note.text, asked) if number == 0 else follow + asked))
        messages.append(Message("assistant", answer))
    return messages


def held_case(rng: random.Random, known: bool) -> tuple[str, list[str]]:
    """An evaluation prompt with names kept from training, and the values its answer must hold."""
    note = Note(rng, rng.choice((2, 3, 4, 5)), held=True)
    if known:
        asked, _, wanted = note.known(rng.choice(note.stated))
        return _wrap(rng, note.text, asked), wanted
    return _wrap(rng, note.text, note.unknown()[0]), ["not"]
