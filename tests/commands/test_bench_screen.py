"""`bench --screen` on the real app in a real pseudo-terminal, with little of everything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from smallchat.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal")


def test_the_app_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from smallchat.commands.screen import command, measure

    monkeypatch.setattr(measure, "STARTS", 1)
    monkeypatch.setattr(measure, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(measure, "KEYS", 6)
    monkeypatch.setattr(measure, "LONGEST", 40)
    command.run(Settings(), 1, None, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert 0 < facts["first_frame_s"] < 30
    assert 0 < facts["key_idle_s"] <= facts["key_idle_worst_s"] < 10
    assert (facts["open_messages"], facts["app_tokens_per_s"]) == (40, None)
    assert 0 < facts["open_s"] < 30


def test_rounds_come_together_as_medians_and_worst_keys():
    from smallchat.commands.screen.measure import together

    measured = [
        {"app_tokens_per_s": speed, "key_writing_worst_s": worst, "decode_share": share}
        for speed, worst, share in ((30.0, 0.01, 0.9), (36.0, 0.04, 0.95), (31.0, 0.02, 0.93))
    ]
    facts = together([{"app_tokens_per_s": None}, *measured])
    assert facts == {
        "app_tokens_per_s": 31.0,
        "key_writing_worst_s": 0.04,
        "decode_share": 0.93,
        "decode_shares": [0.9, 0.95, 0.93],
    }
    assert together([{"app_tokens_per_s": None}]) == {"app_tokens_per_s": None}


def test_text_is_found_across_colours_and_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from smallchat.commands.screen.terminal import Terminal
    from smallchat.errors import EngineError

    (tmp_path / "typer.py").write_text("raise SystemExit('the app imports nothing from here')")
    monkeypatch.chdir(tmp_path)
    with Terminal(["--version"], {"SMALLCHAT_HOME": str(tmp_path)}) as app:
        assert app.wait("smallchat 0.") > app.started
        with pytest.raises(EngineError, match="did not show"):
            app.wait("something else", patience=0.1)
