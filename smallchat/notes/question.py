"""From found passages to what the model is given before the question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from smallchat.matching import fold
from smallchat.notes import transcripts
from smallchat.notes.search import Hit

MOST = 6
"""Passages that a question is asked about at the most."""
NOTHING = "Nothing in your notes fits this question."
"""Said instead of asking the model, where no passage holds enough of what was asked."""

_RULES = (
    "Below are passages of my notes. Answer my question from them{along} alone, in a sentence or two. "
    "After what you take from a note, name it by its title in double square brackets, as [[{title}]]. If the "
    "passages do not answer the question, say that the notes do not say."
)
_ALONG = " and from what stands above"


def fitting(hits: Sequence[Hit]) -> list[Hit]:
    """The hits to be asked about, best first: those that hold enough of the question."""
    own = [hit for hit in hits if hit.fits and not hit.path.startswith(f"{transcripts.FOLDER}/")]
    best = max((hit.score for hit in own), default=0.0)
    return [hit for hit in own if hit.score >= best / 3][:MOST]


def given(hits: Sequence[Hit], along: bool = False) -> str:
    """What stands before the question in the prompt; empty where there is no hit.

    `along`: other texts stand before it, which may be answered from too.
    """
    if not hits:
        return ""
    blocks = [f"[[{hit.title}]], lines {hit.first}–{hit.last}:\n{hit.text}" for hit in hits]
    return "\n\n".join([_RULES.format(title=hits[0].title, along=_ALONG if along else ""), *blocks])


def cited(answer: str, title: str) -> bool:
    """Whether an answer names this note as a source."""
    return any(
        fold(name.strip()) == fold(title) for name in re.findall(r"\[\[([^\[\]\n]{1,300})\]\]", answer)
    )
