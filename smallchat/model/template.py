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
        self._process = self._start()

    def render(
        self, messages: Sequence[Mapping[str, str]], tokenizer: Tokenizer, resume: bool = False
    ) -> list[int]:
        """Token ids of a prompt.

        `messages` have "role" and "content". With `resume` the last one, an assistant's, is left open to be
        continued. Raises `ModelError` where the template refuses or fails.
        """
        started = messages[-1]["content"] if resume else ""
        shown = messages[:-1] if resume else messages
        specials = sorted((token for token in tokenizer.special if len(token) > 1), key=len, reverse=True)
        mark = _unused("".join([self._source, *specials, *(message["content"] for message in shown)]))
        safe = [{**message, "content": _defuse(message["content"], specials, mark)} for message in shown]
        ids: list[int] = []
        # Encoded piece by piece: only special tokens that the template itself wrote become their ids.
        for part in tokenizer.split_special(self._rendered(safe)):
            if part in tokenizer.special:
                ids.append(tokenizer.special[part])
            else:
                ids.extend(tokenizer.encode(part.replace(mark, "")))
        return ids + tokenizer.encode(started)

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
