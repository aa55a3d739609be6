"""A conversation as the one text that the model was trained to continue: its chat template, filled in.

A template comes with the model file and is not trusted: `smallchat.model.jinja` interprets it under a budget.
The words of the conversation are not trusted either: a `<|im_end|>` that a user or a note contains stays text
and cannot end a turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smallchat.errors import ModelError
from smallchat.model.jinja import BadTemplateError, Program
from smallchat.model.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""What is used where a file brings no template."""

_CURE = "Fetch the model file again, or from its makers"
_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
"""Characters without a meaning. One that occurs nowhere is put into special tokens of the conversation."""


class ChatTemplate:
    """The chat template of one model."""

    def __init__(self, source: object, path: object) -> None:
        """`source` is `tokenizer.chat_template` (None: ChatML); `path` names the file in errors.

        Raises `ModelError` where the template is not one that can be used.
        """
        self._path = path
        if source is None:
            source = CHATML
        if not isinstance(source, str):
            raise self._wrong("it is no text")
        try:
            self._program, self._source = Program(source), source
        except BadTemplateError as error:
            raise self._wrong(str(error)) from None

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
        try:
            text = self._program.run(messages=safe, add_generation_prompt=True, bos_token="", eos_token="")
        except BadTemplateError as error:
            raise self._wrong(str(error)) from None
        ids: list[int] = []
        # Encoded piece by piece: only special tokens that the template itself wrote become their ids.
        for part in tokenizer.split_special(text):
            if part in tokenizer.special:
                ids.append(tokenizer.special[part])
            else:
                ids.extend(tokenizer.encode(part.replace(mark, "")))
        return ids + tokenizer.encode(started)

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
