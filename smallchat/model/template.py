"""A conversation as the one text that the model was trained to continue: its chat template, in a sandbox.

A template comes with the model file and is not trusted: it runs in Jinja's immutable sandbox, for a bounded
number of steps, and cannot build large values. The words of the conversation are not trusted either: a
`<|im_end|>` that a user or a note contains stays text and cannot end a turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from smallchat.errors import ModelError
from smallchat.model.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""What is used where a file brings no template."""

MAX_SOURCE = 1 << 16
MAX_STEPS = 200_000
"""Template lines run for one prompt; the released templates take under ten a message."""
MAX_TEXT = 1 << 24
"""Characters of one value, or of the whole prompt."""
MAX_RANGE = 10_000
MAX_JOINED = 64
"""Pieces joined in one expression."""

_CURE = "Fetch the model file again, or from its makers"
_GROWING_FILTERS = ("center", "format", "indent", "wordwrap", "urlize", "xmlattr", "pprint", "filesizeformat")
_GROWING_METHODS = frozenset(
    {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "replace", "join"}
)
_MARK = "\ue000"
"""A private-use character, put inside special tokens that stand in the conversation's own words."""


class ChatTemplate:
    """The chat template of one model."""

    def __init__(self, source: object, path: object) -> None:
        """`source` is `tokenizer.chat_template` (None: ChatML); `path` names the file in errors.

        Raises `ModelError` where the template is not one that can be used.
        """
        self._path = path
        if source is None:
            source = CHATML
        if not isinstance(source, str) or len(source) > MAX_SOURCE:
            raise self._wrong("it is no text of a sensible length")
        environment = _Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined)
        try:
            _refuse_growth(environment.parse(source))
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError, MemoryError, OverflowError) as error:
            raise self._wrong(_first_line(error)) from None

    def render(
        self, messages: Sequence[Mapping[str, str]], tokenizer: Tokenizer, resume: bool = False
    ) -> list[int]:
        """Token ids of a prompt.

        `messages` have "role" and "content". With `resume` the last one, an assistant's, is left open to be
        continued. Raises `ModelError` where the template refuses or fails.
        """
        started = messages[-1]["content"] if resume else ""
        shown = messages[:-1] if resume else messages
        specials = sorted(tokenizer.special, key=len, reverse=True)
        safe = [{**message, "content": _defuse(message["content"], specials)} for message in shown]
        text = self._run(safe)
        ids: list[int] = []
        # Encoded piece by piece: only special tokens that the template itself wrote become their ids.
        for part in tokenizer.split_special(text):
            if part in tokenizer.special:
                ids.append(tokenizer.special[part])
            else:
                ids.extend(tokenizer.encode(part.replace(_MARK, "")))
        return ids + tokenizer.encode(started)

    def _run(self, messages: list[dict[str, str]]) -> str:
        steps = _Steps()
        before = sys.gettrace()
        sys.settrace(steps.trace)
        try:
            pieces = self._template.render(
                messages=messages, add_generation_prompt=True, bos_token="", eos_token=""
            )
        except _TooMuch as error:
            raise self._wrong(str(error)) from None
        except (
            jinja2.TemplateError,
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            raise self._wrong(_first_line(error)) from None
        except (RecursionError, MemoryError) as error:
            raise self._wrong(_first_line(error)) from None
        finally:
            sys.settrace(before)
        if len(pieces) > MAX_TEXT:
            raise self._wrong("it writes a prompt without end")
        return pieces

    def _wrong(self, what: str) -> ModelError:
        return ModelError(f"{self._path}: its chat template cannot be used: {what}", _CURE)


class _TooMuch(BaseException):
    """The template runs on; not an `Exception`, so that the template's own code cannot swallow it."""


class _Steps:
    """Counts the lines that a template runs, and looks at the size of what it holds."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        # Jinja compiles templates under this file name.
        if frame.f_code.co_filename != "<template>":
            return None
        if event == "line":
            self._left -= 1
            if self._left < 0:
                raise _TooMuch("it does not come to an end")
            for value in frame.f_locals.values():
                if isinstance(value, str | list | tuple) and len(value) > MAX_TEXT:
                    raise _TooMuch("it builds a value without end")
        return self.trace


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with what templates of chat models expect, and nothing that makes much from little."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in _GROWING_FILTERS:
            self.filters.pop(name, None)
        # Plain JSON: Jinja's own filter escapes for HTML.
        self.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False)
        self.globals = {
            "raise_exception": _refuse,
            "range": _bounded_range,
            "namespace": self.globals["namespace"],
        }

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not isinstance(left, int | float) or not isinstance(right, int | float) or operator == "**":
            raise SecurityError(f"the operator {operator} is for numbers only")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _GROWING_METHODS and bool(super().is_safe_attribute(obj, attr, value))


def _refuse_growth(tree: nodes.Template) -> None:
    for node in tree.find_all(nodes.Concat):
        if len(node.nodes) > MAX_JOINED:
            raise SecurityError("it joins too many pieces at once")


def _refuse(message: object) -> None:
    raise jinja2.TemplateRuntimeError(f"it says: {str(message)[:200]}")


def _bounded_range(*limits: int) -> range:
    numbers = range(*limits)
    if len(numbers) > MAX_RANGE:
        raise SecurityError("a range in it is too long")
    return numbers


def _defuse(text: str, specials: Sequence[str]) -> str:
    """`text` with every special token broken by a mark; marks already there are dropped."""
    text = text.replace(_MARK, "")
    for token in specials:
        text = text.replace(token, token[0] + _MARK + token[1:])
    return text


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200] or type(error).__name__
