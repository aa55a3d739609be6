"""The corpus: the same for the same seed, and true in everything that can be checked."""

import random
import re
import subprocess
import sys

import pytest

from smallchat.training.corpus import (
    ALL,
    HOWTO,
    conversations,
    decline,
    deeds,
    facts,
    foreign,
    grammar,
    list_tasks,
    loose,
    mix,
    notes,
    numbers,
    passages,
    tasks,
    turns,
    word_tasks,
)
from smallchat.training.corpus.intents import DECLINE, read
from smallchat.training.corpus.source import lines

LEFT_OVER = re.compile(r"[{}]|<[a-z_]+\d*>|  | \?| ,(?!\S)|\|(?!numpy|ggml|NUMPY|GGML)")
SUM = re.compile(r"(\d+) (plus|minus|times|divided by) (\d+) is (\d+)(?:, remainder (\d+))?\.$")


def test_same_seed_same_corpus_other_seed_another():
    assert list(conversations(5, 40)) == list(conversations(5, 40))
    assert list(conversations(5, 40)) != list(conversations(6, 40))


def test_needs_no_torch():
    code = "import sys, smallchat.training.corpus; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_conversation_is_one_users_turn_after_another():
    for messages in conversations(2, 300):
        roles = [m.role for m in messages]
        if roles[0] == "system":
            roles.pop(0)
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles


def test_no_answer_shows_the_grammar():
    for messages in conversations(3, 2000):
        for m in messages:
            if m.role == "assistant":
                assert not LEFT_OVER.search(m.text), m.text
                assert m.text and m.text == m.text.strip()


