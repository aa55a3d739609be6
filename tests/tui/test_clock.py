"""The screen's clock: how often it ticks, and that it ends."""

from __future__ import annotations

import time

from textual.app import App

from smallchat.tui.clock import EARLY, ECHO, SHARE, SLOWEST, TICK, Clock


class Ticking(App[None]):
    """Every tick takes `seconds` of the processor."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.began: list[float] = []

    def on_mount(self) -> None:
        self.clock = Clock(self.screen, self.tick)

    async def tick(self) -> None:
        self.began.append(time.monotonic())
        until = time.process_time() + self.seconds
        while time.process_time() < until:
            pass


async def ticks(seconds: float, count: int) -> list[float]:
    """Seconds between so many ticks and the next."""
    app = Ticking(seconds)
    async with app.run_test() as pilot:
        app.clock.wake()
        while len(app.began) <= count:
            await pilot.pause(0.01)
        app.clock.stop()
        at_the_end = len(app.began)
        await pilot.pause(2 * TICK)
        assert len(app.began) == at_the_end
    return [after - before for before, after in zip(app.began, app.began[1:], strict=False)]


async def test_it_ticks_no_more_often_than_is_useful() -> None:
    assert min(await ticks(0, 3)) > 0.9 * TICK


async def test_drawing_that_takes_long_is_done_less_often() -> None:
    assert min(await ticks(2 * SHARE * SLOWEST, 3)) > 0.9 * SLOWEST


async def test_it_sleeps_once_nothing_changes() -> None:
    app = Ticking(0)
    async with app.run_test() as pilot:
        app.clock.wake()
        while app.clock.awake:
            app.clock.rest()
            await pilot.pause(0.01)
        asleep = len(app.began)
        await pilot.pause(2 * TICK)
        assert len(app.began) <= asleep + 1  # the timer that ran already
        app.clock.wake()
        while len(app.began) <= asleep:
            await pilot.pause(0.01)


async def test_a_key_that_wakes_it_is_drawn_first() -> None:
    app = Ticking(0)
    async with app.run_test() as pilot:
        typed = time.monotonic()
        app.clock.typed()
        while not app.began:
            await pilot.pause(0.001)
        assert app.began[0] - typed > 0.9 * ECHO
        app.clock.stop()


async def test_a_tick_that_is_due_soon_comes_right_behind_a_key() -> None:
    app = Ticking(0)
    async with app.run_test() as pilot:
        app.clock.wake()
        while not app.began or not ECHO < app.clock._at - time.monotonic() < EARLY:
            await pilot.pause(0.005)
        due, ticked = app.clock._at, len(app.began)
        app.clock.typed()
        assert app.clock._at < due
        while len(app.began) == ticked:
            await pilot.pause(0.001)
        app.clock.stop()


async def test_keys_without_a_pause_do_not_keep_it_from_ticking() -> None:
    app = Ticking(0)
    async with app.run_test() as pilot:
        while len(app.began) < 3:
            app.clock.typed()
            await pilot.pause(ECHO / 4)
        app.clock.stop()
