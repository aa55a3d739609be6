"""An examination of a model file on what was kept out of training: phrasings, names, numbers, ways of asking.

How-to answers are right when they hold the intent's key words; answers from notes when they hold every value
asked for (and, where the notes are given as the chat gives them, name the right note); sums when the result
is right; tasks when they are right to the letter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .corpus import decline, foreign, mix, notes, numbers, passages, tasks, turns
from .corpus.grammar import Intent, Message, capital, expand
from .corpus.intents import DECLINE, HOWTO, SMALLTALK

Answerer = Callable[[Sequence[Message]], str]
Judge = Callable[[str], bool]


@dataclass(frozen=True)
class Case:
    """A conversation up to a question, and a judge of the answer."""

    kind: str
    messages: tuple[Message, ...]
    right: Judge


def holds_keys(intent: Intent, answer: str) -> bool:
    """Whether an answer holds a word of every group of the intent."""
    return all(any(word.lower() in answer.lower() for word in group) for group in intent.keys)


def _holds(*wanted: str) -> Judge:
    return lambda answer: all(value.lower() in answer.lower() for value in wanted)


def _is(wanted: str) -> Judge:
    return lambda answer: answer.strip() == wanted


def _asked(kind: str, question: str, right: Judge) -> Case:
    return Case(kind, (Message("user", question),), right)


def _last(kind: str, messages: list[Message]) -> Case:
    """The last answer of a conversation, which must come out to the letter."""
    return Case(kind, tuple(messages[:-1]), _is(messages[-1].text))


def _of_intents(rng: random.Random, kind: str, intents: tuple[Intent, ...]) -> Iterator[Case]:
    for intent in intents:
        for held in intent.held if intent.keys else ():
            for asked in (capital(expand(rng, held)), expand(rng, held).rstrip("?").lower()):
                yield _asked(kind, asked, lambda answer, intent=intent: holds_keys(intent, answer))  # type: ignore[misc]


def _sums(rng: random.Random, kind: str, signs: str, count: int) -> Iterator[Case]:
    while count:
        a, b, sign = numbers.draw(rng, held=True)
        if sign in signs:
            count -= 1
            result = numbers.answer(a, b, sign).rsplit(" is ", 1)[1]
            asked = f"What is {a} {numbers.WORDS[sign]} {b}?"
            yield _asked(kind, asked, lambda answer, r=result: answer.endswith(f" {r}"))  # type: ignore[misc]


def _obeys(rng: random.Random) -> Case:
    prompt, change = turns.rule(rng, held=True)
    before, after = change("x").lower().split("x", 1) if change is str.upper else change("|").split("|")

    def right(answer: str) -> bool:
        shouted = change is not str.upper or answer == answer.upper()
        return bool(answer) and shouted and answer.startswith(before) and answer.endswith(after)

    question = mix.light(rng)[0]
    return Case("a system prompt is obeyed", (Message("system", prompt), question), right)


def cases(seed: int = 7) -> Iterator[Case]:
    """Every case of the examination, the same for the same seed."""
    rng = random.Random(seed)
    yield from _of_intents(rng, "how to use smallchat, explanations", HOWTO)
    yield from _of_intents(rng, "small talk", SMALLTALK)
    for _ in range(120):
        asked, wanted = notes.held_case(rng, known=True)
        yield _asked("a note in the message", asked, _holds(*wanted))
    for _ in range(60):
        asked, _none = notes.held_case(rng, known=False)
        yield _asked("… that does not say", asked, lambda answer: answer.startswith("The note does not say"))
    for _ in range(200):
        asked, values, source = passages.held_notes(rng, known=True)
        yield _asked("/notes: the right value", asked, _holds(*values))
        yield _asked("/notes: … and the right note named", asked, _holds(*values, f"[[{source}]]"))
    for _ in range(100):
        asked, _, _ = passages.held_notes(rng, known=False)
        yield _asked(
            "/notes: that do not say", asked, lambda answer: answer.startswith("The notes do not say")
        )
    for _ in range(40):
        yield _last("a note summarised", passages.summary(rng, held=True))
    yield from _sums(rng, "plus and minus", "+-", 100)
    yield from _sums(rng, "times", "*", 60)
    yield from _sums(rng, "divided by", "/", 40)
    for _ in range(100):
        yield _last("comparing, counting, calendar", numbers.quiz(rng, held=True))
    for _ in range(240):
        yield _last("little tasks on text", tasks.task(rng, held=True))
    for _ in range(60):
        yield _last("told before, asked later", turns.memory(rng, mix.light, held=True))
    for _ in range(40):
        yield _obeys(rng)
    for _ in range(20):
        yield _last("a name from the system prompt", turns.named(rng, held=True))
    for _ in range(60):
        asked = foreign.foreign(rng, held=True)[0].text
        yield _asked("another language", asked, _holds("only English"))
    declining = DECLINE.keys[0]
    for _ in range(60):
        asked = decline.decline(rng, held=True)[0].text
        yield _asked(
            "far-off questions declined", asked, lambda given: any(words in given for words in declining)
        )


def examine(answer: Answerer, show: int = 0) -> dict[str, tuple[int, int]]:
    """(right, asked) for every kind; prints up to `show` wrong answers of each."""
    figures: dict[str, tuple[int, int]] = {}
    wrong: dict[str, int] = {}
    before: tuple[tuple[Message, ...], str] = ((), "")
    for case in cases():
        # The same question may be judged twice.
        given = before[1] if case.messages == before[0] else answer(case.messages)
        before = case.messages, given
        right, asked = figures.get(case.kind, (0, 0))
        good = case.right(given)
        figures[case.kind] = right + good, asked + 1
        if not good and wrong.get(case.kind, 0) < show:
            wrong[case.kind] = wrong.get(case.kind, 0) + 1
            print(f"[{case.kind}] {case.messages[-1].text}\n    -> {given}")
    return figures


def examine_file(path: Path, show: int = 0, kernels: str = "auto") -> dict[str, tuple[int, int]]:
    """The figures of a GGUF, answering greedily in smallchat's own decoder, as it would in the chat."""
    from smallchat.engine import Engine
    from smallchat.errors import ContextError

    engine = Engine.load(str(path), kernels=kernels)

    def answer(messages: Sequence[Message]) -> str:
        turns_ = [{"role": m.role, "content": m.text} for m in messages]
        ids = engine.template.render(turns_, engine.tokenizer)
        try:
            return "".join(token.text for token in engine.generate(ids, 200, temperature=0.0, seed=0))
        except ContextError:  # longer than a smaller model reads
            return ""

    try:
        return examine(answer, show)
    finally:
        engine.close()
