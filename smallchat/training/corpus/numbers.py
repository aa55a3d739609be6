"""Sums, comparisons, counting, the calendar: asked in many ways, answered in one, worked out where needed.

The tokenizer has one token for each digit. Sums of one and two digits are answered at once; longer ones digit
by digit from the right, as on paper, and products by the places of the second number, since a model this
small can do each of these steps and not all of them at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from .grammar import Message, capital, casual, choose, expand, fill, question
from .loose import loosen
from .source import lines
from .words import LISTS

WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
SIGNS = tuple(WORDS)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
SMALL = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def _read(mark: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {sign: [] for sign in SIGNS}
    sign = ""
    for line in lines("sums.txt"):
        kind, text = line.split(" ", 1)
        if kind == "#":
            sign = text
        elif kind == mark:
            found[sign].append(text)
    return found


PLAIN, STORIES = _read("?"), _read("*")


def result(a: int, b: int, sign: str) -> int:
    """The result of one sum; a division without its remainder."""
    return {"+": a + b, "-": a - b, "*": a * b}[sign] if sign != "/" else a // b


def operands(rng: random.Random) -> tuple[int, int, str]:
    """Two numbers and a sign; never a negative result."""
    roll = rng.random()
    if roll < 0.12:
        return rng.randrange(0, 13), rng.randrange(0, 13), "*"
    if roll < 0.2:
        return rng.randrange(11, 100), rng.randrange(2, 10), "*"
    if roll < 0.24:
        return rng.randrange(11, 100), rng.randrange(11, 100), "*"
    if roll < 0.34:
        b = rng.randrange(1, 13)
        return b * rng.randrange(1, 13) + (rng.randrange(b) if rng.random() < 0.4 else 0), b, "/"
    if roll < 0.44:
        a, b = rng.randrange(0, 21), rng.randrange(0, 21)
    elif roll < 0.74:
        a, b = rng.randrange(10, 100), rng.randrange(2, 100)
    elif roll < 0.92:
        a, b = rng.randrange(100, 1000), rng.choice((rng.randrange(2, 100), rng.randrange(100, 1000)))
    else:
        a, b = rng.randrange(1000, 10000), rng.choice((rng.randrange(2, 1000), rng.randrange(1000, 10000)))
    if rng.random() < 0.55:
        return (a, b, "+") if rng.random() < 0.6 else (b, a, "+")
    return max(a, b), min(a, b), "-"


def is_held(a: int, b: int, sign: str) -> bool:
    """Whether a sum is kept for the evaluation: one in twenty of those of two numbers above nine."""
    return a > 9 and b > 9 and (a * 7 + b * 13 + ord(sign)) % 20 == 0


def draw(rng: random.Random, held: bool) -> tuple[int, int, str]:
    """Numbers from the trained or from the held-out part."""
    while True:
        a, b, sign = operands(rng)
        if is_held(a, b, sign) == held:
            return a, b, sign


def _columns(a: int, b: int, sign: str) -> str:
    """Digit by digit from the right: `7+5=12, 4+8+1=13, 3+5+1=9`; for minus with what is borrowed."""
    steps, carry = [], 0
    top, low = str(a)[::-1], str(b)[::-1]
    for place in range(max(len(top), len(low))):
        x = int(top[place]) if place < len(top) else 0
        y = int(low[place]) if place < len(low) else 0
        if sign == "+":
            total = x + y + carry
            steps.append(f"{x}+{y}{'+1' if carry else ''}={total}")
            carry = total // 10
        else:
            need = y + carry
            borrow = x < need
            steps.append(f"{x + 10 * borrow}-{y}{'-1' if carry else ''}={x + 10 * borrow - need}")
            carry = int(borrow)
    return ", ".join(steps)


def answer(a: int, b: int, sign: str) -> str:
    """The one form of every answer, with the work before the result where there is some."""
    said, given = f"{a} {WORDS[sign]} {b}", result(a, b, sign)
    if sign == "/":
        rest = a - given * b
        return f"{said} is {given}{f', remainder {rest}' if rest else ''}."
    if sign == "*" and max(a, b) > 12:
        a, b = (a, b) if a >= b else (b, a)
        parts = [int(digit) * 10**place for place, digit in enumerate(reversed(str(b))) if digit != "0"]
        if len(parts) == 1:
            tens, ones = a // 10 * 10, a % 10
            if not ones:
                return f"{said} is {given}."
            return f"{tens} times {b} is {tens * b}, {ones} times {b} is {ones * b}: {said} is {given}."
        # Of two digits each: every place of both.
        pieces = [(x, y) for x in (a // 10 * 10, a % 10) for y in (b // 10 * 10, b % 10) if x and y]
        shown = ", ".join(f"{x}*{y}={x * y}" for x, y in pieces)
        total, sums = 0, []
        for x, y in pieces:
            total += x * y
            sums.append(str(total))
        return f"{shown}; together {', '.join(sums)}: {said} is {given}."
    if sign in "+-" and max(a, b) > 99:
        return f"{_columns(a, b, sign)}: {said} is {given}."
    return f"{said} is {given}."


def one_sum(rng: random.Random, held: bool, begun: bool = False) -> tuple[list[Message], int]:
    """A sum with its answer, and the result."""
    a, b, sign = draw(rng, held)
    slots = {"a": str(a), "b": str(b), "p": rng.choice(LISTS["people"]), "t": rng.choice(LISTS["items"])}
    if rng.random() < 0.2 and not held and a > 1 and b > 0 and not (sign == "/" and a % b):
        asked = casual(rng, fill(expand(rng, rng.choice(STORIES[sign])), slots))
    elif begun and rng.random() < 0.3:
        asked = fill(
            rng.choice(("and <a> <s> <b>?", "now <a> <s> <b>", "<a> <s> <b>?")), slots | {"s": WORDS[sign]}
        )
    else:
        asked = question(rng, fill(rng.choice(PLAIN[sign]), slots))
    return [Message("user", asked), Message("assistant", answer(a, b, sign))], result(a, b, sign)


def sums(rng: random.Random, held: bool = False) -> list[Message]:
    """One to three sums, plain or as a story; the next may go on from the last result."""
    messages: list[Message] = []
    last = 0
    for _ in range(1 if held else rng.choice((1, 2, 2, 3))):
        if messages and rng.random() < 0.3 and 1 < last < 900:
            b = rng.randrange(2, 50)
            sign = rng.choice("+-") if last > b else "+"
            verb = {
                "+": ("and {} more?", "plus {}?", "add {} to that", "and if I add {}?"),
                "-": ("and {} less?", "minus {}?", "take {} away from that"),
            }
            if rng.random() < 0.2 and last < 100:
                b, sign = 2, "*"
                asked = rng.choice(("double that", "twice that?", "and the double of it?"))
            else:
                asked = rng.choice(verb[sign]).format(b)
            messages += [Message("user", casual(rng, asked)), Message("assistant", answer(last, b, sign))]
            last = result(last, b, sign)
        else:
            made, last = one_sum(rng, held, bool(messages))
            messages += made
    return messages


def spelled(n: int) -> str:
    """A number below 100 in words."""
    if n <= 20:
        return SMALL[n]
    return TENS[n // 10] + (f"-{SMALL[n % 10]}" if n % 10 else "")


def _number(rng: random.Random) -> int:
    return rng.choice(
        (rng.randrange(1, 20), rng.randrange(10, 100), rng.randrange(100, 1000), rng.randrange(1000, 10000))
    )


Maker = Callable[[random.Random, bool], tuple[str, str]]


def _compare(rng: random.Random, held: bool) -> tuple[str, str]:
    a = _number(rng)
    b = rng.choice((_number(rng), a + rng.choice((-1, 1)) * rng.choice((1, 9, 10, 90))))
    if a == b or b < 0:
        b = a + 1
    big = rng.random() < 0.5
    word = rng.choice(("bigger", "larger", "greater", "higher") if big else ("smaller", "lower", "less"))
    asks = (
        f"which is {word}, {a} or {b}?",
        f"what is {word}: {a} or {b}?",
        f"{a} or {b}, which is {word}?",
        f"which number is {word}, {a} or {b}?",
        f"tell me which of {a} and {b} is {word}",
    )
    more, less = max(a, b), min(a, b)
    said = f"{more} is {word} than {less}." if big else f"{less} is {word} than {more}."
    return choose(rng, asks, held), said


def _count(rng: random.Random, held: bool) -> tuple[str, str]:
    start, many, step = rng.randrange(1, 60), rng.randrange(3, 12), rng.choice((1, 1, 1, 2, 5, 10))
    down = rng.random() < 0.35
    numbers = [start + i * step for i in range(many)]
    if down:
        numbers.reverse()
    a, b = numbers[0], numbers[-1]
    by = f" in steps of {step}" if step > 1 else ""
    way = "down " if down else ""
    asks = (
        f"count {way}from {a} to {b}{by}",
        f"please count {way}from {a} to {b}{by}",
        f"can you count {way}from {a} to {b}{by}?",
        f"list the numbers {way}from {a} to {b}{by}",
        f"I want you to count {way}from {a} to {b}{by}",
    )
    return choose(rng, asks, held), ", ".join(map(str, numbers)) + "."


def _parity(rng: random.Random, held: bool) -> tuple[str, str]:
    n = _number(rng)
    kind = "odd" if n % 2 else "even"
    asks = (
        f"is {n} {rng.choice(('odd', 'even'))}?",
        f"is {n} even or odd?",
        f"is {n} odd or even?",
        f"even or odd: {n}?",
    )
    return choose(rng, asks, held), f"{n} is {kind}."


def _half(rng: random.Random, held: bool) -> tuple[str, str]:
    n = rng.randrange(1, 100)
    if rng.random() < 0.5:
        n *= 2
        asks: tuple[str, ...] = (
            f"what is half of {n}?",
            f"half of {n}?",
            f"halve {n}",
            f"how much is half of {n}?",
        )
        return choose(rng, asks, held), f"Half of {n} is {n // 2}."
    asks = (f"what is twice {n}?", f"double {n}", f"what is the double of {n}?", f"how much is {n} doubled?")
    return choose(rng, asks, held), f"Twice {n} is {2 * n}."


def _next(rng: random.Random, held: bool) -> tuple[str, str]:
    n = _number(rng)
    if rng.random() < 0.5:
        asks: tuple[str, ...] = (
            f"what comes after {n}?",
            f"which number comes after {n}?",
            f"what number follows {n}?",
            f"the number after {n}?",
        )
        return choose(rng, asks, held), f"{n + 1} comes after {n}."
    asks = (
        f"what comes before {n}?",
        f"which number comes before {n}?",
        f"the number before {n}?",
        f"what is right before {n}?",
    )
    return choose(rng, asks, held), f"{n - 1} comes before {n}."


def _words(rng: random.Random, held: bool) -> tuple[str, str]:
    n = rng.randrange(0, 100)
    if rng.random() < 0.5:
        asks: tuple[str, ...] = (
            f"write {n} in words",
            f"how do you spell {n}?",
            f"{n} in words?",
            f"what is {n} as a word?",
            f"spell the number {n}",
        )
        return choose(rng, asks, held), f"{n} is {spelled(n)}."
    word = spelled(n)
    asks = (
        f"write {word} as a number",
        f"what number is {word}?",
        f"{word} in digits?",
        f"which number is called {word}?",
    )
    return choose(rng, asks, held), f"{capital(word)} is {n}."


def _calendar(rng: random.Random, held: bool) -> tuple[str, str]:
    names, kind = rng.choice(((DAYS, "day"), (MONTHS, "month")))
    i, step = rng.randrange(len(names)), rng.choice((1, 1, 1, 2, 3))
    here = names[i]
    many = "" if step == 1 else f"{SMALL[step]} {kind}s "
    if rng.random() < 0.6:
        there = names[(i + step) % len(names)]
        asks: tuple[str, ...] = (
            f"what {kind} comes {many}after {here}?",
            f"which {kind} is {many}after {here}?",
            f"{many}after {here}, what {kind} is it?",
            f"tell me which {kind} is {many}after {here}",
        )
        return choose(rng, asks, held), f"{there} comes {many}after {here}."
    there = names[(i - step) % len(names)]
    asks = (
        f"what {kind} comes {many}before {here}?",
        f"which {kind} is {many}before {here}?",
        f"{many}before {here}, what {kind} is it?",
        f"tell me which {kind} is {many}before {here}",
    )
    return choose(rng, asks, held), f"{there} comes {many}before {here}."


def _lengths(rng: random.Random, held: bool) -> tuple[str, str]:
    i = rng.randrange(12)
    asks = (
        f"how many days has {MONTHS[i]}?",
        f"how many days are in {MONTHS[i]}?",
        f"how long is {MONTHS[i]}?",
        f"what is the number of days in {MONTHS[i]}?",
    )
    extra = ", and 29 in a leap year" if i == 1 else ""
    return choose(rng, asks, held), f"{MONTHS[i]} has {LENGTHS[i]} days{extra}."


UNITS = (
    ("minute", "hour", 60),
    ("second", "minute", 60),
    ("hour", "day", 24),
    ("day", "week", 7),
    ("month", "year", 12),
    ("metre", "kilometre", 1000),
    ("gram", "kilogram", 1000),
    ("centimetre", "metre", 100),
    ("cent", "euro", 100),
    ("piece", "dozen", 12),
)


def _units(rng: random.Random, held: bool) -> tuple[str, str]:
    small, large, many = rng.choice(UNITS)
    n = rng.choice((1, 1, 2, 3, 4, 5, 10))
    name = f"{large}s" if large not in ("dozen",) else large
    what = f"{'an' if large == 'hour' else 'a'} {large}" if n == 1 else f"{n} {name}"
    be = "is" if n == 1 else "are"
    asks = (
        f"how many {small}s are in {what}?",
        f"how many {small}s has {what}?" if n == 1 else f"{n} {name}: how many {small}s?",
        f"how many {small}s {be} {what}?",
        f"what {be} {what} in {small}s?",
    )
    return choose(rng, asks, held), f"{capital(what)} {be} {n * many} {small}s."


def _extreme(rng: random.Random, held: bool) -> tuple[str, str]:
    numbers = rng.sample(range(1, rng.choice((20, 100, 1000))), rng.choice((3, 3, 4, 5)))
    said = ", ".join(map(str, numbers))
    if rng.random() < 0.5:
        asks: tuple[str, ...] = (
            f"what is the largest of {said}?",
            f"which is the biggest: {said}?",
            f"the largest of {said}?",
            f"pick the biggest number: {said}",
        )
        return choose(rng, asks, held), f"The largest is {max(numbers)}."
    asks = (
        f"what is the smallest of {said}?",
        f"which is the smallest: {said}?",
        f"the lowest of {said}?",
        f"pick the smallest number: {said}",
    )
    return choose(rng, asks, held), f"The smallest is {min(numbers)}."


def _total(rng: random.Random, held: bool) -> tuple[str, str]:
    numbers = [rng.randrange(1, 30) for _ in range(rng.choice((3, 3, 4)))]
    said = rng.choice((" + ", " plus ")).join(map(str, numbers))
    total, steps = numbers[0], []
    for n in numbers[1:]:
        steps.append(f"{total}+{n}={total + n}")
        total += n
    asks = (
        f"what is {said}?",
        f"{said}?",
        f"add {', '.join(map(str, numbers))}",
        f"{said} =",
        f"what is the sum of {', '.join(map(str, numbers))}?",
    )
    return choose(rng, asks, held), f"{', '.join(steps)}: the sum is {total}."


MAKERS: tuple[Maker, ...] = (
    _compare,
    _count,
    _parity,
    _half,
    _next,
    _words,
    _calendar,
    _lengths,
    _units,
    _extreme,
    _total,
)


def quiz(rng: random.Random, held: bool = False) -> list[Message]:
    """One to three small questions about numbers and the calendar."""
    messages: list[Message] = []
    for _ in range(1 if held else rng.choice((1, 1, 2, 3))):
        asked, said = rng.choice(MAKERS)(rng, held)
        if not held and rng.random() < 0.3:
            asked = loosen(rng, asked, frames=False)
        messages += [
            Message("user", capital(asked) if held else casual(rng, asked)),
            Message("assistant", said),
        ]
    return messages
