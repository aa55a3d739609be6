"""The corpus: the same for the same seed, and true in everything that can be checked."""

import random
import re
import subprocess
import sys

import pytest

from smallchat.training.corpus import ALL, HOWTO, conversations, decline, grammar, notes, sums
from smallchat.training.corpus.intents import DECLINE, read
from smallchat.training.corpus.source import lines

LEFT_OVER = re.compile(r"[{}]|<[a-z_]+\d*>|  | \?| ,(?!\S)|\|(?!numpy|ggml)")
SUM = re.compile(r"^(\d+) (plus|minus|times) (\d+) is (\d+)\.$")


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
                assert m.text == m.text.strip()
                assert m.text[-1] in ".!?", m.text


def test_every_sum_is_right():
    seen = set()
    for messages in conversations(4, 3000):
        for m in messages:
            found = SUM.match(m.text) if m.role == "assistant" else None
            if found:
                a, b, given = int(found[1]), int(found[3]), int(found[4])
                wanted = {"plus": a + b, "minus": a - b, "times": a * b}[found[2]]
                assert given == wanted, m.text
                seen.add(found[2])
    assert seen == {"plus", "minus", "times"}


def test_a_sum_is_asked_for_with_its_numbers():
    rng = random.Random(8)
    for _ in range(500):
        messages = sums.sums(rng)
        for asked, answered in zip(messages[::2], messages[1::2], strict=True):
            found = SUM.match(answered.text)
            assert found, answered.text
            assert {found[1], found[3]} == set(re.findall(r"\d+", asked.text)), asked.text


def test_held_sums_are_never_trained():
    rng = random.Random(9)
    for _ in range(3000):
        assert not sums.is_held(*sums.draw(rng, held=False))
    assert sums.is_held(*sums.draw(rng, held=True))


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
