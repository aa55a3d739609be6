"""Facts about deeds: what somebody did or will do, and what is to be done by whoever reads."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .fact_parts import ADJECTIVES, DEEDS, PURPOSES, REASONS, THINGS, Asked, Deed
from .grammar import capital, choose, fill, slots_of
from .values import value


def _plural(thing: str) -> bool:
    head = thing.split(" of ")[0].split(" for ")[0]
    return head.endswith("s") and not head.endswith(("ss", "us"))


_WHEN = ("on <day>", "in <month>", "on <date>", "at <time>", "on <day> at <time>")
_WHERE = ("in the <spot>", "in <place>", "at the <shop>")


@dataclass
class _Told:
    """What a line tells of a deed; what is not given is drawn."""

    rng: random.Random
    held: bool = False
    deed: Deed | None = None
    thing: str = ""
    kind: str = ""
    line: str = ""
    extras: dict[str, str] = field(default_factory=dict)


@dataclass
class Event(_Told):
    """Somebody did, or will do, something to something: when, where, with whom, why, at what price."""

    person: str = ""

    def __post_init__(self) -> None:
        rng = self.rng
        self.person = self.person or value(rng, "person", self.held)
        if self.deed is None:
            self.deed = rng.choice([deed for deed in DEEDS if not self.kind or self.kind in deed.kinds])
        self.word = rng.choice(self.deed.words)
        if not self.thing:
            self.kind = rng.choice(self.deed.kinds)
            self.thing = rng.choice(THINGS[self.kind])
            if self.kind != "subject":
                if rng.random() < 0.35 and self.kind not in ("dish", "cake", "meeting", "place", "bill"):
                    self.thing = f"{rng.choice(ADJECTIVES)} {self.thing}"
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
            "why": lambda: f"because {rng.choice(REASONS)}",
            "for": lambda: f"for {rng.choice(PURPOSES)}",
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
class Advice(_Told):
    """Something to be done, said to whoever reads: prune the apple tree in February."""

    def __post_init__(self) -> None:
        rng = self.rng
        like = Event(rng, self.held, deed=self.deed, thing=self.thing, kind=self.kind)
        self.deed, self.thing, self.kind, (base, _, done) = like.deed, like.thing, like.kind, like.word
        self.base = base
        for name in rng.sample(list(_HOW), rng.choice((1, 1, 1, 2))):
            template = rng.choice(_HOW[name]).replace("<why>", rng.choice(REASONS))
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
