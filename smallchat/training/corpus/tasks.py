"""Little tasks on text that even a small model can do: lists, letters, sorting, picking out, rewriting.

Every task is a function that gives a question and its answer; with `held`, asked in the form kept for the
evaluation.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from .facts import choose, joined
from .grammar import Message, capital, casual, fill
from .loose import loosen
from .numbers import DAYS, MONTHS
from .source import lines
from .values import value
from .words import LISTS, invented


def _read() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines("tasks.txt"):
        if line.startswith("# "):
            found[line[2:].split("   ")[0]] = name = []
        else:
            name += [line] if found.keys() == {"groups"} else line.split("|")
    return found


_TEXT = _read()
GROUPS = {name: members.split("|") for name, members in (line.split(": ") for line in _TEXT["groups"])}
PAIRS = {
    name: [tuple(pair.split("/")) for pair in _TEXT[name]]
    for name in ("opposites", "plurals", "pasts", "rhymes")
}
STORIES = _TEXT["stories"]
TODOS, PLAIN, DEMANDS, MEETINGS = (
    _TEXT["todos"],
    _TEXT["plain sentences"],
    _TEXT["demands"],
    _TEXT["meetings"],
)
SIMPLE = sorted(
    {
        word
        for name in ("nouns", "pets", "colours", "foods", "adjectives")
        for word in LISTS[name]
        if word.isalpha()
    }
)

Task = Callable[[random.Random, bool], tuple[str, str]]


def word(rng: random.Random) -> str:
    """A word: of the lists, or one nobody has seen."""
    return rng.choice(SIMPLE) if rng.random() < 0.7 else invented(rng).lower()


def words(rng: random.Random, low: int, high: int) -> list[str]:
    """Different words."""
    wanted = rng.randrange(low, high + 1)
    found: list[str] = []
    while len(found) < wanted:
        one = word(rng)
        if one not in found:
            found.append(one)
    return found


def things(rng: random.Random, low: int, high: int) -> list[str]:
    """Different things of one kind: foods, people, places, colours, animals, numbers of a list."""
    name = rng.choice(
        ("foods", "people", "places", "colours", "pets", "things", "plants", "nouns", "days", "months")
    )
    options = LISTS[name]
    return rng.sample(options, min(len(options), rng.randrange(low, high + 1)))


def article(noun: str) -> str:
    """With a or an."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def bullets(parts: list[str]) -> str:
    """A list, a line each."""
    return "\n".join(f"- {part}" for part in parts)


def _todo(rng: random.Random, held: bool) -> tuple[str, str]:
    parts = rng.sample(TODOS, rng.choice((2, 3, 3, 4, 5)))
    if rng.random() < 0.4:
        whens = (f"on {rng.choice(DAYS)}", "tomorrow", "today", "before noon", f"at {rng.randrange(7, 20)}")
        parts = [f"{part} {rng.choice(whens)}" if rng.random() < 0.4 else part for part in parts]
    said = rng.choice(
        (
            f"I have to {joined(parts)}.",
            f"today I must {joined(parts)}",
            f"I need to {', '.join(parts[:-1])} and then {parts[-1]}.",
            f"{', '.join(parts)}",
            f"first {parts[0]}, then {joined(parts[1:])}.",
            f"we still have to {joined(parts)}",
        )
    )
    asks = (
        f"make a to-do list: {said}",
        f"make a list of this: {said}",
        f"turn this into a to-do list: {said}",
        f"{capital(said)}{'' if said[-1] in '.' else '.'} Make a to-do list, please.",
        f"can you make a to-do list from this? {capital(said)}",
        f"to-do list: {said}",
        f"write this as a list of tasks: {said}",
    )
    return choose(rng, asks, held), bullets([capital(part) for part in parts])


def _bullets(rng: random.Random, held: bool) -> tuple[str, str]:
    parts = things(rng, 2, 6)
    said = joined(parts) if rng.random() < 0.5 else ", ".join(parts)
    if rng.random() < 0.3:
        numbered = "\n".join(f"{i}. {part}" for i, part in enumerate(parts, 1))
        asks: tuple[str, ...] = (
            f"make a numbered list: {said}",
            f"number these: {said}",
            f"{said} as a numbered list",
            f"write {said} as a list with numbers",
        )
        return choose(rng, asks, held), numbered
    asks = (
        f"make a list: {said}",
        f"write as bullet points: {said}",
        f"turn this into a list: {said}",
        f"{said} as a list",
        f"put {said} into a bullet list",
    )
    return choose(rng, asks, held), bullets(parts)


