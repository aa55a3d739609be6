"""Names made from the first message."""

from __future__ import annotations

import pytest

from smallchat.chat.titles import TITLE_LENGTH, title_of


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("  first\n\n line\tof it ", "First line of it"),
        ("When do I prune the apple tree? And the pear?", "When do I prune the apple tree?"),
        ("Hi! Could you please tell me why the sky is blue?", "Why the sky is blue?"),
        ("hello there, I need to know what a monad is.", "What a monad is"),
        ("Please help me to write a letter to my landlord", "Write a letter to my landlord"),
        ("Kannst du bitte den Brief kürzen?", "Den Brief kürzen?"),
        ("你好,请问什么时候修剪苹果树?谢谢", "什么时候修剪苹果树?"),
        ("修剪苹果树要在什么时候?", "修剪苹果树要在什么时候?"),
        ("# Plan\n\n- **one**\n- two", "Plan one two"),
        ("What does this do?\n```python\nprint(1)\n```", "What does this do?"),
        ("```python\nprint(1)\n```", "Python print(1)"),
        ("hello", "Hello"),
        ("Hi!", "Hi!"),
        ("No. I meant the other tree.", "No. I meant the other tree"),
        ("Version 1.2 or 1.3, which one?", "Version 1.2 or 1.3, which one?"),
    ],
)
def test_a_name_is_the_matter_of_the_first_sentence(said: str, title: str) -> None:
    assert title_of(said) == title


@pytest.mark.parametrize(
    "text", ["long " * 50, "x" * 500, "长" * 500, "please " * 200, "hi " * 200, "```" * 99]
)
def test_a_name_is_short(text: str) -> None:
    assert 0 < len(title_of(text)) <= TITLE_LENGTH


def test_a_long_name_ends_with_a_whole_word() -> None:
    assert title_of("word " * 30) == f"W{'ord w' * 11}ord…"
