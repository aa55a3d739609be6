"""A conversation as the one text that the model was trained to continue: its chat template, filled in.

A template comes with the model file and is not trusted: Jinja's sandbox renders it, in a process of its own
(`smallchat.model.sandbox`). The words of the conversation are not trusted either: a `<|im_end|>` that a user
or a note contains stays text and cannot end a turn.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from smallchat.errors import ModelError
from smallchat.model import sandbox
from smallchat.model.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""What is used where a file brings no template."""

MAX_SOURCE = 1 << 16
"""Characters of a template at the most."""
RENDER_SECONDS = 5.0
"""Time for one prompt; the released templates take milliseconds."""
RENDER_BYTES = 256 << 20

_CURE = "Fetch the model file again, or from its makers"
_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
"""Characters without a meaning. One that occurs nowhere is put into special tokens of the conversation."""


class ChatTemplate:
    """The chat template of one model. `close` ends the process that renders it."""

    def __init__(self, source: object, path: object) -> None:
        """`source` is `tokenizer.chat_template` (None: ChatML); `path` names the file in errors.

        Raises `ModelError` where the template is none. What is wrong inside it is told when it is rendered.
        """
        self._path = path
        if source is None:
            source = CHATML
        if not isinstance(source, str) or len(source) > MAX_SOURCE:
            raise self._wrong("it is no text of a sensible length")
        self._source = source
        self._encoded: dict[str, list[int]] = {}
        """Pieces of the latest prompt: the next has most of them too, and reading long texts takes time."""
        self._process = self._start()

    def render(
        self, messages: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, resume: bool = False
    ) -> list[int]:
        """Token ids of a prompt.

        `messages` have "role" and "content"; one that also has "ids", tokens that say its content, is given
        as these. With `resume` the last one, an assistant's, is left open to be continued. Raises
        `ModelError` where the template refuses or fails.
        """
        shown = messages[:-1] if resume else messages
        specials = sorted((token for token in tokenizer.special if len(token) > 1), key=len, reverse=True)
        words = "".join([self._source, *specials, *(message["content"] for message in shown)])
        mark = _unused(words)
        gap = _unused(words + mark)  # in place of a message whose tokens are given
        exact = [_tokens(message, tokenizer) for message in shown]
        safe = [
            {
                "role": message["role"],
                "content": gap if tokens else _defuse(message["content"], specials, mark),
            }
            for message, tokens in zip(shown, exact, strict=True)
        ]
        text = self._rendered(safe)
        given = [tokens for tokens in exact if tokens]
        if text.count(gap) != len(given):  # a template that does not just write down what was said
            plain = [{"role": message["role"], "content": message["content"]} for message in messages]
            return self.render(plain, tokenizer, resume)
        ids: list[int] = []
        encoded: dict[str, list[int]] = {}
        # Encoded piece by piece: only special tokens that the template itself wrote become their ids.
        for part in tokenizer.split_special(text):
            if part in tokenizer.special:
                ids.append(tokenizer.special[part])
                continue
            for number, piece in enumerate(part.split(gap)):
                if number:
                    ids.extend(given.pop(0))
                clean = piece.replace(mark, "")
                encoded[clean] = self._encoded.get(clean) or tokenizer.encode(clean)
                ids.extend(encoded[clean])
        self._encoded = encoded
        if resume:
            ids += _tokens(messages[-1], tokenizer) or tokenizer.encode(messages[-1]["content"])
        return ids

    def close(self) -> None:
        """End the process. Another `render` starts it again."""
        process = self._process
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: the folder of this package is no place to import from. Begun early, it starts beside the model.
        return subprocess.Popen(
            [sys.executable, "-P", sandbox.__file__, str(RENDER_SECONDS), str(RENDER_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        if self._process.poll() is not None:
            self.close()
            self._process = self._start()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        request = json.dumps({"source": self._source, "messages": messages}).encode("ascii")
        # The process ends itself in time; where the system has no alarms, it is ended from here.
        watchdog = threading.Timer(2 * RENDER_SECONDS, self._process.kill)
        watchdog.start()
        try:
            stdin.write(request + b"\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            answer = b""
        finally:
            watchdog.cancel()
        if not answer:
            raise self._wrong("it does not come to an end, or takes too much memory")
        reply = json.loads(answer)
        if "error" in reply:
            raise self._wrong(reply["error"])
        return str(reply["text"])

    def _wrong(self, what: str) -> ModelError:
        return ModelError(f"{self._path}: its chat template cannot be used: {what}", _CURE)


def _tokens(message: Mapping[str, Any], tokenizer: Tokenizer) -> Sequence[int]:
    """Those that are given with it, if they say what it says; else none."""
    ids = message.get("ids")
    if not ids:
        return ()
    known = all(0 <= token < tokenizer.size for token in ids)
    return ids if known and tokenizer.says(ids) == message["content"] else ()


def _unused(text: str) -> str:
    """A private-use character that `text` does not have."""
    used = set(text)
    return next((chr(code) for codes in _PRIVATE for code in codes if chr(code) not in used), "\x00")


def _defuse(text: str, specials: Sequence[str], mark: str) -> str:
    """`text` with a mark in every special token."""
    for token in specials:
        while token in text:
            text = text.replace(token, token[0] + mark + token[1:])
    return text
