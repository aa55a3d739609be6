"""The figures of the panel, as lines of text: what they say, how they fit, what is not known is not shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallchat.engine.events import (
    ON_DISK,
    READING,
    USED,
    Estimate,
    Memory,
    PromptProgress,
    Storage,
    Telemetry,
    Token,
)
from smallchat.tui.text import size, speed
from smallchat.tui.themes import THEMES
from smallchat.tui.widgets.panel import context, experts, memory, storage, what_if
from smallchat.tui.widgets.panel import speed as speeds
from smallchat.tui.widgets.panel.arrange import Arrangement, Shown, column, page
from smallchat.tui.widgets.panel.grid import COMING, COOL, DISK, HOT, IDLE, NOW, WARM, fit, levels, pack
from smallchat.tui.widgets.panel.lines import Line, length
from tests.support.scripted_engine import MIB, WHAT_IF, budgeted, telemetry

GIB = 1 << 30


def said(lines: list[Line]) -> list[str]:
    return ["".join(span for span, _ in line).rstrip() for line in lines]


def tokens(*milliseconds: float, waited: float = 0.0) -> list[Token]:
    """Tokens that took so long; each computed all but 2 ms of what it did not wait."""
    return [
        Token(1, "x", at + 1, ms / 1e3, 0.0, None, max(0.001, (ms - waited - 2) / 1e3), waited / 1e3)
        for at, ms in enumerate(milliseconds)
    ]


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0M"), (MIB // 2, "0.5M"), (128 * MIB, "128M"), (950 * MIB, "0.93G"), (12 << 30, "12.00G")],
)
def test_sizes_are_written_as_the_flag_takes_them(number: int, shown: str) -> None:
    assert size(number) == shown


# Memory and context


def test_memory_by_use_against_the_budget() -> None:
    lines = said(memory.lines(telemetry().memory, 60 * MIB, 40, brief=False))
    assert lines[0].endswith("0.92G of 1.00G")
    assert [lines[1].count(glyph) for glyph in "█▓▒░─"] == [9, 21, 2, 5, 3]
    assert "weights" in lines[2] and "540M" in lines[2] and "120M" in lines[3]
    assert said(memory.lines(telemetry().memory, 60 * MIB, 40, brief=True)) == lines[:2]


def test_memory_over_its_budget_stays_within_the_line() -> None:
    over = Memory(GIB, GIB, GIB, GIB, 4 * GIB, GIB)
    for width in (1, 7, 20, 37):
        assert length(memory.lines(over, GIB, width, brief=False)[1]) == width
    assert said(memory.lines(replace(over, budget=None), 0, 40, brief=True))[0].endswith(" 4.00G")


def test_a_narrow_panel_names_one_use_a_line() -> None:
    assert len(memory.lines(telemetry().memory, 0, 22, brief=False)) == 6


def test_context_is_one_line_where_a_bar_fits_beside_its_figures() -> None:
    assert len(context.lines(1204, 4096, 37)) == 1
    assert len(context.lines(1204, 4096, 22)) == 2
    assert said(context.lines(1204, 0, 37))[0].endswith("1,204 tokens")
    assert said(context.lines(None, 0, 37))[0].endswith("–")


# Speed, and the cause of slow tokens


def test_speeds_in_large_digits() -> None:
    assert (speed(24.13), speed(118.4), speed(99.96)) == ("24.1", "118", "100")
    assert [len(row) for row in speeds.big("24.1")] == [10, 10, 10]
    shown = said(speeds.lines(24.1, 84.2, None, [], 37, brief=False))
    assert shown[0] == "Speed   tokens a second · prompt 84.2"
    assert [row.rstrip() for row in speeds.big("24.1")] == shown[1:4]


def test_before_the_first_token_there_is_no_figure() -> None:
    assert not any(
        letter.isdigit() for letter in "".join(said(speeds.lines(0, 0, None, [], 37, brief=False)))
    )


def test_a_column_a_token_from_zero() -> None:
    assert said(speeds.sparkline([], 3, 5)) == [""] * 3
    assert said(speeds.sparkline(tokens(100, 50, 50, 50), 1, 4)) == ["▾███"]
    assert said(speeds.sparkline(tokens(*[100] * 11, 1), 2, 14)) == ["  " + "█" * 12] * 2
    assert said(speeds.sparkline(tokens(50, 50, 66, 50, 50), 1, 5)) == ["██▆██"]


def test_a_slow_token_is_marked_above_its_column_and_told_by_use() -> None:
    recent = [*tokens(28, 28, 28), *tokens(66, waited=29), *tokens(28, 28)]
    assert speeds.slow(recent) == [False, False, False, True, False, False]
    rows = speeds.sparkline(recent, 3, 6)
    assert said(rows) == ["███▾██", "███▂██", "██████"]
    assert [role for _, role in rows[0] if role == "alert"] == ["alert"]
    assert speeds.cause(recent, 60) == "▾ 66 ms: compute 35 · expert 29 · other 2"
    assert speeds.cause(recent, 37) == "▾ 66 ms: compute 35 expert 29 other 2"
    assert speeds.cause(recent, 22) == "▾ 66 ms, 29 waited"


def test_where_none_was_slow_the_last_token_is_told() -> None:
    assert speeds.cause(tokens(28, 30), 60) == "30 ms: compute 28 · expert 0 · other 2"


def test_an_engine_that_does_not_tell_its_time_gets_no_cause() -> None:
    quiet = [replace(token, compute_seconds=0.0) for token in tokens(28, 28, 90)]
    assert speeds.cause(quiet, 60) == ""
    assert speeds.slow(quiet)[-1]


def test_a_prompt_that_is_read_takes_the_last_line() -> None:
    shown = said(speeds.lines(24.1, 0, PromptProgress(128, 512, 0, 1.0), tokens(28, 90), 37, brief=True))
    assert shown[-1].startswith("reading prompt 128/512 3 s left ━")
    assert len(shown) == 3


# Disk, neurons and other budgets


def test_the_disk_and_what_was_read_ahead() -> None:
    assert said(storage.lines(budgeted(telemetry()).storage, 37, brief=False)) == [
        "Disk               1.20G read, 730M/s",
        "read ahead: 812 right (90%), 90 wrong",
    ]
    assert len(storage.lines(budgeted(telemetry()).storage, 37, brief=True)) == 1
    assert storage.lines(None, 37, brief=False) == []
    assert said(storage.lines(Storage(0, 0, 0, 0, 0, 0.0), 37, brief=False)) == ["Disk" + "0M read".rjust(33)]


def test_silent_neurons_only_where_they_were_measured() -> None:
    assert said(experts.neurons(budgeted(telemetry()), 37))[0].endswith("55% silent")
    assert experts.neurons(telemetry(), 37) == []


def test_other_budgets_as_a_table_with_the_present_one_marked() -> None:
    assert said(what_if.lines(WHAT_IF, 1024 * MIB, 37, tall=False)) == [
        "What if    768M ▶1.00G  2.00G  3.00G",
        "hit         55%    71%    93%   100%",
        "tok/s      15.8   24.1   27.4   28.3",
    ]
    assert what_if.lines((), GIB, 37, tall=False) == []
    unknown = Estimate(GIB, 0.5, 0.0)
    assert said(what_if.lines([unknown], None, 22, tall=False))[2].endswith("–")


@pytest.mark.parametrize("budget", [600 * MIB, 700 * MIB, 1536 * MIB, 9 * GIB, None])
@pytest.mark.parametrize("width", [15, 22, 37, 67])
def test_the_present_budget_is_always_among_those_shown(budget: int | None, width: int) -> None:
    first = said(what_if.lines(WHAT_IF, budget, width, tall=False))[0]
    assert ("▶" in first) == (budget is not None)
    assert len(first) <= width


def test_a_curve_has_a_line_for_every_budget() -> None:
    lines = what_if.lines(WHAT_IF, 1024 * MIB, 44, tall=True)
    assert len(lines) == len(WHAT_IF) + 1
    bars = [line.count("█") for line in said(lines)[1:]]
    assert bars == sorted(bars) and bars[-1] == 44 - 23
    assert {length(line) for line in lines} == {44}


# The map


def small_map() -> list[bytes]:
    """Two layers of four experts."""
    shown = replace(
        telemetry(2, 4),
        experts=bytes([ON_DISK, 1, USED, READING, 1, 1, 1, 9]),
        heat=bytes([200, 0, 255, 9, 1, 100, 255, 7]),
    )
    marks = levels(shown)
    return [marks[:4], marks[4:]]


def test_levels_tell_where_an_expert_is_and_how_often_it_was_used() -> None:
    assert small_map() == [bytes([DISK, IDLE, NOW, COMING]), bytes([COOL, WARM, HOT, DISK])]


def test_a_map_fits_by_letting_a_mark_stand_for_several_experts() -> None:
    rows = [bytes([DISK, IDLE, NOW, DISK])] * 4
    assert pack(rows, 4, 4) == (rows, 1, 1)
    assert pack(rows, 2, 4) == ([bytes([IDLE, NOW])] * 4, 2, 1)
    assert pack(rows, 4, 2) == (rows[:2], 1, 2)
    assert pack(rows, 1, 1) == ([bytes([NOW])], 4, 4)
    assert pack([], 4, 4) == ([], 1, 1)
    assert pack(rows, 0, 0) == ([], 1, 1)


def test_a_cell_of_the_map_names_its_expert_in_every_form() -> None:
    whole = fit(telemetry(), 70, 40)
    assert (whole.dense, whole.wide, whole.at(9, 5), whole.at(64, 5), whole.at(0, 32)) == (
        False,
        2,
        (5, 4),
        None,
        None,
    )
    dense = fit(telemetry(), 40, 16)
    assert (dense.dense, dense.height, dense.at(4, 5), dense.at(4, -1)) == (True, 16, (10, 4), None)
    packed = fit(telemetry(52, 64), 37, 20)
    assert (packed.together, packed.at(3, 2)) == (4, (8, 6))
    assert packed.lines((8, 6))[2].cursor == (3, 0)
    assert packed.lines((11, 7))[2].cursor == (3, 1)


@pytest.mark.parametrize("states", [b"", b"\x00"])
def test_odd_telemetry_is_no_fault(states: bytes) -> None:
    shown = replace(telemetry(0, 0), experts=states, heat=states)
    assert len(levels(shown)) == len(states)
    assert fit(shown, 10, 10).rows == ()


def test_an_expert_in_words() -> None:
    shown = telemetry()
    state, heat = shown.experts[5 * 32 + 3], shown.heat[5 * 32 + 3]
    assert (state, heat) == (1, 105)
    assert said([experts.expert(shown, 5, 3, 80)]) == [
        "layer 5 · expert 3 · in memory · used by 21% of recent tokens"
    ]
    assert said([experts.expert(shown, 5, 3, 37)]) == ["layer 5 · expert 3 · in memory · 21%"]
    never = replace(shown, heat=bytes(1024), experts=bytes([READING]) * 1024)
    assert said([experts.expert(never, 31, 31, 80)]) == ["layer 31 · expert 31 · reading · never used"]
    always = replace(shown, heat=b"\xff" * 1024)
    assert "used by 50% or more of recent tokens" in said([experts.expert(always, 0, 0, 80)])[0]


@pytest.mark.parametrize("no_color", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("width", [22, 37, 67])
def test_the_legend_names_all_states_at_every_width(width: int, dense: bool, no_color: bool) -> None:
    lines = experts.legend(width, dense, no_color)
    assert all(length(line) <= width for line in lines)
    assert all(word in " ".join(said(lines)) for word in ("disk", "reading", "memory"))
    glyphs = [span for line in lines for span, role in line if role not in ("quiet",) and span.strip()]
    if no_color:
        assert len(set(glyphs)) >= 4


# All together


@pytest.mark.parametrize("shape", [(32, 32), (52, 64), (2, 3)])
@pytest.mark.parametrize("arrange", [column, page])
@pytest.mark.parametrize(
    "size", [(37, 22), (37, 38), (22, 38), (67, 48), (118, 38), (76, 22), (37, 5), (8, 3)]
)
def test_every_line_has_its_place(shape: tuple[int, int], arrange: type, size: tuple[int, int]) -> None:
    width, height = size
    shown = Shown(budgeted(telemetry(*shape)), MIB, None, tuple(tokens(28, 28, 90)), (1, 1), False)
    arranged: Arrangement = arrange(shown, width, height)
    assert len(arranged.rows) <= height
    for row in arranged.rows:
        assert sum(wide for _, wide in row) == width
    assert arranged.grid is not None
    if height > 20:
        piece, _ = arranged.rows[arranged.top][-1]
        assert piece == arranged.grid.lines((1, 1))[0]


def test_what_is_not_known_takes_no_line() -> None:
    known = column(Shown(budgeted(telemetry())), 37, 60).rows
    unknown = column(Shown(telemetry()), 37, 60).rows
    lines = [row[0][0] for row in unknown if isinstance(row[0][0], tuple)]
    words = " ".join(said(lines))
    assert not any(word in words for word in ("Disk", "What if", "Neurons"))
    assert len(known) > len(unknown)


def test_a_server_has_no_experts_to_show() -> None:
    empty: Telemetry = replace(telemetry(0, 0), hit_rate=None)
    assert column(Shown(empty), 37, 38).grid is None
    assert page(Shown(empty), 118, 38).grid is None


def test_an_expert_that_another_model_does_not_have_is_not_looked_at() -> None:
    assert Shown(telemetry(), cursor=(31, 31)).at == (31, 31)
    shown = Shown(telemetry(2, 3), cursor=(31, 31))
    assert shown.at is None
    assert column(shown, 37, 38).rows == column(replace(shown, cursor=None), 37, 38).rows


def test_every_theme_has_every_colour_of_the_map() -> None:
    for theme in THEMES:
        assert set(THEMES[0].variables) == set(theme.variables)
