"""A conversation as the one text that the model was trained to continue: its chat template, filled in.

A template comes with the model file and is not trusted: Jinja's sandbox renders it, in a process of its own
(`smallchat.model.sandbox`). The words of the conversation are not trusted either: a `<|im_end|>` that a user
or a note contains stays text and cannot end a turn.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from smallchat.errors import ModelError
from smallchat.interpreter import PYTHON
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
    """The chat template of one model. `close` ends the process that renders it.

    Threads may use it together; they wait for one another.
    """

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
        self._said: dict[str, Sequence[int]] = {}
        """Messages of the latest prompt that were given as tokens, and these: they do say the text."""
        self._lock = threading.Lock()
        self._process = self._start()

    def render(
        self, messages: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, resume: bool = False
    ) -> list[int]:
        """Token ids of a prompt.

        `messages` have "role" and "content"; one that also has "ids", tokens that say its content, is given
        as these. With `resume` the last one, an assistant's, is left open to be continued. Raises
        `ModelError` where the template refuses or fails.
        """
        with self._lock:
            return self._render(messages, tokenizer, resume)

    def close(self) -> None:
        """End the process. Another `render` starts it again."""
        with self._lock:
            self._stop()

    def _render(self, messages: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, resume: bool) -> list[int]:
        shown = messages[:-1] if resume else messages
        specials = sorted((token for token in tokenizer.special if len(token) > 1), key=len, reverse=True)
        words = "".join([self._source, *specials, *(message["content"] for message in shown)])
        mark, gap = _unused(words)  # the second in place of a message whose tokens are given
        exact = [self._tokens(message, tokenizer) for message in shown]
        self._said = {
            message["content"]: tokens for message, tokens in zip(shown, exact, strict=True) if tokens
        }
        safe = [
            {
                "role": message["role"],
                "content": gap if tokens else _defuse(message["content"], specials, mark),
            }
            for message, tokens in zip(shown, exact, strict=True)
        ]
        text = self._rendered(safe)
        given = [tokens for tokens in exact if tokens]
        if given and text.count(gap) != len(given):  # a template that does not just write down what was said
            plain = [{"role": message["role"], "content": message["content"]} for message in messages]
            return self._render(plain, tokenizer, resume)
        ids: list[int] = []
        encoded: dict[str, list[int]] = {}
        # Encoded piece by piece: only special tokens that the template itself wrote become their ids.
        for part in tokenizer.split_special(text):
            if part in tokenizer.special:
                ids.append(tokenizer.special[part])
                continue
            for number, piece in enumerate(part.split(gap) if given else [part]):
                if number:
                    ids.extend(given.pop(0))
                clean = piece.replace(mark, "")
                known = self._encoded.get(clean)
                encoded[clean] = tokenizer.encode(clean) if known is None else known
                ids.extend(encoded[clean])
        self._encoded = encoded
        if resume:
            ids += self._tokens(messages[-1], tokenizer) or tokenizer.encode(messages[-1]["content"])
        return ids

    def _tokens(self, message: Mapping[str, Any], tokenizer: Tokenizer) -> Sequence[int]:
        """Those that are given with it, if they say what it says; else none."""
        ids, content = message.get("ids"), message["content"]
        if not ids or ids == self._said.get(content):
            return ids or ()
        return ids if tokenizer.spells(ids, content) else ()

    def _stop(self) -> None:
        process = self._process
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # Begun early, it starts beside the model.
        return subprocess.Popen(
            [*PYTHON, sandbox.__file__, str(RENDER_SECONDS), str(RENDER_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        if self._process.poll() is not None:
            self._stop()
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


def _unused(text: str) -> tuple[str, str]:
    """Two private-use characters that `text` does not have."""
    unused = (chr(code) for codes in _PRIVATE for code in codes if chr(code) not in text)
    return next(unused, "\x00"), next(unused, "\x00")


def _defuse(text: str, specials: Sequence[str], mark: str) -> str:
    """`text` with a mark in every special token."""
    for token in specials:
        while token in text:
            text = text.replace(token, token[0] + mark + token[1:])
    return text
