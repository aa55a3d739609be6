"""Facts for notes, far more kinds of them than anyone writes down: deeds, properties, lists, pairs of names.

A fact can be said in one line, asked about in words apart from it, and has neighbours: facts that share one
of its names and answer none of its questions. Where a fact is left out and its neighbours stay, the notes do
not say. Deeds are in `deeds`, the other kinds here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .deeds import Advice, Event
from .fact_parts import ATTRIBUTES, ENTITIES, Asked, Fact, filled
from .grammar import capital, choose, expand, fill, joined, slots_of
from .notes import DOMAINS, Ask, Domain, parse
from .source import lines
from .values import value

(PAIRS,) = parse(lines("pairs.txt"))
REPEATING = [domain for domain in DOMAINS if any(one.repeatable for one in domain.facts)]


@dataclass
class Property:
    """An attribute of something, and its value."""

    rng: random.Random
    held: bool = False
    entity: str = ""
    attribute: tuple[str, str] | None = None
    line: str = ""

    def __post_init__(self) -> None:
        rng = self.rng
        self.entity = self.entity or filled(rng, rng.choice(ENTITIES), self.held)
        self.attribute = self.attribute or rng.choice(ATTRIBUTES)
        kind, name = self.attribute
        while (made := value(rng, kind, self.held)) in self.entity:
            pass
        self.value = made
        self.line = rng.choice(
            (
                f"The {name} of {self.entity} is {made}.",
                f"The {name} of {self.entity} is {made}.",
                f"{made} is the {name} of {self.entity}.",
                f"{self.entity}: {name} {made}",
                f"{name} of {self.entity}: {made}",
                f"{name} ({self.entity}): {made}",
                f"for {self.entity}, {made} is the {name}.",
                f"As {name} of {self.entity} we have {made}.",
            )
        )

    def ask(self, rng: random.Random) -> Asked:
        """What it is."""
        assert self.attribute is not None
        kind, name = self.attribute
        start = {
            "price": "how much is",
            "date": "when is",
            "time": "when is",
            "person": "who is",
            "place": "where is",
            "dur": "how long is",
        }.get(kind, "what is")
        questions = (
            f"what is the {name} of {self.entity}?",
            f"{start} the {name} of {self.entity}?",
            f"{start} the {name} of {self.entity}?",
            f"which {name} does {self.entity} have?",
            f"{self.entity}: {start} the {name}?",
            f"tell me the {name} of {self.entity}",
            f"{name} of {self.entity}?",
            f"do you know the {name} of {self.entity}?",
        )
        answer = f"the {name} of {self.entity} is {self.value}."
        return Asked(choose(rng, questions, self.held), answer, (self.value,))

    def near(self, rng: random.Random) -> Property:
        """Another attribute of it, or this attribute of something else."""
        if rng.random() < 0.5:
            while (other := rng.choice(ATTRIBUTES)) == self.attribute:
                pass
            return Property(rng, self.held, self.entity, other)
        while (entity := filled(rng, rng.choice(ENTITIES), self.held)) == self.entity:
            pass
        return Property(rng, self.held, entity, self.attribute)


_LISTS = (
    # slot of the entries, of the name; wordings; questions; answer
    (
        "thing",
        "place",
        ("to pack for <k>: <l>", "For <k> we have to pack <l>.", "luggage for <k>: <l>"),
        (
            "what do {I|we} have to pack for <k>?",
            "what should {I|we} pack for <k>?",
            "what goes into the luggage for <k>?",
            "list everything to pack for <k>",
            "what must {I|we} take along to <k>?",
        ),
        "Pack <l> for <k>.",
    ),
    (
        "food",
        "person",
        ("for <k> buy <l>.", "shopping for <k>: <l>", "<k> wants <l>."),
        (
            "what should {I|we} buy for <k>?",
            "what does <k> want?",
            "which things do {I|we} buy for <k>?",
            "list the shopping for <k>",
            "what is on the shopping list of <k>?",
        ),
        "Buy <l> for <k>.",
    ),
    (
        "person",
        "name",
        ("The members of <k> are <l>.", "in team <k>: <l>", "<k>: <l>"),
        (
            "who is in <k>?",
            "who are the members of <k>?",
            "list the members of <k>",
            "which people are in <k>?",
            "who belongs to <k>?",
        ),
        "The members of <k> are <l>.",
    ),
    (
        "topic",
        "day",
        ("<k>: we talk about <l>.", "topics on <k>: <l>", "On <k> the topics are <l>."),
        (
            "what are the topics on <k>?",
            "what do we talk about on <k>?",
            "list the topics of <k>",
            "which topics come up on <k>?",
        ),
        "The topics on <k> are <l>.",
    ),
    (
        "food",
        "dish",
        ("<k> needs <l>.", "ingredients of <k>: <l>", "for the <k> take <l>."),
        (
            "what do {I|we} need for the <k>?",
            "what are the ingredients of the <k>?",
            "what is in the <k>?",
            "list the ingredients of <k>",
            "which things go into the <k>?",
        ),
        "The <k> needs <l>.",
    ),
    (
        "thing",
        "person",
        ("<k> brings <l>.", "to be brought by <k>: <l>", "<k> has promised to bring <l>."),
        (
            "what does <k> bring?",
            "what will <k> bring along?",
            "which things come from <k>?",
            "what has <k> promised to bring?",
        ),
        "<k> brings <l>.",
    ),
    (
        "task",
        "person",
        ("<k> has to <l>.", "tasks of <k>: <l>", "<k> will <l>."),
        (
            "what does <k> have to do?",
            "what are the tasks of <k>?",
            "what will <k> do?",
            "list the tasks of <k>",
            "which jobs does <k> have?",
        ),
        "<k> has to <l>.",
    ),
    (
        "place",
        "person",
        ("<k> has been to <l>.", "<k> knows <l>.", "places of <k>: <l>"),
        (
            "where has <k> been?",
            "which places does <k> know?",
            "which towns has <k> seen?",
            "list the places of <k>",
        ),
        "<k> has been to <l>.",
    ),
)


@dataclass
class Listed:
    """Several things that belong to one name."""

    rng: random.Random
    held: bool = False
    kind: int = -1
    line: str = ""

    def __post_init__(self) -> None:
        rng = self.rng
        self.kind = rng.randrange(len(_LISTS)) if self.kind < 0 else self.kind
        self.questions: tuple[str, ...]
        entry, key, wordings, self.questions, self.answer = _LISTS[self.kind]
        self.entries = list(
            dict.fromkeys(value(rng, entry, self.held) for _ in range(rng.choice((2, 3, 3, 4, 5))))
        )
        while (made := value(rng, key, self.held)) in self.entries:
            pass
        self.key = made
        self.line = capital(fill(rng.choice(wordings), {"k": self.key, "l": joined(self.entries)}))

    def ask(self, rng: random.Random) -> Asked:
        """All of it."""
        slots = {"k": self.key, "l": joined(self.entries)}
        question = fill(expand(rng, choose(rng, self.questions, self.held)), slots)
        return Asked(question, fill(self.answer, slots), tuple(self.entries))

    def near(self, rng: random.Random) -> Listed:
        """Such a list of another name."""
        while (other := Listed(rng, self.held, self.kind)).key == self.key:
            pass
        return other


@dataclass
class Noted:
    """A fact of the files `notes.txt` and `pairs.txt`."""

    rng: random.Random
    held: bool = False
    domain: Domain | None = None
    index: int = -1
    kept: dict[str, str] = field(default_factory=dict)
    line: str = ""

    def __post_init__(self) -> None:
        rng = self.rng
        self.domain = self.domain or (PAIRS if rng.random() < 0.5 else rng.choice(REPEATING))
        repeatable = [i for i, fact in enumerate(self.domain.facts) if fact.repeatable]
        self.index = self.index if self.index >= 0 else rng.choice(repeatable)
        self.fact = self.domain.facts[self.index]
        texts = [*self.fact.wordings, *(t for ask in self.fact.asks for t in (*ask.questions, *ask.answers))]
        self.slots = dict(self.kept)
        for name in slots_of(" ".join(texts)):
            if name in self.slots:
                continue
            for _ in range(50):
                self.slots[name] = value(rng, name, self.held)
                if list(self.slots.values()).count(self.slots[name]) == 1:
                    break
        self.asked: Ask = rng.choice(self.fact.asks)
        self.question = expand(
            rng,
            choose(rng, (*self.asked.questions, self.asked.questions[-1]), self.held)
            if len(self.asked.questions) < 3
            else choose(rng, self.asked.questions, self.held),
        )
        self.line = capital(fill(expand(rng, rng.choice(self.fact.wordings)), self.slots))

    def ask(self, rng: random.Random) -> Asked:
        """Its question: which one was settled when it was made, since its neighbours depend on it."""
        answer = expand(rng, rng.choice(self.asked.answers))
        wanted = tuple(self.slots[s] for s in slots_of(answer) if s not in slots_of(self.question))
        return Asked(fill(self.question, self.slots), capital(fill(answer, self.slots)), wanted)

    def near(self, rng: random.Random) -> Noted:
        """The same kind of fact of other names; one of the question's, where it names two."""
        named = slots_of(self.question)
        kept = {}
        if len(named) > 1 and rng.random() < 0.6:
            name = rng.choice(named)
            kept = {name: self.slots[name]}
        for _ in range(20):
            other = Noted(rng, self.held, self.domain, self.index, kept)
            if all(other.slots[name] != self.slots[name] for name in named if name not in kept):
                break
        return other


KINDS = (Event, Event, Advice, Property, Listed, Noted, Noted)


def fact(rng: random.Random, held: bool = False) -> Fact:
    """One of any kind."""
    made: Fact = rng.choice(KINDS)(rng, held)
    return made