def test_every_sum_is_right_and_so_is_every_step_of_it():
    rng = random.Random(4)
    seen = set()
    for _ in range(4000):
        for m in numbers.sums(rng):
            if m.role != "assistant":
                continue
            found = SUM.search(m.text)
            assert found, m.text
            a, b, given, rest = int(found[1]), int(found[3]), int(found[4]), int(found[5] or 0)
            wanted = {"plus": a + b, "minus": a - b, "times": a * b, "divided by": a // max(b, 1)}[found[2]]
            assert given == wanted, m.text
            assert found[2] != "divided by" or given * b + rest == a, m.text
            for step, value in re.findall(r"(?<![\d*+-])(\d+(?:[-+*]\d+)+)=(\d+)", m.text):
                assert _calculated(step) == int(value), m.text
            for x, y, product in re.findall(r"(\d+) times (\d+) is (\d+)", m.text):
                assert int(x) * int(y) == int(product), m.text
            seen.add(found[2])
    assert len(seen) == 4


def _calculated(step: str) -> int:
    if "*" in step:
        a, b = step.split("*")
        return int(a) * int(b)
    return sum(int(part) for part in re.findall(r"[-+]?\d+", step))


def test_a_plain_sum_is_asked_for_with_its_numbers():
    rng = random.Random(8)
    for _ in range(500):
        (asked, answered), result = numbers.one_sum(rng, held=False)
        found = SUM.search(answered.text)
        assert found, answered.text
        assert {found[1], found[3]} == set(re.findall(r"\d+", asked.text)), asked.text
        assert int(found[4]) == result


def test_held_sums_are_never_trained():
    rng = random.Random(9)
    for _ in range(3000):
        assert not numbers.is_held(*numbers.draw(rng, held=False))
    assert numbers.is_held(*numbers.draw(rng, held=True))


def test_the_calendar_and_the_comparisons_are_right():
    rng = random.Random(21)
    for _ in range(200):
        asked, said = numbers._calendar(rng, False)
        names = (
            numbers.DAYS if "day" in asked.replace("days", "day") and "month" not in asked else numbers.MONTHS
        )
        there, here = [name for name in re.findall(r"[A-Z][a-z]+", said) if name in names]
        words = {"two": 2, "three": 3}
        step = next((words[word] for word in said.split() if word in words), 1)
        step = step if "after" in said else -step
        assert names[(names.index(here) + step) % len(names)] == there, said
        asked, said = numbers._extreme(rng, False)
        given = [int(n) for n in re.findall(r"\d+", asked)]
        assert said == (
            f"The largest is {max(given)}." if "largest" in said else f"The smallest is {min(given)}."
        )
    assert [numbers.spelled(n) for n in (0, 13, 20, 21, 99)] == [
        "zero", "thirteen", "twenty", "twenty-one", "ninety-nine",
    ]  # fmt: skip


def test_the_answer_to_a_note_question_stands_in_the_note():
    rng = random.Random(10)
    for _ in range(3000):
        note = notes.Note(rng, rng.choice((1, 2, 3, 4, 5)))
        for stated in note.stated:
            _, answer, wanted = note.known(stated)
            assert wanted, f"the question gives its answer away: {answer}"
            for value in wanted:
                assert value.lower() in answer.lower()
                assert value.lower() in note.text.lower(), (value, note.text)


def test_no_value_stands_twice_in_a_note():
    rng = random.Random(11)
    for _ in range(500):
        note = notes.Note(rng, 5)
        people = [value for s in note.stated for name, value in s.slots.items() if name == "person"]
        assert len(people) == len(set(people)), note.text


def test_a_question_without_an_answer_is_not_one_of_a_stated_fact():
    rng = random.Random(12)
    for _ in range(2000):
        note = notes.Note(rng, 3)
        asked, answer = note.unknown()
        assert answer.startswith("The note does not say")
        known = {
            notes.fill(grammar.expand(rng, q), s.slots)
            for s in note.stated
            for a in s.fact.asks
            for q in a.questions
        }
        assert asked not in known, (asked, note.text)


def test_every_domain_can_be_asked_about():
    assert len(notes.DOMAINS) >= 12
    for domain in notes.DOMAINS:
        for fact in domain.facts:
            assert fact.asks, fact.wordings
            assert any(wording.endswith(".") for wording in fact.wordings), fact.wordings


@pytest.mark.parametrize("intent", ALL, ids=lambda intent: intent.name)
def test_an_intents_own_answers_hold_its_key_words(intent):
    rng = random.Random(13)
    for template in intent.answers:
        for _ in range(8):
            answer = grammar.expand(rng, template).lower()
            for group in intent.keys:
                assert any(word.lower() in answer for word in group), (answer, group)


def test_key_words_tell_intents_apart():
    """A judge that any answer satisfies would prove nothing."""
    rng = random.Random(14)
    for intent in HOWTO:
        others = [grammar.expand(rng, other.answers[0]).lower() for other in HOWTO if other is not intent]
        passed = sum(
            all(any(w.lower() in answer for w in group) for group in intent.keys) for answer in others
        )
        assert intent.keys
        assert passed <= len(others) // 5, (intent.name, passed)


def test_questions_for_the_evaluation_are_not_trained():
    for intent in (*ALL, DECLINE):
        assert not set(intent.held) & set(intent.asks)
    trained = {
        m.text.lower().rstrip("?")
        for messages in conversations(15, 3000)
        for m in messages
        if m.role == "user"
    }
    held = {question.lower().rstrip("?") for intent in ALL for question in intent.held if "{" not in question}
    assert len(held) > 60
    assert not held & trained


def test_what_is_asked_of_passages_stands_in_them_and_nowhere_else():
    rng = random.Random(31)
    for _ in range(1500):
        book = passages.Notebook(rng, rng.choice((1, 2, 3)), known=True)
        assert book.asked.wanted
        for value in book.asked.wanted:
            assert value.lower() in book.texts[book.mine].lower(), (book.asked, book.texts)
            assert value.lower() in book.asked.answer.lower()
        assert book.first(cite=True).endswith(f"[[{book.titles[book.mine]}]].")
        assert len(set(book.titles)) == len(book.titles)


def test_what_the_passages_do_not_say_is_not_in_them():
    rng = random.Random(32)
    for _ in range(1500):
        book = passages.Notebook(rng, rng.choice((1, 2, 3)), known=False)
        assert grammar.capital(book.fact.line) not in "\n".join(book.texts)
        assert book.first(cite=True).startswith("The notes do not say")


@pytest.mark.parametrize("kind", dict.fromkeys(facts.KINDS), ids=lambda kind: kind.__name__)
def test_a_neighbour_answers_another_question(kind):
    rng = random.Random(33)
    for _ in range(300):
        one = kind(rng)
        other = one.near(rng)
        assert one.line and other.line != one.line
        if isinstance(one, deeds.Event):
            same = [one.person == other.person, one.deed == other.deed, one.thing == other.thing]
            assert sum(same) <= 1, (one.line, other.line)
        elif isinstance(one, facts.Property):
            assert (one.entity, one.attribute) != (other.entity, other.attribute)


def test_notes_come_in_the_form_of_the_chat():
    rng = random.Random(34)
    for _ in range(50):
        messages = passages.asked_notes(rng)
        assert messages[0].text.startswith("Below are passages of my notes.")
        assert "]], lines " in messages[0].text


def test_tasks_are_done_right():
    rng = random.Random(35)
    for _ in range(200):
        asked, said = list_tasks.sort(rng, False)
        parts = said.rstrip(".").split(", ")
        if parts[0].isdigit():
            values = [int(part) for part in parts]
            assert values == sorted(values, reverse="large to small" in asked)
        else:
            assert parts == sorted(parts, key=str.lower)
        assert all(part in asked for part in parts)
        asked, said = word_tasks.upper(rng, False)
        assert said.isupper() and said.lower() in asked
        asked, said = word_tasks.letters(rng, False)
        counted = re.fullmatch(r".*: (\w+) has (\d+) letters\.", said)
        assert counted and len(counted[1]) == int(counted[2])
        asked, said = list_tasks.todo(rng, False)
        assert all(line.startswith("- ") and line[3:] in asked for line in said.splitlines())


def test_what_is_kept_for_the_evaluation_is_asked_otherwise():
    for task in tasks.EXACT:
        trained = {_form(task(random.Random(seed), False)[0]) for seed in range(60)}
        held = {_form(task(random.Random(seed), True)[0]) for seed in range(60)}
        assert held - trained, task.__name__


def _form(asked: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z-]+", asked.lower())[:2]) + tuple(
        re.findall(r"[a-z-]+", asked.lower())[-1:]
    )