def _unbullet(rng: random.Random, held: bool) -> tuple[str, str]:
    parts = things(rng, 2, 5)
    listed = bullets(parts)
    asks = (
        f"write this in one line:\n{listed}",
        f"make one sentence of this list:\n{listed}",
        f"{listed}\n\nPut that in one line, please.",
        f"join this list:\n{listed}",
    )
    return choose(rng, asks, held), f"{capital(joined(parts))}."


def _sort(rng: random.Random, held: bool) -> tuple[str, str]:
    if rng.random() < 0.45:
        numbers = rng.sample(range(1, rng.choice((20, 100, 1000))), rng.choice((3, 4, 5, 6)))
        said = rng.choice((", ", " ")).join(map(str, numbers))
        down = rng.random() < 0.25
        how = " from large to small" if down else rng.choice(("", "", " from small to large"))
        asks: tuple[str, ...] = (
            f"sort{how}: {said}",
            f"sort these numbers{how}: {said}",
            f"put in order{how}: {said}",
            f"{said}: sort that{how}",
            f"order the numbers {said}{how}",
        )
        return choose(rng, asks, held), ", ".join(map(str, sorted(numbers, reverse=down))) + "."
    parts = [capital(w) if rng.random() < 0 else w for w in words(rng, 3, 6)]
    if rng.random() < 0.3:
        parts = rng.sample(LISTS["people"][:-12], rng.choice((3, 4, 5)))
        parts = [p for p in parts if p.isalpha()] or ["Ben", "Anna"]
    said = rng.choice((", ", ", ", " ")).join(parts)
    asks = (
        f"sort: {said}",
        f"sort alphabetically: {said}",
        f"put in alphabetical order: {said}",
        f"sort these words: {said}",
        f"{said}: sort by the alphabet",
        f"bring these words into the order of the alphabet: {said}",
    )
    return choose(rng, asks, held), ", ".join(sorted(parts, key=str.lower)) + "."


def _reverse(rng: random.Random, held: bool) -> tuple[str, str]:
    parts = things(rng, 2, 6)
    said = ", ".join(parts)
    asks = (
        f"reverse this list: {said}",
        f"say this backwards: {said}",
        f"the other way round: {said}",
        f"turn the order of {said} around",
    )
    return choose(rng, asks, held), ", ".join(reversed(parts)) + "."


def _phrase(rng: random.Random) -> str:
    return rng.choice(PLAIN) if rng.random() < 0.5 else " ".join(words(rng, 1, 5))


def _upper(rng: random.Random, held: bool) -> tuple[str, str]:
    said = _phrase(rng)
    asks = (
        f"upper case: {said}",
        f"write in capitals: {said}",
        f"in capital letters: {said}",
        f"write {said} in upper case",
        f"make this upper-case: {said}",
        f"can you put this into capital letters: {said}",
    )
    return choose(rng, asks, held), said.upper()


def _lower(rng: random.Random, held: bool) -> tuple[str, str]:
    said = _phrase(rng)
    shown = rng.choice((said.upper(), said.title()))
    asks = (
        f"lower case: {shown}",
        f"write in small letters: {shown}",
        f"in lower case: {shown}",
        f"no capitals, please: {shown}",
        f"turn this into small letters: {shown}",
    )
    return choose(rng, asks, held), said


def _title(rng: random.Random, held: bool) -> tuple[str, str]:
    said = " ".join(words(rng, 2, 4))
    asks = (
        f"title case: {said}",
        f"write as a title: {said}",
        f"capitalise each word: {said}",
        f"a capital for every word: {said}",
    )
    return choose(rng, asks, held), said.title()


def _tidy(rng: random.Random, held: bool) -> tuple[str, str]:
    said = rng.choice(PLAIN)
    proper = re.sub(r"\bi\b", "I", said)
    proper = re.sub(r"\bmonday\b", "Monday", proper)
    asks = (
        f"fix the capitals and the full stop: {said}",
        f"correct: {said}",
        f"write this properly: {said}",
        f"tidy up this sentence: {said}",
        f"put capitals and a full stop where they belong: {said}",
    )
    return choose(rng, asks, held), f"{capital(proper)}."


