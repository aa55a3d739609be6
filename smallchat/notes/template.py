"""File names and front matter of new notes, from templates with `{title}`, `{date}` and `{time}`."""

from __future__ import annotations

import json
import re
import time

from smallchat.utf8 import encodable

NAME_BYTES = 180
"""Of 255 that file systems allow; editors and synchronisers add to names."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069<>:"/\\|?*#^\[\]]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str) -> str:
    """`text` as the name of a file, on every system and in links; "Note" where nothing is left of it."""
    name = " ".join(_FORBIDDEN.sub(" ", encodable(text)).split()).strip(". ")
    while len(name.encode("utf-8")) > NAME_BYTES:
        name = name[:-1].rstrip(". ")
    return f"_{name}" if _RESERVED.fullmatch(name) else name or "Note"


def file_path(template: str, title: str, now: float) -> str:
    """Where a new note goes, below the note folder. Only slashes of the template make folders."""
    parts = [part for part in template.split("/") if part.strip() not in ("", ".", "..")] or ["{title}"]
    names = [safe_name(_filled(part.removesuffix(".md"), safe_name(title), now)) for part in parts]
    return "/".join(names) + ".md"


def new_note(front: str, title: str, body: str, now: float) -> str:
    """The text of a new note; `front` is the template of its front matter, empty: none."""
    head = (
        f"---\n{_filled(front, json.dumps(title, ensure_ascii=False), now).strip()}\n---\n\n"
        if front.strip()
        else ""
    )
    return f"{head}# {title}\n\n{body.strip()}\n" if body.strip() else f"{head}# {title}\n"


def title_of(text: str) -> str:
    """A title for a text that was given none: its first line that says something, shortened."""
    for line in text.split("\n"):
        words = line.strip("#>*-` \t").split()
        if words:
            title = " ".join(words)
            return title if len(title) <= 60 else title[:60].rsplit(" ", 1)[0].rstrip(",;:–- ")
    return "Note"


def _filled(template: str, title: str, now: float) -> str:
    clock = time.localtime(now)
    values = {"date": time.strftime("%Y-%m-%d", clock), "time": time.strftime("%H:%M", clock), "title": title}
    return re.sub(r"\{(title|date|time)\}", lambda match: values[match[1]], template)
