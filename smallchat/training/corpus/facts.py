"""Facts for notes, far more kinds of them than anyone writes down: deeds, properties, lists, pairs of names.

A fact can be said in one line, asked about in words apart from it, and has neighbours: facts that share one
of its names and answer none of its questions. Where a fact is left out and its neighbours stay, the notes do
not say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .grammar import capital, expand, fill, slots_of
from .notes import DOMAINS, Ask, Domain, parse
from .source import lines
from .values import value

(PAIRS,) = parse(lines("pairs.txt"))
REPEATING = [domain for domain in DOMAINS if any(one.repeatable for one in domain.facts)]


@dataclass(frozen=True)
class Asked:
    """A question, its answer, and the values that the answer must hold."""

    question: str
    answer: str
    wanted: tuple[str, ...]


class Fact(Protocol):
    """Something that a line of a note says."""

    line: str

    def ask(self, rng: random.Random) -> Asked:
        """One of its questions, with the answer."""
        ...

    def near(self, rng: random.Random) -> Fact:
        """Another fact that shares a name with this one and answers none of its questions."""
        ...


def _sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines("events.txt"):
        if line.startswith("# "):
            found[line[2:]] = name = []
        else:
            name.append(line)
    return found


_TEXT = _sections()
_KINDS = {name: things.split("|") for name, things in (line.split(": ", 1) for line in _TEXT["kinds"])}
_ATTRIBUTES = [
    (kind, name)
    for kind, names in (line.split(": ", 1) for line in _TEXT["attributes"])
    for name in names.split("|")
]
_ADJECTIVES = _TEXT["adjectives"][0].split("|")
_REASONS = _TEXT["reasons"][0].split("|")
_PURPOSES = _TEXT["purposes"][0].split("|")
_ENTITIES = _TEXT["entities"][0].split("|")
FILLERS = _TEXT["fillers"]
TITLES = _TEXT["titles"][0].split("|")
HEADINGS = _TEXT["headings"][0].split("|")


@dataclass(frozen=True)
class Deed:
    """Words for one deed, each (base, past, participle), and the kinds of things that it is done to."""

    words: tuple[tuple[str, str, str], ...]
    kinds: tuple[str, ...]


def _deed(line: str) -> Deed:
    words, kinds = line.split(" | ")
    forms = [tuple(word.split("/")) for word in words.split("; ")]
    return Deed(tuple((a, b, c) for a, b, c in forms), tuple(kinds.split()))


_DEEDS = [_deed(line) for line in _TEXT["deeds"]]


def choose(rng: random.Random, options: tuple[str, ...], held: bool) -> str:
    """One of several ways to ask. The last is kept for the evaluation, which takes it every other time."""
    if held and rng.random() < 0.5:
        return options[-1]
    return rng.choice(options[:-1])


def filled(rng: random.Random, template: str, held: bool) -> str:
    """`{slot}` in titles and entities replaced by values; `{adj}` and kinds of things too."""
    for name in ("adj", *(kind for kind in _KINDS if kind != "place")):
        if "{" + name + "}" in template:
            template = template.replace(
                "{" + name + "}", rng.choice(_ADJECTIVES if name == "adj" else _KINDS[name])
            )
    for name in ("person", "place", "day", "month", "name", "n"):
        if "{" + name + "}" in template:
            template = template.replace("{" + name + "}", value(rng, name, held))
    return template


def _plural(thing: str) -> bool:
    head = thing.split(" of ")[0].split(" for ")[0]
    return head.endswith("s") and not head.endswith(("ss", "us"))


_WHEN = ("on <day>", "in <month>", "on <date>", "at <time>", "on <day> at <time>")
_WHERE = ("in the <spot>", "in <place>", "at the <shop>")


@dataclass
class Event:
    """Somebody did, or will do, something to something: when, where, with whom, why, at what price."""

    rng: random.Random
    held: bool = False
    person: str = ""
    deed: Deed | None = None
    thing: str = ""
    kind: str = ""
    line: str = ""
    extras: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.rng
        self.person = self.person or value(rng, "person", self.held)
        if self.deed is None:
            self.deed = rng.choice([deed for deed in _DEEDS if not self.kind or self.kind in deed.kinds])
        self.word = rng.choice(self.deed.words)
        if not self.thing:
            self.kind = rng.choice(self.deed.kinds)
            self.thing = rng.choice(_KINDS[self.kind])
            if self.kind != "subject":
                if rng.random() < 0.35 and self.kind not in ("dish", "cake", "meeting", "place", "bill"):
                    self.thing = f"{rng.choice(_ADJECTIVES)} {self.thing}"
                self.thing = f"the {self.thing}"
        self.future = rng.random() < 0.3
        self._add_extras()
        self.line = self._said()

    def _add_extras(self) -> None:
        rng = self.rng
        assert self.deed is not None
        makers: dict[str, Callable[[], str]] = {
            "when": lambda: rng.choice(_WHEN),
            "where": lambda: rng.choice(_WHERE),
            "with": lambda: "with <person>",
            "why": lambda: f"because {rng.choice(_REASONS)}",
            "for": lambda: f"for {rng.choice(_PURPOSES)}",
        }
        if self.deed.words[0][0] in ("mend", "buy", "sell", "paint", "replace", "install", "order"):
            makers["price"] = lambda: "for <price>"
            makers.pop("for")
        if self.deed.words[0][0] in ("visit", "move"):
            makers.pop("where")
        chosen = rng.sample(list(makers), rng.choice((0, 1, 1, 2, 2, 3)))
        order = [name for name in ("price", "with", "where", "for", "when", "why") if name in chosen]
        used = {"person": self.person}
        for name in order:
            template = makers[name]()
            slots = {}
            for slot in slots_of(template):
                while (made := value(rng, slot, self.held)) == used.get(slot):
                    pass
                slots[slot] = made
            self.extras[name] = fill(template, slots)

    def _said(self) -> str:
        rng, (base, past, participle) = self.rng, self.word
        tail = " ".join(["", *self.extras.values()])
        behind = "".join(f", {extra}" for extra in self.extras.values())
        were = "were" if _plural(self.thing) else "was"
        if self.future:
            forms = [
                f"{self.person} will {base} {self.thing}{tail}.",
                f"{self.person} is going to {base} {self.thing}{tail}.",
                f"{self.person} has to {base} {self.thing}{tail}.",
                f"{capital(self.thing)} will be {participle} by {self.person}{tail}.",
                f"{self.person}: {base} {self.thing}{behind}",
                f"to do: {base} {self.thing} ({self.person}{behind})",
            ]
        else:
            forms = [
                f"{self.person} {past} {self.thing}{tail}.",
                f"{self.person} {past} {self.thing}{tail}.",
                f"{capital(self.thing)} {were} {participle} by {self.person}{tail}.",
                f"{self.person} has {participle} {self.thing}{tail}.",
                f"{self.thing}: {participle} by {self.person}{behind}",
                f"{self.person}: {self.thing} {participle}{behind}",
            ]
        first = next(iter(self.extras), "")
        if first in ("when", "where", "with", "for"):
            rest = " ".join(["", *(extra for name, extra in self.extras.items() if name != first)])
            verb = f"will {base}" if self.future else past
            forms.append(f"{capital(self.extras[first])}, {self.person} {verb} {self.thing}{rest}.")
        return rng.choice(forms)

    def ask(self, rng: random.Random) -> Asked:
        """Who, what, or one of the circumstances."""
        assert self.deed is not None
        what = rng.choice(("who", "what", *self.extras, *self.extras))
        base, past, participle = rng.choice(self.deed.words)
        were = "were" if _plural(self.thing) else "was"
        person, thing = self.person, self.thing
        done = f"{person} {f'will {self.word[0]}' if self.future else self.word[1]} {thing}"
        if self.future:
            asked = f"will {person} {base} {thing}"
            passive = f"will {thing} be {participle}"
            who: tuple[str, ...] = (
                f"who will {base} {thing}?",
                f"who is going to {base} {thing}?",
                f"who has to {base} {thing}?",
                f"whose job is it to {base} {thing}?",
            )
            which: tuple[str, ...] = (
                f"what will {person} {base}?",
                f"what is {person} going to {base}?",
                f"what does {person} have to {base}?",
                f"{person} is to {base} something: what?",
            )
        else:
            asked = f"did {person} {base} {thing}"
            passive = f"{were} {thing} {participle}"
            who = (
                f"who {past} {thing}?",
                f"by whom {were} {thing} {participle}?",
                f"who has {participle} {thing}?",
                f"tell me who {past} {thing}",
                f"which person {past} {thing}?",
            )
            which = (
                f"what did {person} {base}?",
                f"what has {person} {participle}?",
                f"what was {participle} by {person}?",
                f"which thing did {person} {base}?",
            )
        if what == "who":
            return Asked(choose(rng, who, self.held), f"{done}.", (person,))
        if what == "what":
            return Asked(choose(rng, which, self.held), f"{done}.", (thing.removeprefix("the "),))
        extra = self.extras[what]
        starts: dict[str, tuple[str, ...]] = {
            "when": ("when", "at what time" if extra.startswith("at ") else "when", "when exactly"),
            "where": ("where", "where", "in which place", "at which place"),
            "with": ("with whom", "together with whom", "in whose company"),
            "why": ("why", "for what reason", "why exactly"),
            "for": ("for what", "what for", "for what purpose"),
            "price": ("for how much", "at what price", "for how much money"),
        }
        start = choose(rng, starts[what], self.held)
        questions: list[str] = [f"{start} {asked}?", f"{start} {asked}?", f"{start} {passive}?"]
        if what == "with" and not self.future:
            questions.append(f"who helped {person} {base} {thing}?")
        if what == "price" and not self.future:
            questions += [f"how much did {person} pay for {thing}?", f"what did {thing} cost?"]
        return Asked(rng.choice(questions), f"{done} {extra}.", (extra.split(" ", 1)[1],))

    def near(self, rng: random.Random) -> Event:
        """The same person, deed or thing in another event."""
        while True:
            shared = rng.randrange(3)
            other = Event(
                rng,
                self.held,
                person=self.person if shared == 0 else "",
                deed=self.deed if shared == 1 else None,
                thing=self.thing if shared == 2 else "",
                kind=self.kind if shared == 2 else "",
            )
            if (self.person == other.person) + (self.deed == other.deed) + (self.thing == other.thing) <= 1:
                return other


_HOW: dict[str, tuple[str, ...]] = {
    "when": (
        "on <day>",
        "in <month>",
        "every <day>",
        "before <month>",
        "at <time>",
        "after <month>",
        "twice a week",
        "once a year",
        "every <n> days",
        "at the end of <month>",
    ),
    "where": ("in the <spot>", "in <place>"),
    "how long": ("for <dur>",),
    "with what": (
        "with the <thing>",
        "with <food>",
        "with a <color> cloth",
        "with warm water",
        "with old newspapers",
    ),
    "why": ("because <why>",),
    "how many": ("<n> times",),
}
_HOW_ASKED = {
    "when": ("when", "when", "when exactly"),
    "where": ("where", "where", "in which place"),
    "how long": ("how long", "for how long", "for how much time"),
    "with what": ("with what", "with what", "using what"),
    "why": ("why", "for what reason", "why exactly"),
    "how many": ("how many times", "how often", "how many times exactly"),
}


@dataclass
class Advice:
    """Something to be done, said to whoever reads: prune the apple tree in February."""

    rng: random.Random
    held: bool = False
    deed: Deed | None = None
    thing: str = ""
    kind: str = ""
    line: str = ""
    extras: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.rng
        like = Event(rng, self.held, deed=self.deed, thing=self.thing, kind=self.kind)
        self.deed, self.thing, self.kind, (base, _, done) = like.deed, like.thing, like.kind, like.word
        self.base = base
        for name in rng.sample(list(_HOW), rng.choice((1, 1, 1, 2))):
            template = rng.choice(_HOW[name]).replace("<why>", rng.choice(_REASONS))
            self.extras[name] = fill(
                template, {slot: value(rng, slot, self.held) for slot in slots_of(template)}
            )
        tail = " ".join(self.extras.values())
        forms = [
            f"{base} {self.thing} {tail}.",
            f"{base} {self.thing} {tail}.",
            f"you should {base} {self.thing} {tail}.",
            f"we {base} {self.thing} {tail}.",
            f"I {base} {self.thing} {tail}.",
            f"{self.thing}: {base} {tail}",
            f"{self.thing} must be {done} {tail}.",
        ]
        first = next(iter(self.extras))
        if first in ("when", "where"):
            rest = " ".join(["", *(extra for name, extra in self.extras.items() if name != first)])
            forms.append(f"{self.extras[first]}, {base} {self.thing}{rest}.")
        self.line = rng.choice(forms)

    def ask(self, rng: random.Random) -> Asked:
        """When, where, how."""
        assert self.deed is not None
        base, _, done = rng.choice(self.deed.words)
        name = rng.choice(list(self.extras))
        start = choose(rng, _HOW_ASKED[name], self.held)
        be = "are" if _plural(self.thing) else "is"
        doer = rng.choice(("do I", "do I", "should I", "do we", "must I", "should we"))
        question = rng.choice(
            (
                f"{start} {doer} {base} {self.thing}?",
                f"{start} {be} {self.thing} {done}?",
                f"{start} {rng.choice(('should', 'must'))} {self.thing} be {done}?",
            )
        )
        extra = self.extras[name]
        wanted = (
            extra.split(" ", 1)[1]
            if extra.split(" ")[0] in ("on", "in", "with", "for", "because", "at")
            else extra
        )
        return Asked(question, f"{self.base} {self.thing} {extra}.", (wanted,))

    def near(self, rng: random.Random) -> Advice:
        """The same to be done with something else, or something else with it."""
        while True:
            if rng.random() < 0.5:
                other = Advice(rng, self.held, deed=self.deed)
            else:
                other = Advice(rng, self.held, thing=self.thing, kind=self.kind)
            if self.thing != other.thing or self.deed != other.deed:
                return other


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
        self.entity = self.entity or filled(rng, rng.choice(_ENTITIES), self.held)
        self.attribute = self.attribute or rng.choice(_ATTRIBUTES)
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
            while (other := rng.choice(_ATTRIBUTES)) == self.attribute:
                pass
            return Property(rng, self.held, self.entity, other)
        while (entity := filled(rng, rng.choice(_ENTITIES), self.held)) == self.entity:
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


def joined(parts: list[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


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


def filler(rng: random.Random) -> str:
    """A sentence that says nothing that is asked about."""
    return expand(rng, rng.choice(FILLERS))
