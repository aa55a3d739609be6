"""Nothing of a table is left out."""

from __future__ import annotations

import pytest

from smallchat.tui.widgets.transcript.table import fair
from tests.tui.running import running

NAME, WORD = "苹果", "averyveryveryveryveryverylongwordwithoutanyspaceinit"
LONG = "一种常见的水果颜色通常为红色或绿色味道甜美营养丰富富含维生素"
TABLE = f"| 名称 | 描述 | 备注 |\n|---|---|---|\n| {NAME} | {LONG} | {LONG} |\n| x | {WORD} | short |\n"


def told(screen: str, column: int) -> str:
    """What stands in a column, one line after the other."""
    rows = [line.split("│") for line in screen.split("\n") if line.count("│") > 2]
    return "".join(row[column].strip() for row in rows)


@pytest.mark.parametrize("width", [60, 80, 100])
async def test_cells_wrap_where_there_is_no_space(width: int) -> None:
    async with running(size=(width, 45)) as run:
        await run.answer("go?", TABLE)
        await run.settle()
        assert told(run.screen, 1) == f"名称{NAME}x"
        assert told(run.screen, 2) == f"描述{LONG}{WORD}"
        assert told(run.screen, 3) == f"备注{LONG}short"
        assert NAME in run.screen  # what is narrow is not wrapped


async def test_a_table_that_streams_is_what_the_whole_is() -> None:
    async with running(size=(80, 45)) as run:
        await run.ask("go?")
        for start in range(0, len(TABLE), 7):
            run.engine.say(TABLE[start : start + 7])
            await run.pilot.pause()
        run.engine.finish()
        await run.until(lambda: told(run.screen, 3) == f"备注{LONG}short")
        assert told(run.screen, 2) == f"描述{LONG}{WORD}"


def test_widths_are_shared_fairly() -> None:
    assert fair([6, 50, 40], 66) == [6, 30, 30]
    assert fair([6, 20, 40], 80) == [6, 20, 40]
    assert fair([30, 6], 20) == [14, 6]
    assert fair([5, 5], 0) == [0, 0]
