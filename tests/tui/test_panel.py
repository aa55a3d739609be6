"""The live panel in the app: it shows the telemetry, at every size and without colour, and draws little."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from smallchat.engine.events import Memory
from smallchat.tui.widgets.panel import memory
from smallchat.tui.widgets.panel.grid import Grid
from smallchat.tui.widgets.panel.panel import Panel
from smallchat.tui.widgets.panel.speed import big
from tests.support.scripted_engine import MIB, budgeted, telemetry
from tests.tui.running import Running, running


@pytest.fixture(autouse=True)
def own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "own_memory", lambda: 60 * MIB)


def panel(run: Running) -> Panel:
    return run.app.screen.query_one(Panel)


def grid(run: Running) -> Grid:
    shown = panel(run)._arrangement.grid
    assert shown is not None
    return shown


async def show_map(run: Running, layers: int = 32, count: int = 32) -> Grid:
    run.engine.emit(telemetry(layers, count), 0)
    await run.shows(f"{layers} × {count}")
    await run.settle()
    return grid(run)


async def test_before_the_first_telemetry_there_are_no_figures() -> None:
    async with running(ready=False) as run:
        await run.shows("Memory", "Speed", "Context", "Experts")
        right = "\n".join(line[81:] for line in run.screen.split("\n")[1:])
        assert not re.search(r"\d", right)


async def test_every_figure_comes_from_the_telemetry() -> None:
    async with running() as run:
        await run.ask("hm?")
        run.engine.say(*"abc", seconds=0.028)
        run.engine.say("d", seconds=0.066, waited=0.030)
        run.engine.emit(budgeted(telemetry()), 0)
        # 884 MiB of the worker and 60 MiB of the screen
        await run.shows(
            "0.92G of 1.00G", "weights    220M", "experts    540M", "KV cache    64M", "rest       120M"
        )
        await run.shows("prompt 84.2", "1,204 of 4,096", "hit 71%", "55% silent")
        await run.shows(*(row.strip() for row in big("24.1")))
        await run.shows("▾ 66 ms: compute 32 expert 30 other 4")
        await run.shows("1.20G read, 730M/s", "812 right (90%), 90 wrong", "▶1.00G", "71%    93%   100%")


async def test_without_a_budget_or_a_hit_rate_there_is_none() -> None:
    async with running() as run:
        shown = replace(telemetry(), memory=Memory(1, 2, 3, 4, 200 * MIB, None), hit_rate=None)
        run.engine.emit(shown, 0)
        await run.shows("260M")
        assert " of 1.00G" not in run.screen
        assert not any(word in run.screen for word in ("hit", "Disk", "What if", "Neurons"))


async def test_the_map_shows_every_expert_where_it_fits() -> None:
    async with running(size=(120, 60)) as run:
        shown = await show_map(run)
        assert (shown.together, shown.height) == (1, 32)
        assert set("·░▒▓█") <= set(run.screen)


async def test_a_dense_map_draws_two_layers_a_line() -> None:
    async with running(size=(120, 40)) as run:
        shown = await show_map(run)
        assert (shown.together, shown.height) == (1, 16)
        assert "▀" * 32 in run.screen


async def test_the_large_model_fits_a_broad_terminal_and_is_packed_in_a_narrow_one() -> None:
    async with running(size=(180, 50)) as run:
        shown = await show_map(run, 52, 64)
        assert (shown.together, shown.height) == (1, 26)
        await run.pilot.resize_terminal(120, 40)
        await run.shows("2 a mark")
        await run.pilot.resize_terminal(180, 50)
        await run.shows_no_more("a mark")


async def test_only_lines_that_changed_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as run:
        await show_map(run)
        drawn: list[int] = []
        original = Panel.render_line
        monkeypatch.setattr(Panel, "render_line", lambda self, y: (drawn.append(y), original(self, y))[1])
        before = telemetry()
        changed = bytearray(before.experts)
        changed[5 * 32 + 3] ^= 1
        run.engine.emit(replace(before, experts=bytes(changed)), 0)
        await run.until(lambda: drawn)
        await run.settle()
        assert set(drawn) == {panel(run)._arrangement.top + 2}


async def test_without_colour_the_map_still_tells_its_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(size=(120, 40)) as run:
        run.engine.emit(budgeted(telemetry()), 0)
        await run.shows("↓ reading")
        top = panel(run)._arrangement.top + panel(run).content_region.y
        marks = "".join(line[82:114] for line in run.screen.split("\n")[top : top + 16])
        assert set("▀▄▒▓·↓") <= set(marks)
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
        await run.shows("Memory", "Speed", "24.1 tok/s", "Context", "Experts", "2 a mark", "memory")
        await run.pilot.press("f3")
        await panel_hidden(run)


async def test_a_panel_over_the_talk_leaves_what_is_being_written_in_view() -> None:
    async with running(size=(80, 24)) as run:
        await run.pilot.press("f3")
        await run.shows("Memory")
        words = " ".join(f"word{number}" for number in range(18))
        for text in ("", words, "\n".join([words] * 4)):
            run.prompt.text = text
            await run.until(lambda: panel(run).region.bottom == run.transcript.region.bottom)
            await run.shows("Memory", "Enter sends ─╯", *text.split()[:9])
        await run.pilot.press("f6", "f6")
        await run.until(lambda: panel(run).full and panel(run).region.bottom == 23)
        await run.pilot.press("escape")
        await run.pilot.resize_terminal(120, 24)
        await run.until(lambda: panel(run).region.bottom == 23)


async def panel_hidden(run: Running) -> None:
    await run.shows_no_more("Memory")
    assert not panel(run).shown


async def test_f3_hides_the_panel_where_it_is_wide() -> None:
    async with running() as run:
        await run.shows("Memory")
        await run.pilot.press("f3")
        await panel_hidden(run)
        await run.pilot.press("f3")
        await run.shows("Memory")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_f6_makes_it_narrow_then_the_whole_screen_and_back(size: tuple[int, int]) -> None:
    async with running(size=size) as run:
        if size[0] < 100:
            await run.pilot.press("f6")  # brings it first
        run.engine.emit(budgeted(telemetry()), 0)
        await run.shows("Experts")
        widths = [panel(run).size.width]
        for _ in range(3):
            await run.pilot.press("f6")
            await run.settle()
            widths.append(panel(run).size.width)
        assert widths == [widths[0], 22, size[0] - 4, widths[0]]
        await run.shows("smallchat")
        assert run.prompt.has_focus


async def test_the_arrow_keys_tell_of_one_expert_on_the_whole_screen_and_esc_goes_back() -> None:
    async with running() as run:
        await show_map(run)
        await run.type("draft")
        await run.pilot.press("f6", "f6")
        await run.shows("arrows or the mouse")
        await run.pilot.press("right", *["down"] * 5, *["right"] * 3)
        await run.shows("layer 5 · expert 3 · in memory · used by 21% of recent tokens", "◆")
        await run.pilot.press("up", "left")
        await run.shows("layer 4 · expert 2 ·")
        await run.pilot.press(*["left"] * 40)
        await run.shows("layer 4 · expert 0 ·")
        await run.pilot.press("escape", "x")
        await run.shows("draftx", "Experts")
        assert "layer 4" not in run.screen


async def test_esc_stops_the_answer_first() -> None:
    async with running() as run:
        await show_map(run)
        await run.ask("hm?")
        await run.pilot.press("f6", "f6", "escape")
        await run.until(lambda: run.engine.cancelled)
        assert panel(run).full


async def test_the_mouse_tells_of_the_expert_below_it() -> None:
    async with running() as run:
        await show_map(run)
        top = panel(run)._arrangement.top
        await run.pilot.hover(Panel, offset=(2 + 3, top + 3))
        await run.shows("layer 6 · expert 3", "▲")
        await run.pilot.hover("#prompt")
        await run.shows_no_more("layer 6")
        await run.shows("memory")


async def test_another_model_with_fewer_experts_is_no_fault() -> None:
    async with running() as run:
        await show_map(run)
        top = panel(run)._arrangement.top
        await run.pilot.hover(Panel, offset=(2 + 30, top + 15))
        await run.shows("L30 E30")
        await show_map(run, 2, 3)
        await run.shows_no_more("L30 E30")


async def test_changing_the_theme_redraws_the_panel() -> None:
    async with running(size=(120, 60)) as run:
        await show_map(run)
        top = panel(run)._arrangement.top
        before = panel(run).render_line(top)
        run.app.theme = "smallchat-light"
        await run.until(lambda: panel(run).render_line(top) != before)
