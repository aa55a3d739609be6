"""Text to token ids and back: byte-level BPE, built from a GGUF's own vocabulary (`tokenizer.ggml.*`).

The merging is done by the `tokenizers` library; what a token means in bytes is kept here, so that decoding
is exact and a character split over two tokens is never shown by halves.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import models, pre_tokenizers

from smallchat.errors import ModelError
from smallchat.model.gguf import DAMAGED, GgufFile

# One text at a time is encoded, by the thread that asks: the library's own threads would be of no use.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SPLIT = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The pre-tokenizer called "qwen2": what is never merged across."""

END_OF_TURN = ("<|im_end|>", "<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")
"""Control tokens that end an answer, besides those that the metadata names."""

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_FILLER = re.compile(r"\[PAD\d+\]")
"""Text of the tokens that fill the vocabulary up; some converters call them user-defined, not unused."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """The vocabulary of one model."""

    def __init__(self, gguf: GgufFile, size: int) -> None:
        """`size` is the number of rows of the embedding. Raises `ModelError` for an unusable vocabulary."""
        self._path = gguf.path
        metadata = gguf.metadata
        tokens = self._strings(metadata, "tokenizer.ggml.tokens")
        merges = self._strings(metadata, "tokenizer.ggml.merges")
        types = metadata.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
        if metadata.get("tokenizer.ggml.model") != "gpt2":
            raise self._wrong(
                f"its tokenizer is {str(metadata.get('tokenizer.ggml.model'))[:40]!r}, not gpt2"
            )
        if metadata.get("tokenizer.ggml.pre", "qwen2") not in ("qwen2", "default"):
            raise self._wrong(f"its pre-tokenizer is {str(metadata['tokenizer.ggml.pre'])[:40]!r}, not qwen2")
        if len(tokens) != size or not isinstance(types, list) or len(types) != size:
            raise self._wrong(f"it names {len(tokens)} tokens, but embeds {size}")

        fills = [_FILLER.fullmatch(token) is not None for token in tokens]
        types = [_UNUSED if fills[index] else kind for index, kind in enumerate(types)]
        self.size = size
        self._tokens = tokens
        self._is_text = [kind not in (_CONTROL, _USER_DEFINED, _UNUSED) for kind in types]
        self.special = {
            token: index
            for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind in (_CONTROL, _USER_DEFINED) and token
        }
        """Text of every special token, and its id."""
        self._hidden = frozenset(index for index, kind in enumerate(types) if kind in (_CONTROL, _UNUSED))
        self.fillers: npt.NDArray[np.bool_] = np.array([kind == _UNUSED for kind in types])
        """bool [vocabulary]: ids that stand for nothing and are never sampled."""
        self.stop_ids = self._stop_ids(metadata)
        """Ids that end an answer."""
        self._bpe = self._build(merges)
        # Longest first: one special token may begin with another.
        alternatives = "|".join(map(re.escape, sorted(self.special, key=len, reverse=True)))
        self._special_pattern = re.compile(f"({alternatives})" if alternatives else "(?!)")

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Token ids of `text`. Special tokens in it are plain text unless `special` is set."""
        if not special:
            return self._plain(text)
        ids: list[int] = []
        for part in self.split_special(text):
            if part in self.special:
                ids.append(self.special[part])
            else:
                ids.extend(self._plain(part))
        return ids

    def split_special(self, text: str) -> list[str]:
        """`text` in pieces: each is one special token, or holds none."""
        return [part for part in self._special_pattern.split(text) if part]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special ones included; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.bytes_of, ids)).decode("utf-8", errors="replace")

    def says(self, ids: Iterable[int]) -> str:
        """The text of an answer of these tokens, as a stream would give it."""
        stream = self.stream()
        return "".join(map(stream.push, ids)) + stream.finish()

    def spells(self, ids: Sequence[int], text: str) -> bool:
        """Whether these are tokens of this vocabulary, and say exactly `text`."""
        return all(0 <= token < self.size for token in ids) and self.says(ids) == text

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that one token stands for."""
        token = self._tokens[token_id]
        if not self._is_text[token_id]:
            return token.encode("utf-8")
        return b"".join(BYTE_OF.get(character) or character.encode("utf-8") for character in token)

    def stream(self) -> TextStream:
        """A decoder for one answer, token by token."""
        return TextStream(self)

    def is_hidden(self, token_id: int) -> bool:
        """Whether the token has no readable text (control tokens and fillers)."""
        return token_id in self._hidden

    def _plain(self, text: str) -> list[int]:
        # Lone surrogates (from odd file names or broken pipes) have no bytes.
        clean = _SURROGATE.sub("\ufffd", text)
        # Of the library's ways only those for several texts let go of the interpreter: a decoder that runs
        # in another thread goes on meanwhile.
        ids: list[int] = self._bpe.encode_batch_fast([clean], add_special_tokens=False)[0].ids
        return ids

    def _build(self, merges: Sequence[str]) -> tokenizers.Tokenizer:
        vocabulary = {token: i for i, token in enumerate(self._tokens) if self._is_text[i]}
        missing = [character for character in BYTE_OF if character not in vocabulary]
        if missing:
            raise self._wrong(f"its vocabulary has no token for {len(missing)} of the 256 bytes")
        pairs = []
        for merge in merges:
            left, _, right = merge.partition(" ")
            # A merge into a token that does not exist can never be made.
            if left in vocabulary and right in vocabulary and left + right in vocabulary:
                pairs.append((left, right))
        bpe = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
        # Attributes of a compiled class: its stubs do not know them as writable
        wrapped: Any = bpe
        wrapped.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        return bpe

    def _stop_ids(self, metadata: dict[str, Any]) -> frozenset[int]:
        named = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        ids = {index for index in named if isinstance(index, int) and 0 <= index < self.size}
        return frozenset(ids | {self.special[token] for token in END_OF_TURN if token in self.special})

    def _strings(self, metadata: dict[str, Any], key: str) -> list[str]:
        value = metadata.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(f"it has no {key}")
        return value

    def _wrong(self, what: str) -> ModelError:
        return ModelError(f"{self._path} cannot be used: {what}", DAMAGED)


class TextStream:
    """Text of an answer as it comes: nothing is given out before its character is complete."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that became readable by this token."""
        if self._tokenizer.is_hidden(token_id):
            return ""
        return self._decoder.decode(self._tokenizer.bytes_of(token_id))

    def finish(self) -> str:
        """What is left: a replacement character where the answer ends in half a character."""
        return self._decoder.decode(b"", final=True)


def _byte_alphabet() -> dict[str, bytes]:
    """The printable character that byte-level BPE writes for each byte, and that byte (GPT-2's table)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): bytes([byte]) for byte in printable}
    return alphabet | {chr(256 + index): bytes([byte]) for index, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
"""The byte of each letter, in the order of the printable ones first."""
