"""Renders chat templates in Jinja's immutable sandbox: a program, `python sandbox.py SECONDS BYTES`.

Jinja's sandbox keeps a template away from Python's objects, but not from running on or filling the memory. So
it runs in this process, which is ended where it takes too long, and gets no more memory than it may take.
Requests come on standard input as JSON lines {"source", "messages"}; each gets a line {"text"} or {"error"}.

Nothing of smallchat is imported here: the process starts fast and stays small.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEXT = 1 << 24
"""Characters of a prompt at the most."""


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with what templates of chat models expect."""

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        # Plain JSON: Jinja's own filter escapes for HTML.
        self.filters["tojson"] = lambda value, indent=None: json.dumps(
            value, ensure_ascii=False, indent=indent
        )
        self.globals["raise_exception"] = _refuse


def _refuse(message: object) -> None:
    raise jinja2.TemplateRuntimeError(f"it says: {str(message)[:200]}")


@functools.lru_cache(maxsize=4)
def _compiled(source: str) -> jinja2.Template:
    return _Environment().from_string(source)


def render(source: str, messages: list[dict[str, str]]) -> dict[str, str]:
    """{"text"}, or {"error"} with one line that says what is wrong with the template."""
    try:
        text = _compiled(source).render(
            messages=messages, add_generation_prompt=True, bos_token="", eos_token=""
        )
    except SecurityError as error:
        return {"error": f"it does what is not allowed: {_first_line(error)}"}
    except MemoryError:
        return {"error": "it takes too much memory"}
    except RecursionError:
        return {"error": "it is nested too deep"}
    except Exception as error:  # whatever a template does wrong, in Jinja or in a filter
        return {"error": _first_line(error)}
    return {"text": text} if len(text) <= MAX_TEXT else {"error": "it writes a prompt without end"}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: only the time is limited there
        return
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        # Address space also counts what is only mapped (locales, libraries).
        bound = size if kind == resource.RLIMIT_DATA else 4 * size
        try:
            resource.setrlimit(kind, (bound, bound))
        except (OSError, ValueError):
            continue


def _alarm(seconds: float) -> Any:
    """End this process after so long, also when nobody waits for it any more; 0: no more."""
    try:
        from signal import ITIMER_REAL, setitimer
    except ImportError:
        return
    setitimer(ITIMER_REAL, seconds)


def main() -> None:
    """Serve until standard input closes."""
    seconds = float(sys.argv[1])
    _limit_memory(int(sys.argv[2]))
    for line in sys.stdin:
        _alarm(seconds)
        request = json.loads(line)
        print(json.dumps(render(request["source"], request["messages"])), flush=True)  # noqa: T201
        _alarm(0)


if __name__ == "__main__":
    main()
