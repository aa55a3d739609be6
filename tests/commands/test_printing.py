"""JSON that a terminal cannot obey, and that means the same."""

from __future__ import annotations

import json

import pytest

from smallchat.commands.printing import escaped, print_json

HOSTILE = "a\x07\x1b[31m\x7f\x9b31m\u202eb\u2028\ud800\U000e0001 \n\t你 🍎"


def test_no_character_steers_the_terminal_and_none_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: [HOSTILE]})
    told = capsys.readouterr().out
    assert told.endswith("\n")
    assert told[:-1].isprintable()
    assert "你 🍎" in told
    assert json.loads(told) == {HOSTILE: [HOSTILE]}


def test_lines_of_json_stay_lines() -> None:
    text = json.dumps({"a": HOSTILE, "b": 1}, ensure_ascii=False, indent=1)
    assert escaped(text).count("\n") == text.count("\n") == 3
    assert json.loads(escaped(text)) == json.loads(text)