def _spell(rng: random.Random, held: bool) -> tuple[str, str]:
    one = word(rng)
    asks = (
        f"spell {one}",
        f"how do you spell {one}?",
        f"spell the word {one}",
        f"spell out {one}, letter by letter",
        f"what are the letters of {one}?",
    )
    return choose(rng, asks, held), "-".join(one.upper()) + "."


def _letters(rng: random.Random, held: bool) -> tuple[str, str]:
    one = word(rng)
    asks = (
        f"how many letters has {one}?",
        f"how many letters are in {one}?",
        f"count the letters of {one}",
        f"{one}: how many letters?",
        f"of how many letters is the word {one} made?",
    )
    counted = ", ".join(f"{letter} {i}" for i, letter in enumerate(one, 1))
    return choose(rng, asks, held), f"{counted}: {one} has {len(one)} letters."


def _count_words(rng: random.Random, held: bool) -> tuple[str, str]:
    parts = words(rng, 2, 8)
    said = " ".join(parts)
    asks = (
        f"how many words: {said}",
        f"count the words: {said}",
        f"how many words are in this: {said}?",
        f"what is the number of words in: {said}",
    )
    counted = ", ".join(f"{one} {i}" for i, one in enumerate(parts, 1))
    return choose(rng, asks, held), f"{counted}: {len(parts)} words."


def _initial(rng: random.Random, held: bool) -> tuple[str, str]:
    one = word(rng)
    if rng.random() < 0.5:
        asks: tuple[str, ...] = (
            f"what is the first letter of {one}?",
            f"which letter does {one} begin with?",
            f"first letter of {one}?",
            f"{one} starts with which letter?",
        )
        return choose(rng, asks, held), f"{capital(one)} begins with {one[0].upper()}."
    asks = (
        f"what is the last letter of {one}?",
        f"which letter does {one} end with?",
        f"last letter of {one}?",
        f"{one} ends in which letter?",
    )
    return choose(rng, asks, held), f"{capital(one)} ends with {one[-1].upper()}."


def _acronym(rng: random.Random, held: bool) -> tuple[str, str]:
    parts = words(rng, 2, 5)
    said = " ".join(parts)
    asks = (
        f"first letters of: {said}",
        f"make an acronym: {said}",
        f"what are the first letters of these words: {said}?",
        f"acronym for {said}?",
        f"take the first letter of each word: {said}",
    )
    return choose(rng, asks, held), "".join(one[0].upper() for one in parts)


def _extract(rng: random.Random, held: bool) -> tuple[str, str]:
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


def _replace(rng: random.Random, held: bool) -> tuple[str, str]:
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


def _polite(rng: random.Random, held: bool) -> tuple[str, str]:
    said = rng.choice(DEMANDS)
    asks = (
        f"make this polite: {said}",
        f"say this politely: {said}",
        f"rewrite this more politely: {said}",
        f"a friendlier way to say: {said}",
        f"how do I put this nicely: {said}",
    )
    return choose(rng, asks, held), f"Could you please {said[0].lower() + said[1:]}?"


def _continue(rng: random.Random, held: bool) -> tuple[str, str]:
    kind = rng.randrange(5)
    many = rng.choice((3, 4))
    if kind == 0:
        start, step = rng.randrange(1, 40), rng.choice((1, 2, 3, 5, 10))
        parts = [str(start + i * step) for i in range(many + 3)]
    elif kind == 1:
        i = rng.randrange(7)
        parts = [DAYS[(i + j) % 7] for j in range(many + 3)]
    elif kind == 2:
        i = rng.randrange(12)
        parts = [MONTHS[(i + j) % 12] for j in range(many + 3)]
    elif kind == 3:
        i = rng.randrange(26 - many - 3)
        letters = "abcdefghijklmnopqrstuvwxyz"
        parts = list(letters[i : i + many + 3])
        parts = [p.upper() for p in parts] if rng.random() < 0.5 else parts
    else:
        pattern = words(rng, 2, 3)
        parts = (pattern * 4)[: many + 3]
        many = max(many, len(pattern) + 1)
        parts = (pattern * 4)[: many + 3]
    said = ", ".join(parts[:many])
    asks = (
        f"continue: {said}",
        f"what comes next: {said}?",
        f"go on: {said}, ...",
        f"continue the list: {said}",
        f"{said}, and so on: what are the next three?",
    )
    return choose(rng, asks, held), ", ".join(parts[many:]) + "."


