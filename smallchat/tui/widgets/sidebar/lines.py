"""One entry of the sidebar, drawn for its width."""

from __future__ import annotations

import datetime

from textual.content import Content

from smallchat.chat.records import Conversation
from smallchat.chat.search import Found
from smallchat.tui.text import one_line, plain

RUNNING = "…"
"""An answer is being made there."""
SNIPPET_LINES = 3


def group(conversation: Conversation, today: datetime.date) -> str:
    """Under which heading it stands."""
    if conversation.pinned:
        return "Pinned"
    days = (today - datetime.date.fromtimestamp(conversation.updated)).days
    return "Today" if days <= 0 else "Yesterday" if days == 1 else "Earlier"


def heading(text: str) -> Content:
    """A heading above entries."""
    return Content.styled(text, "$faint")


def entry(conversation: Conversation, width: int, current: bool, running: bool) -> Content:
    """Name, and behind it what else there is: a draft, several branches, an answer in the making."""
    parts = [
        "draft" if conversation.draft and width >= 28 else "",
        f"‹{conversation.branches}›" if conversation.branches > 1 else "",
        RUNNING if running else "",
    ]
    told = " ".join(filter(None, parts))
    room = max(4, width - 2 - (len(told) + 1 if told else 0))
    title = Content(one_line(conversation.title) or "…").truncate(room, ellipsis=True)
    gap = " " * max(1, width - 2 - title.cell_length - len(told)) if told else ""
    mark = ("● ", "$primary") if current else ("  ", "")
    return Content.assemble(mark, title.stylize("bold") if current else title, gap, (told, "$quiet"))


def found(one: Found, width: int) -> Content:
    """Where it was said, and the words around what was looked for."""
    title = Content(one_line(one.title) or "…").truncate(width, ellipsis=True)
    if one.message is None:
        return title.stylize("bold $primary")
    at = one.marks[0][0] if one.marks else 0
    begin = 0 if at < (SNIPPET_LINES - 1) * width else at - width
    end = begin + SNIPPET_LINES * width - 2
    text = Content(plain(one.snippet))
    for start, stop in one.marks:
        text = text.stylize("bold $primary", start, stop)
    who = "you: " if one.role == "user" else ""
    head = Content.assemble((who, "$quiet"), ("…" if begin else "", "$quiet"))
    shown = text[begin:end].stylize_before("$quiet") + ("…" if end < len(text.plain) else "")
    return Content("\n").join([title.stylize("bold"), head + shown])
