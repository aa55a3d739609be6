"""The name of a conversation, made from its first message."""

from __future__ import annotations

import re

from smallchat.matching import UNSPACED

TITLE_LENGTH = 60
"""Characters of a name at the most, also of one that the user gives."""
SENTENCE = 12
"""A sentence shorter than this says too little: the next one is taken too. A Chinese character counts two."""

_FENCE = re.compile(r"(```|~~~).*?(\1|\Z)", re.DOTALL)
_MARKS = re.compile(r"^\s*(?:#{1,6}\s+|>\s?|[-*+]\s+)|[*`]{1,3}", re.MULTILINE)
_END = re.compile(r"[.!?…]+(?=\s)|[。!?]")
_POLITE = re.compile(
    r"""(?:
        (?:hi|hello|hey|good\ (?:morning|afternoon|evening|day)|hallo|guten\ tag|bonjour|salut|hola|ciao|olá)
            (?:\ there|\ smallchat)?(?:[,.!:–-]+\s*|\s+)
        | (?:please|pls|kindly|bitte|por\ favor|s['’]il\ (?:te|vous)\ pla[iî]t)\b[,:]?\s+
        | (?:(?:can|could|would|will)\ you|kannst\ du|k[oö]nntest\ du|peux-tu|pouvez-vous|puedes)\s+
        | i(?:['’]d|\ would)?\ (?:want|need|like)\ (?:you\ to|to\ know)\s+
        | (?:tell|show|give)\ me\s+ | help\ me\s+(?:to\s+)? | (?:mir|me)\s+(?=bitte\b)
        | (?:你好|您好|こんにちは|请问|麻烦你?|请|能不能|帮我)[,,、!!。]?\s*
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""What people begin with before they come to the matter."""


def title_of(text: str) -> str:
    """One line of at most `TITLE_LENGTH` characters: the first sentence, without greeting, marks and code."""
    line = _one_line(_FENCE.sub(" ", text)) or _one_line(text) or " ".join(text.split())
    matter = line
    while begun := _POLITE.match(matter):
        matter = matter[begun.end() :]
    if len(matter) < 2:  # nothing but a greeting
        matter = line
    ends = (end.end() for end in _END.finditer(matter))
    end = next((end for end in ends if _cells(matter[:end]) >= SENTENCE), len(matter))
    matter = re.sub(r"[ .:,;。,:]+$", "", matter[:end]) or matter
    return shortened(matter[:1].upper() + matter[1:])


def shortened(line: str) -> str:
    """At most `TITLE_LENGTH` characters, ending with a whole word where words are spaced."""
    if len(line) <= TITLE_LENGTH:
        return line
    word = line[:TITLE_LENGTH].rfind(" ")
    return line[: word if word > TITLE_LENGTH // 2 else TITLE_LENGTH - 1].rstrip() + "…"


def _one_line(text: str) -> str:
    return " ".join(_MARKS.sub("", text).split())


def _cells(text: str) -> int:
    return len(text) + sum(len(run) for run in UNSPACED.findall(text))
