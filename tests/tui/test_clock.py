"""The screen's clock: how often it ticks, and that it ends."""

from __future__ import annotations

import time

from textual.app import App

from smallchat.tui.clock import SHARE, SLOWEST, TICK, Clock


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
