"""The live panel: its figures are those of the telemetry, at every size and without colour."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from smallchat.engine.events import Memory
from smallchat.tui.text import size, speed
from smallchat.tui.widgets.panel import experts, memory
from smallchat.tui.widgets.panel.experts import COOL, DISK, HOT, IDLE, NOW, WARM, ExpertMap, fit, levels
from smallchat.tui.widgets.panel.panel import Panel
from smallchat.tui.widgets.panel.speed import big, sparkline
from tests.support.scripted_engine import MIB, telemetry
from tests.tui.running import Running, running


@pytest.fixture(autouse=True)
def own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "own_memory", lambda: 60 * MIB)


def small_map() -> list[bytes]:
    """Two layers of three experts."""
    shown = replace(
        telemetry(2, 3),
        experts=bytes([0, 1, 2, 1, 1, 1]),
        heat=bytes([200, 0, 255, 1, 100, 255]),
    )
    marks = levels(shown)
    return [marks[:3], marks[3:]]


async def panel(run: Running, layers: int = 32, count: int = 32) -> ExpertMap:
    run.engine.emit(telemetry(layers, count), 0)
    await run.shows(f"{layers} × {count}")
    await run.settle()
    return run.app.screen.query_one(ExpertMap)


def test_levels_tell_where_an_expert_is_and_how_often_it_was_used() -> None:
    assert small_map() == [bytes([DISK, IDLE, NOW]), bytes([COOL, WARM, HOT])]


def test_a_map_fits_by_letting_a_mark_stand_for_several_experts() -> None:
    rows = [bytes([DISK, IDLE, NOW, DISK])] * 4
    assert fit(rows, 4, 4) == (rows, 1)
    assert fit(rows, 2, 4) == ([bytes([IDLE, NOW])] * 4, 2)
    assert fit(rows, 4, 2) == (rows[:2], 2)
    assert fit(rows, 1, 1) == ([bytes([NOW])], 16)
    assert fit([], 4, 4) == ([], 1)
    assert fit(rows, 0, 0) == ([], 1)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0M"), (MIB // 2, "0.5M"), (128 * MIB, "128M"), (950 * MIB, "0.93G"), (12 << 30, "12.00G")],
)
def test_sizes_are_written_as_the_flag_takes_them(number: int, shown: str) -> None:
    assert size(number) == shown


def test_speeds_and_columns() -> None:
    assert (speed(24.13), speed(118.4), speed(99.96)) == ("24.1", "118", "100")
    assert [len(row) for row in big("24.1")] == [10, 10, 10]
    assert sparkline([], 3) == ["", "", ""]
    assert sparkline([4.0, 8.0, 8.0, 8.0], 1) == ["▄███"]
    assert sparkline([8.0] * 11 + [800.0], 2) == ["█" * 12, "█" * 12]


async def test_before_the_first_telemetry_there_are_no_figures() -> None:
    async with running(ready=False) as run:
        await run.shows("Memory", "Speed", "Context", "Experts")
        right = "\n".join(line[81:] for line in run.screen.split("\n")[1:])
        assert not re.search(r"\d", right)


async def test_every_figure_comes_from_the_telemetry() -> None:
    async with running() as run:
        await panel(run)
        # 884 MiB of the worker and 60 MiB of the screen
        await run.shows(
            "0.92G of 1.00G", "weights   220M", "experts   540M", "KV cache   64M", "rest      120M"
        )
        await run.shows("prompt 84.2 tok/s", "1,204 of 4,096", "hit 71%")
        await run.shows(*(row.strip() for row in big("24.1")))


async def test_without_a_budget_or_a_hit_rate_there_is_none() -> None:
    async with running() as run:
        shown = replace(telemetry(), memory=Memory(1, 2, 3, 4, 200 * MIB, None), hit_rate=None)
        run.engine.emit(shown, 0)
        await run.shows("260M")
        assert " of 1.00G" not in run.screen
        assert "hit" not in run.screen


async def test_the_map_shows_every_expert_where_it_fits() -> None:
    async with running(size=(120, 60)) as run:
        widget = await panel(run)
        assert widget.together == 1
        assert widget.size.height == 32
        assert set("·░▒▓█") <= set(run.screen)


async def test_a_dense_map_draws_two_layers_a_line() -> None:
    async with running(size=(120, 40)) as run:
        widget = await panel(run)
        assert (widget.together, widget.size.height) == (1, 16)
        assert "▀" * 32 in run.screen


async def test_the_large_model_fits_a_broad_terminal_and_is_packed_in_a_narrow_one() -> None:
    async with running(size=(180, 50)) as run:
        widget = await panel(run, 52, 64)
        assert (widget.together, widget.size.height) == (1, 26)
        await run.pilot.resize_terminal(120, 40)
        await run.shows("4 a mark")
        await run.pilot.resize_terminal(180, 50)
        await run.shows_no_more("a mark")


async def test_the_map_redraws_only_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as run:
        widget = await panel(run)
        drawn: list[int] = []
        original = ExpertMap.render_line
        monkeypatch.setattr(ExpertMap, "render_line", lambda self, y: (drawn.append(y), original(self, y))[1])
        before = telemetry()
        changed = bytearray(before.experts)
        changed[5 * 32 + 3] ^= 1
        run.engine.emit(replace(before, experts=bytes(changed)), 0)
        await run.until(lambda: drawn)
        await run.settle()
        assert set(drawn) == {2}
        assert widget.size.height == 16


async def test_without_colour_the_map_still_tells_its_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(size=(120, 40)) as run:
        await panel(run)
        marks = {line[83:115] for line in run.screen.split("\n")[17:33]}
        assert set("▀▄▒") <= set("".join(marks))
        colours = {
            segment.style.color.triplet
            for strip in run.app.screen._compositor.render_strips()
            for segment in strip.apply_filter(run.app._filters[-1], run.app.screen.background_colors[1])
            if segment.style and segment.style.color and segment.style.color.triplet
        }
        assert all(max(colour) - min(colour) <= 1 for colour in colours)


async def test_the_panel_hides_where_it_is_narrow_and_f3_brings_it() -> None:
    async with running(size=(80, 24)) as run:
        await panel_hidden(run)
        await run.pilot.press("f3")
        run.engine.emit(telemetry(), 0)
        await run.shows("Memory", "Speed", "24.1 tok/s", "Context", "Experts", "2 a mark", "this token")
        await run.pilot.press("f3")
        await panel_hidden(run)


async def panel_hidden(run: Running) -> None:
    await run.shows_no_more("Memory")
    assert not run.app.screen.query_one(Panel).shown


async def test_f3_hides_the_panel_where_it_is_wide() -> None:
    async with running() as run:
        await run.shows("Memory")
        await run.pilot.press("f3")
        await panel_hidden(run)
        await run.pilot.press("f3")
        await run.shows("Memory")


async def test_changing_the_theme_redraws_the_map() -> None:
    async with running(size=(120, 60)) as run:
        widget = await panel(run)
        before = widget.render_line(0)
        run.app.theme = "smallchat-light"
        await run.until(lambda: widget.render_line(0) != before)


@pytest.mark.parametrize("states", [b"", b"\x00"])
def test_odd_telemetry_is_no_fault(states: bytes) -> None:
    shown = replace(telemetry(0, 0), experts=states, heat=states)
    assert len(levels(shown)) == len(states)
    assert experts.fit([states] if states else [], 10, 10)[1] == 1