def _group(rng: random.Random, held: bool) -> tuple[str, str]:
    name = rng.choice(list(GROUPS))
    one = rng.choice(GROUPS[name])
    if rng.random() < 0.4:
        members = rng.sample(GROUPS[name], rng.choice((3, 3, 4, 5)))
        count = {3: "three", 4: "four", 5: "five"}[len(members)]
        plural = name if name in ("furniture", "clothing") else f"{name}s"
        kinds = f"kinds of {plural}" if name in ("furniture", "clothing") else plural
        asks: tuple[str, ...] = (
            f"name {count} {kinds}",
            f"tell me {count} {kinds}",
            f"list {count} {kinds}",
            f"give me {count} {kinds}",
            f"do you know {count} {kinds}?",
        )
        return choose(rng, asks, held), f"{capital(joined(members))}."
    other = rng.choice([g for g in GROUPS if g != name and one not in GROUPS[g]])
    first, second = (name, other) if rng.random() < 0.5 else (other, name)

    def a(noun: str) -> str:
        return noun if noun in ("furniture", "clothing") else article(noun)

    if rng.random() < 0.4:
        odd = rng.choice(GROUPS[other])
        rest = rng.sample([m for m in GROUPS[name] if m not in GROUPS[other]], 3)
        mixed = [*rest, odd]
        rng.shuffle(mixed)
        said = ", ".join(mixed)
        asks = (
            f"which one is {a(other)}: {said}?",
            f"find the {other}: {said}",
            f"which of these is {a(other)}: {said}?",
            f"{said}: which is {a(other)}?",
        )
        return choose(rng, asks, held), f"{capital(odd)} is {a(other)}."
    asks = (
        f"is {one} {a(first)} or {a(second)}?",
        f"{one}: {first} or {second}?",
        f"what is {one}, {a(first)} or {a(second)}?",
        f"does {one} belong to {first} or {second}?",
    )
    return choose(rng, asks, held), f"{capital(one)} is {a(name)}."


def _pair(rng: random.Random, held: bool) -> tuple[str, str]:
    kind = rng.choice(list(PAIRS))
    a, b = rng.choice(PAIRS[kind])
    if kind == "opposites":
        a, b = (a, b) if rng.random() < 0.5 or a in ("young", "light", "find") else (b, a)
        asks: tuple[str, ...] = (
            f"what is the opposite of {a}?",
            f"opposite of {a}?",
            f"the opposite of {a}",
            f"which word is the contrary of {a}?",
        )
        return choose(rng, asks, held), f"The opposite of {a} is {b}."
    if kind == "plurals":
        asks = (
            f"what is the plural of {a}?",
            f"plural of {a}?",
            f"one {a}, two ...?",
            f"how do you say more than one {a}?",
        )
        return choose(rng, asks, held), f"The plural of {a} is {b}."
    if kind == "pasts":
        asks = (
            f"what is the past tense of {a}?",
            f"past of {a}?",
            f"past tense of {a}",
            f"today I {a}, yesterday I ...?",
        )
        return choose(rng, asks, held), f"The past tense of {a} is {b}."
    a, b = (a, b) if rng.random() < 0.5 else (b, a)
    asks = (
        f"what rhymes with {a}?",
        f"a rhyme for {a}?",
        f"find a rhyme for {a}",
        f"which word sounds like {a}?",
    )
    return choose(rng, asks, held), f"{capital(b)} rhymes with {a}."


def _email(rng: random.Random, held: bool) -> tuple[str, str]:
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


def _story(rng: random.Random, held: bool) -> tuple[str, str]:
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


def _repeat(rng: random.Random, held: bool) -> tuple[str, str]:
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
    _todo,
    _todo,
    _bullets,
    _unbullet,
    _sort,
    _sort,
    _reverse,
    _upper,
    _lower,
    _title,
    _tidy,
    _spell,
    _letters,
    _count_words,
    _initial,
    _acronym,
    _extract,
    _extract,
    _replace,
    _polite,
    _continue,
    _group,
    _group,
    _pair,
    _pair,
    _email,
    _story,
    _repeat,
)
EXACT: tuple[Task, ...] = tuple(task for task in dict.fromkeys(TASKS) if task not in (_group, _pair, _story))
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
