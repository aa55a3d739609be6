"""Little tasks on text that even a small model can do: lists, letters, sorting, picking out, rewriting.

Every task is a function that gives a question and its answer; with `held`, asked in the form kept for the
evaluation. Those on lists are in `list_tasks`, on words in `word_tasks`, on whole texts here.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from . import list_tasks, word_tasks
from .grammar import Message, article, capital, casual, choose, fill, joined
from .loose import loosen
from .numbers import DAYS
from .source import task_lists
from .values import value
from .word_tasks import GROUPS, PLAIN
from .words import LISTS, SIMPLE, invented, word

_TEXT = task_lists()
STORIES, DEMANDS, MEETINGS = _TEXT["stories"], _TEXT["demands"], _TEXT["meetings"]

Task = Callable[[random.Random, bool], tuple[str, str]]


def extract(rng: random.Random, held: bool) -> tuple[str, str]:
    """The names, the date, the place or the amount in a text."""
    people = [value(rng, "person", held) for _ in range(rng.choice((1, 2, 2, 3)))]
    people = list(dict.fromkeys(people))
    day, place, price = value(rng, "date", held), value(rng, "place", held), value(rng, "price", held)
    topic = rng.choice(LISTS["topics"])
    said = rng.choice(
        (
            f"{joined(people)} will meet in {place} on {day} about the {topic}.",
            f"On {day}, {joined(people)} talked about the {topic} in {place}.",
            f"the {topic} in {place}: {joined(people)}, {day}",
            f"In {place}, {joined(people)} paid {price} for the {topic} on {day}.",
            f"dear all, {joined(people)} will be in {place} for the {topic}. It begins on {day}.",
        )
    )
    kind = rng.choice(("names", "date", "place", "price" if price in said else "names"))
    if kind == "names":
        asks: tuple[str, ...] = (
            f"which people are named? {said}",
            f"extract the names: {said}",
            f"list the names in this text: {said}",
            f"find the people: {said}",
            f"pick out the names: {said}",
        )
        return choose(rng, asks, held), f"{joined(people)}."
    what = {"date": day, "place": place, "price": price}[kind]
    word_for = {"date": "date", "place": "place", "price": "amount"}[kind]
    asks = (
        f"extract the {word_for}: {said}",
        f"what is the {word_for} in this text? {said}",
        f"find the {word_for}: {said}",
        f"pick out the {word_for}: {said}",
    )
    return choose(rng, asks, held), f"{capital(what)}."


def replace(rng: random.Random, held: bool) -> tuple[str, str]:
    """A word of a sentence replaced or left out."""
    said = rng.choice(PLAIN).split()
    i = rng.randrange(len(said))
    old, new = said[i], word(rng)
    if said.count(old) > 1:
        old, new = said[0], new
    text = " ".join(said)
    if rng.random() < 0.3:
        asks: tuple[str, ...] = (
            f"leave out {old}: {text}",
            f"remove the word {old}: {text}",
            f"delete {old} from this: {text}",
            f"without the word {old}: {text}",
        )
        return choose(rng, asks, held), " ".join(one for one in said if one != old)
    asks = (
        f"replace {old} with {new}: {text}",
        f"put {new} for {old}: {text}",
        f"change {old} to {new}: {text}",
        f"write {new} instead of {old}: {text}",
    )
    return choose(rng, asks, held), " ".join(new if one == old else one for one in said)


def polite(rng: random.Random, held: bool) -> tuple[str, str]:
    """A demand turned into a polite question."""
    said = rng.choice(DEMANDS)
    asks = (
        f"make this polite: {said}",
        f"say this politely: {said}",
        f"rewrite this more politely: {said}",
        f"a friendlier way to say: {said}",
        f"how do I put this nicely: {said}",
    )
    return choose(rng, asks, held), f"Could you please {said[0].lower() + said[1:]}?"


def email(rng: random.Random, held: bool) -> tuple[str, str]:
    """An email that moves or cancels a meeting, or thanks for something."""
    name, what = value(rng, "person", held), rng.choice(MEETINGS)
    days = rng.sample(DAYS, 2)
    kind = rng.randrange(3)
    me = value(rng, "person", held)
    sign = f"\n\nKind regards,\n{me}" if rng.random() < 0.5 else ""
    signed = f", from {me}" if sign else ""
    tone = rng.choice(("", "short ", "friendly ", "short, friendly ", "polite "))
    mail = rng.choice(("email", "message", "letter", "note"))
    article = "an" if not tone and mail == "email" else "a"
    opening = rng.choice(("write", "write me", "please write", "can you write", "draft"))
    head = f"{opening} {article} {tone}{mail}"
    if kind == 0:
        asks: tuple[str, ...] = (
            f"{head} to {name} that moves the {what} from {days[0]} to {days[1]}{signed}",
            f"{head} to {name}{signed}: move the {what} from {days[0]} to {days[1]}",
            f"{head} that asks {name} to move the {what} from {days[0]} to {days[1]}{signed}",
        )
        text = f"could we move the {what} from {days[0]} to {days[1]}? I hope that suits you."
    elif kind == 1:
        asks = (
            f"{head} to {name} that cancels the {what} on {days[0]}{signed}",
            f"{head} to {name}{signed}: I cannot come to the {what} on {days[0]}",
            f"{head} telling {name} that the {what} on {days[0]} is off{signed}",
        )
        text = f"I am sorry, but I cannot come to the {what} on {days[0]}. I hope we find another day."
    else:
        thing = rng.choice(LISTS["things"])
        asks = (
            f"{head} that thanks {name} for the {thing}{signed}",
            f"{head} to {name}{signed}: thank you for the {thing}",
            f"{head} of thanks to {name} for the {thing}{signed}",
        )
        text = f"thank you very much for the {thing}. I was very glad of it."
    return choose(
        rng, asks, held
    ), f"Dear {name},\n\n{text[0].upper() + text[1:]}{sign or chr(10) + chr(10) + 'Kind regards'}"


def story(rng: random.Random, held: bool) -> tuple[str, str]:
    """A short story about a hero."""
    hero = rng.choice(
        (
            *GROUPS["animal"],
            "king",
            "queen",
            "robot",
            "baker",
            "sailor",
            "gardener",
            "child",
            "wizard",
            "clockmaker",
        )
    )
    adjective, place, thing = (
        rng.choice(LISTS["adjectives"]),
        rng.choice(LISTS["spots"]),
        rng.choice(LISTS["things"]),
    )
    friend = rng.choice(GROUPS["animal"])
    name = value(rng, "person", held)
    a_hero = article(hero)
    asks = (
        f"tell me a story about {a_hero}",
        f"write a short story about {a_hero}",
        f"a story about {a_hero}, please",
        f"can you tell me a story about {a_hero}?",
        f"I would like a story with {a_hero} in it",
    )
    slots = {"a_hero": a_hero, "hero": hero, "name": name, "place": place, "thing": thing, "friend": friend}
    slots |= {"an_adjective": article(adjective), "a_friend": article(friend)}
    said = ". ".join(capital(part) for part in fill(rng.choice(STORIES), slots).split(". "))
    return choose(rng, asks, held), said


def repeat(rng: random.Random, held: bool) -> tuple[str, str]:
    """The same words again, once or more often."""
    kinds = ("person", "place", "code", "price", "name", "author", "phone", "street", "book", "time", "thing")
    parts = []
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 6))):
        roll = rng.random()
        parts.append(
            invented(rng)
            if roll < 0.4
            else rng.choice(LISTS["nouns"])
            if roll < 0.6
            else value(rng, rng.choice(kinds), held)
        )
    said = " ".join(parts)
    if rng.random() < 0.25:
        n = rng.choice((2, 3))
        said = rng.choice(SIMPLE)
        count = {2: "twice", 3: "three times"}[n]
        return choose(
            rng,
            (
                f"say {said} {count}",
                f"write {said} {count}",
                f"repeat {said} {count}",
                f"{said}, {count} please",
            ),
            held,
        ), " ".join([said] * n)
    asks = (
        f"repeat: {said}",
        f"repeat after me: {said}",
        f"say {said}",
        f"say this: {said}",
        f"please repeat {said}",
        f"copy this: {said}",
        f"write {said}",
        f"{said}\n\nRepeat that.",
        f"say exactly this: {said}",
    )
    return choose(rng, asks, held), said


TASKS: tuple[Task, ...] = (
    list_tasks.todo,
    list_tasks.todo,
    list_tasks.listed,
    list_tasks.unlisted,
    list_tasks.sort,
    list_tasks.sort,
    list_tasks.reverse,
    word_tasks.upper,
    word_tasks.lower,
    word_tasks.title,
    word_tasks.tidy,
    word_tasks.spell,
    word_tasks.letters,
    word_tasks.count_words,
    word_tasks.initial,
    word_tasks.acronym,
    extract,
    extract,
    replace,
    polite,
    list_tasks.go_on,
    word_tasks.group,
    word_tasks.group,
    word_tasks.pair,
    word_tasks.pair,
    email,
    story,
    repeat,
)
EXACT: tuple[Task, ...] = tuple(
    task for task in dict.fromkeys(TASKS) if task not in (word_tasks.group, word_tasks.pair, story)
)
"""Those of which only one answer is right; the rest is learned by heart, or free."""


def tidy_case(rng: random.Random, text: str) -> str:
    """The question as people type it, without touching the text that the task is about."""
    head, colon, rest = text.partition(":")
    if colon and "\n" not in head:
        if rng.random() < 0.4:
            head = loosen(rng, head, frames=False)
        return casual(rng, head).rstrip("?.!") + colon + rest
    return capital(text) if rng.random() < 0.5 else text


def task(rng: random.Random, held: bool = False) -> list[Message]:
    """One task, or two."""
    messages: list[Message] = []
    for _ in range(1 if held else rng.choice((1, 1, 2))):
        asked, said = rng.choice(EXACT if held else TASKS)(rng, held)
        messages += [
            Message("user", capital(asked) if held else tidy_case(rng, asked)),
            Message("assistant", said),
        ]
    return messages
