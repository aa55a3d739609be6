"""Byte-level BPE with the "qwen2" pre-tokenizer, by hand: what the package's tokenizer is compared with."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from tests.support.models import byte_letters

WHITE = frozenset(
    [
        *range(0x09, 0x0E),
        0x20,
        0x85,
        0xA0,
        0x1680,
        *range(0x2000, 0x200B),
        0x2028,
        0x2029,
        0x202F,
        0x205F,
        0x3000,
    ]
)
"""Unicode's White_Space."""

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def _is(character: str, kind: str) -> bool:
    return unicodedata.category(character).startswith(kind)


def _run(text: str, start: int, matches) -> int:
    """Where a run of characters that match ends."""
    while start < len(text) and matches(text[start]):
        start += 1
    return start


def _space(c: str) -> bool:
    return ord(c) in WHITE


def _letter(c: str) -> bool:
    return _is(c, "L")


def _end(text: str, at: int) -> int:
    """Where the piece that starts at `at` ends: the first alternative of the pattern that fits."""
    for short in CONTRACTIONS:
        if text[at : at + len(short)].isascii() and text[at : at + len(short)].lower() == short:
            return at + len(short)
    first = text[at]
    # A run of letters, with one character in front that is no letter, digit or line break.
    skip = 1 if first not in "\r\n" and not _letter(first) and not _is(first, "N") else 0
    if (end := _run(text, at + skip, _letter)) > at + skip:
        return end
    if _is(first, "N"):
        return at + 1
    skip = 1 if first == " " else 0
    sign = _run(text, at + skip, lambda c: not _space(c) and not _letter(c) and not _is(c, "N"))
    if sign > at + skip:
        return _run(text, sign, lambda c: c in "\r\n")
    end = _run(text, at, _space)
    # To the last line break of this white space, if it has one.
    for cut in range(end, at, -1):
        if text[cut - 1] in "\r\n":
            return cut
    if end < len(text) and end - at > 1:
        return end - 1  # the last space goes with what follows
    return end


def pieces(text: str) -> list[str]:
    """Nothing is merged across the borders of these."""
    out = []
    at = 0
    while at < len(text):
        end = _end(text, at)
        out.append(text[at:end])
        at = end
    return out


def encode(text: str, ids: Mapping[str, int], ranks: Mapping[tuple[str, str], int]) -> list[int]:
    """Token ids: in every piece the merge of lowest rank first, the leftmost of equals."""
    letters = byte_letters()
    out: list[int] = []
    for piece in pieces(text):
        parts = [letters[byte] for byte in piece.encode()]
        while True:
            pairs = [
                (ranks[pair], i) for i in range(len(parts) - 1) if (pair := (parts[i], parts[i + 1])) in ranks
            ]
            if not pairs:
                break
            _, i = min(pairs)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        out += [ids[part] for part in parts]
    return out
