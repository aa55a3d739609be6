"""The code blocks of a message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A block as it was written, and the language that its fence names."""

    language: str
    text: str


def blocks(text: str) -> list[CodeBlock]:
    """Fenced and indented blocks in the order of the text, also those within lists and quotations."""
    from markdown_it import MarkdownIt  # the first frame needs none

    return [
        CodeBlock(token.info.strip().partition(" ")[0], token.content)
        for token in MarkdownIt("commonmark").parse(text)
        if token.type in ("fence", "code_block") and token.content
    ]