def test_a_rule_changes_every_answer():
    rng = random.Random(36)
    for _ in range(200):
        prompt, change = turns.rule(rng)
        assert prompt
        assert change("An answer.") != "An answer."
    messages = turns.ruled(rng, mix.light)
    assert messages[0].role == "system"


def test_what_was_told_is_said_again():
    rng = random.Random(37)
    for _ in range(200):
        messages = turns.memory(rng, mix.light, held=True)
        answer = messages[-1].text
        told = " ".join(m.text for m in messages[:-2] if m.role == "user")
        value = re.sub(
            r"^(Your \w+( \w+)? (is|is called|is on)|You (live in|like)|The (code|number) is) ", "", answer
        )
        assert value.rstrip(".").removeprefix("on ").removeprefix("called ") in told, (answer, told)


def test_other_languages_are_answered_in_english():
    rng = random.Random(38)
    for _ in range(300):
        _, answer = foreign.foreign(rng)
        assert "only English" in answer.text
        held = foreign.foreign(rng, held=True)[0].text
        assert not any(
            held == sentence for known in foreign.SENTENCES.values() for sentence in known[: -foreign.HELD]
        )


def test_loosened_questions_keep_what_they_are_about():
    rng = random.Random(39)
    kept = 0
    for _ in range(500):
        asked = loose.loosen(rng, "how do I use --mem 8G with `smallchat`?")
        kept += "--mem" in asked and "8G" in asked and "`smallchat`" in asked
    assert kept == 500
    assert len({loose.loosen(rng, "how do I rename a conversation?") for _ in range(200)}) > 120


def test_declining_says_so():
    rng = random.Random(16)
    for _ in range(500):
        asked, answer = decline.decline(rng)
        assert any(words in answer.text for words in DECLINE.keys[0]), answer.text
        assert not LEFT_OVER.search(asked.text.replace("  ", " ")), asked.text


def test_a_file_of_intents_with_an_unknown_mark_is_refused(monkeypatch):
    monkeypatch.setattr("smallchat.training.corpus.intents.lines", lambda name: ["# x", "> what?"])
    with pytest.raises(ValueError, match="begins with no mark"):
        read("x.txt")


def test_remarks_and_empty_lines_are_no_text():
    for name in ("app.txt", "keys.txt", "words.txt", "notes.txt"):
        assert all(line and not line.startswith("%") for line in lines(name))


def test_a_typo_changes_one_word():
    rng = random.Random(17)
    for _ in range(200):
        before = "how do I regenerate the answer"
        after = grammar.typo(rng, before)
        assert len(before.split()) == len(after.split())
        assert sum(a != b for a, b in zip(before.split(), after.split(), strict=True)) <= 1
