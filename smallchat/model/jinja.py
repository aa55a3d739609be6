"""The part of Jinja that chat templates are written in, interpreted under a budget.

A template comes with a model file and is not trusted. Jinja's parser reads it; what it means is done here, by
rules that know of text, numbers, lists and dictionaries and of nothing else. So there is no Python object to
reach into, and every step and every character made is counted: a template cannot run on, nor fill the memory.
(Jinja's own sandbox guards against the first of these only.)
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes

MAX_SOURCE = 1 << 16
MAX_STEPS = 500_000
"""Nodes evaluated for one prompt; a released template takes about fifty a message."""
MAX_MADE = 1 << 25
"""Characters made or looked through for one prompt; an element of a list counts as 64."""
MAX_BITS = 1024
"""Of one whole number."""

ELEMENT = 64


class BadTemplateError(Exception):
    """The template is not valid, does what is not done here, or says itself that it refuses."""


class Missing:
    """What an unknown name or key gives: empty as text, false, and of no use in sums."""

    def __init__(self, name: object) -> None:
        self.name = str(name)[:60]


class Namespace:
    """What `namespace()` gives: values that a loop may change."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)


class Function:
    """What a template may call."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


class Loop:
    """The variable `loop`."""

    def __init__(self, items: Sequence[Any], index: int, depth: int, again: Function | None) -> None:
        last = len(items) - 1
        self.again = again
        self.values = {
            **{"index": index + 1, "index0": index, "first": index == 0, "last": index == last},
            **{"length": len(items), "revindex": last - index + 1, "revindex0": last - index},
            **{"depth": depth + 1, "depth0": depth},
            "previtem": items[index - 1] if index else Missing("previtem"),
            "nextitem": items[index + 1] if index < last else Missing("nextitem"),
            "cycle": Function(lambda *choices: choices[index % len(choices)]),
        }


class _LeftError(Exception):
    """`break` or `continue`."""

    def __init__(self, loop: bool) -> None:
        self.loop = loop


class Scope:
    """Names and their values; a name not here is looked for outside."""

    def __init__(self, outer: Scope | None = None, values: Mapping[str, Any] | None = None) -> None:
        self.outer, self.values = outer, dict(values or {})

    def get(self, name: str) -> Any:
        """The value, or `Missing`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return Missing(name)


class Program:
    """One template, parsed."""

    def __init__(self, source: str) -> None:
        """Raises `BadTemplateError` where it is not valid."""
        if len(source) > MAX_SOURCE:
            raise BadTemplateError("it is too long")
        environment = jinja2.Environment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        try:
            self._tree = environment.parse(source)
        except jinja2.TemplateError as error:
            raise BadTemplateError(_first_line(error)) from None
        except (RecursionError, MemoryError, OverflowError, ValueError):
            raise BadTemplateError("it is nested too deep") from None

    def run(self, **variables: Any) -> str:
        """What the template makes of `variables`. Raises `BadTemplateError`."""
        try:
            return _Run().text_of(self._tree.body, Scope(Scope(None, _GLOBALS), variables))
        except BadTemplateError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise BadTemplateError(_first_line(error)) from None
        except (RecursionError, MemoryError):
            raise BadTemplateError("it is nested too deep") from None
        except _LeftError:
            raise BadTemplateError("it leaves a loop that it is not in") from None


class _Run:
    """One evaluation, and what is left of its budget."""

    def __init__(self) -> None:
        self._steps, self._made = MAX_STEPS, MAX_MADE
        self._depth = 0

    def charge(self, amount: int) -> None:
        """Before anything of this size is made or looked through."""
        self._made -= amount
        if self._made < 0:
            raise BadTemplateError("it builds a value without end")

    def step(self) -> None:
        """Before each node."""
        self._steps -= 1
        if self._steps < 0:
            raise BadTemplateError("it does not come to an end")

    def look_through(self, value: Any) -> None:
        """Charge for all that `value` holds, to the bottom."""
        if isinstance(value, str):
            self.charge(len(value))
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self.charge(ELEMENT)
                self.look_through(key)
                self.look_through(item)
        elif isinstance(value, list | tuple):
            self.charge(ELEMENT * len(value))
            for item in value:
                self.look_through(item)
        else:
            self.charge(1)

    def made(self, value: Any) -> Any:
        """Charge for a new value that is not deeper than its parts."""
        if isinstance(value, str):
            self.charge(len(value))
        elif isinstance(value, list | tuple | Mapping):
            self.charge(ELEMENT * len(value))
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise BadTemplateError("it counts without end")
        return value

    def text(self, value: Any) -> str:
        """As `{{ value }}` shows it."""
        if isinstance(value, str):
            return value
        if isinstance(value, Missing):
            return ""
        if value is None or isinstance(value, bool | int | float):
            return str(value)
        if isinstance(value, list | tuple | dict):
            self.look_through(value)
            return self.made(str(_plain(value)))  # type: ignore[no-any-return]
        raise BadTemplateError("it shows what is no text")

    def items(self, value: Any) -> list[Any]:
        """What a loop or a filter goes through."""
        if isinstance(value, Missing):
            return []
        if isinstance(value, str | list | tuple | Mapping):
            self.charge(ELEMENT * len(value))
            return list(value)
        raise BadTemplateError("it goes through what is no list")

    # Statements

    def text_of(self, body: Sequence[nodes.Node], scope: Scope) -> str:
        """What `body` writes."""
        out: list[str] = []
        self.run(body, scope, out)
        return "".join(out)

    def run(self, body: Sequence[nodes.Node], scope: Scope, out: list[str]) -> None:
        """Do `body`; what it writes goes to `out`."""
        for node in body:
            self.step()
            handler = _STATEMENTS.get(type(node))
            if handler is None:
                raise BadTemplateError(f"it uses {type(node).__name__}, which chat templates have no need of")
            handler(self, node, scope, out)

    def output(self, node: nodes.Output, scope: Scope, out: list[str]) -> None:
        for part in node.nodes:
            shown = part.data if isinstance(part, nodes.TemplateData) else self.text(self.value(part, scope))
            self.charge(len(shown))
            out.append(shown)

    def branch(self, node: nodes.If, scope: Scope, out: list[str]) -> None:
        for choice in (node, *node.elif_):
            if _true(self.value(choice.test, scope)):
                return self.run(choice.body, scope, out)
        return self.run(node.else_, scope, out)

    def loop(self, node: nodes.For, scope: Scope, out: list[str], over: Any = None, depth: int = 0) -> None:
        items = self.items(self.value(node.iter, scope) if depth == 0 else over)
        if node.test is not None:
            items = [
                item for item in items if _true(self.value(node.test, self.bound(node.target, item, scope)))
            ]
        again = None
        if node.recursive:

            def deeper(inner: Any) -> str:
                text: list[str] = []
                self.loop(node, scope, text, inner, depth + 1)
                return "".join(text)

            again = Function(deeper)
        for index, item in enumerate(items):
            self.step()
            inside = self.bound(node.target, item, scope)
            inside.values["loop"] = Loop(items, index, depth, again)
            try:
                self.run(node.body, inside, out)
            except _LeftError as left:
                if left.loop:
                    break
        if not items:
            self.run(node.else_, scope, out)

    def bound(self, target: nodes.Node, value: Any, scope: Scope) -> Scope:
        """A scope inside `scope` where `target` is `value`."""
        inside = Scope(scope)
        self.assign(target, value, inside)
        return inside

    def assign(self, target: nodes.Node, value: Any, scope: Scope) -> None:
        if isinstance(target, nodes.Name):
            scope.values[target.name] = value
        elif isinstance(target, nodes.NSRef):
            held = scope.get(target.name)
            if not isinstance(held, Namespace):
                raise BadTemplateError("it sets an attribute of what is no namespace")
            held.values[target.attr] = value
        elif isinstance(target, nodes.Tuple):
            values = self.items(value)
            for part, item in zip(target.items, values, strict=True):
                self.assign(part, item, scope)
        else:
            raise BadTemplateError("it sets what cannot be set")

    def set(self, node: nodes.Assign, scope: Scope, out: list[str]) -> None:
        self.assign(node.target, self.value(node.node, scope), scope)

    def set_block(self, node: nodes.AssignBlock, scope: Scope, out: list[str]) -> None:
        text: Any = self.text_of(node.body, Scope(scope))
        if node.filter is not None:
            text = self.block_filtered(node.filter, scope, text)
        self.assign(node.target, text, scope)

    def filter_block(self, node: nodes.FilterBlock, scope: Scope, out: list[str]) -> None:
        text = self.block_filtered(node.filter, scope, self.text_of(node.body, Scope(scope)))
        out.append(self.text(text))

    def block_filtered(self, node: nodes.Filter, scope: Scope, text: str) -> Any:
        """What the filters of a block, the innermost first, make of its text."""
        value = self.block_filtered(node.node, scope, text) if isinstance(node.node, nodes.Filter) else text
        return self.filtered(node, scope, value)

    def with_block(self, node: nodes.With, scope: Scope, out: list[str]) -> None:
        inside = Scope(scope)
        for target, value in zip(node.targets, node.values, strict=True):
            self.assign(target, self.value(value, scope), inside)
        self.run(node.body, inside, out)

    def macro(self, node: nodes.Macro, scope: Scope, out: list[str]) -> None:
        names = [argument.name for argument in node.args]

        def call(*given: Any, **named: Any) -> str:
            if len(given) > len(names) or not set(named) <= set(names):
                raise BadTemplateError(f"it calls {node.name} with other arguments than that takes")
            inside = Scope(scope)
            for name, default in zip(names[len(names) - len(node.defaults) :], node.defaults, strict=True):
                inside.values[name] = self.value(default, scope)
            inside.values |= dict(zip(names, given, strict=False)) | named
            for name in names:
                inside.values.setdefault(name, Missing(name))
            return self.text_of(node.body, inside)

        scope.values[node.name] = Function(call)

    def leave(self, node: nodes.Node, scope: Scope, out: list[str]) -> None:
        raise _LeftError(isinstance(node, nodes.Break))

    # Expressions

    def value(self, node: nodes.Node, scope: Scope) -> Any:
        """What an expression gives."""
        self.step()
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            raise BadTemplateError(f"it uses {type(node).__name__}, which chat templates have no need of")
        return handler(self, node, scope)

    def constant(self, node: nodes.Const, scope: Scope) -> Any:
        return self.made(node.value)

    def name(self, node: nodes.Name, scope: Scope) -> Any:
        return scope.get(node.name)

    def sequence(self, node: nodes.List | nodes.Tuple, scope: Scope) -> Any:
        return self.made([self.value(item, scope) for item in node.items])

    def dictionary(self, node: nodes.Dict, scope: Scope) -> Any:
        return self.made({self.value(pair.key, scope): self.value(pair.value, scope) for pair in node.items})

    def choice(self, node: nodes.CondExpr, scope: Scope) -> Any:
        if _true(self.value(node.test, scope)):
            return self.value(node.expr1, scope)
        return Missing("else") if node.expr2 is None else self.value(node.expr2, scope)

    def both(self, node: nodes.And, scope: Scope) -> Any:
        left = self.value(node.left, scope)
        return self.value(node.right, scope) if _true(left) else left

    def either(self, node: nodes.Or, scope: Scope) -> Any:
        left = self.value(node.left, scope)
        return left if _true(left) else self.value(node.right, scope)

    def negation(self, node: nodes.Not, scope: Scope) -> Any:
        return not _true(self.value(node.node, scope))

    def sign(self, node: nodes.UnaryExpr, scope: Scope) -> Any:
        value = _number(self.value(node.node, scope))
        return -value if isinstance(node, nodes.Neg) else value

    def joined(self, node: nodes.Concat, scope: Scope) -> str:
        return self.join([self.text(self.value(part, scope)) for part in node.nodes])

    def join(self, parts: Sequence[str], between: str = "") -> str:
        self.charge(sum(map(len, parts)) + len(between) * len(parts))
        return between.join(parts)

    def sum(self, node: nodes.Add, scope: Scope) -> Any:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        if isinstance(left, str) and isinstance(right, str):
            return self.join([left, right])
        if isinstance(left, list) and isinstance(right, list):
            self.charge(ELEMENT * (len(left) + len(right)))
            return left + right
        return self.made(_number(left) + _number(right))

    def arithmetic(self, node: nodes.BinExpr, scope: Scope) -> Any:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        if isinstance(node, nodes.Mul) and isinstance(left, str) and isinstance(right, int):
            self.charge(len(left) * max(0, right))
            return left * right
        left, right = _number(left), _number(right)
        if isinstance(node, nodes.Pow) and (abs(right) > MAX_BITS or abs(left) > 1 << 16):
            raise BadTemplateError("it counts without end")
        return self.made(_ARITHMETIC[type(node)](left, right))

    def comparison(self, node: nodes.Compare, scope: Scope) -> bool:
        left = self.value(node.expr, scope)
        for operand in node.ops:
            right = self.value(operand.expr, scope)
            if not self.holds(operand.op, left, right):
                return False
            left = right
        return True

    def holds(self, how: str, left: Any, right: Any) -> bool:
        self.look_through(left)
        self.look_through(right)
        if how in ("in", "notin"):
            if isinstance(right, Missing):
                right = ()
            elif not isinstance(right, str | list | tuple | Mapping):
                raise BadTemplateError("it looks for something in what is no list")
            return (left in right) == (how == "in")
        if isinstance(left, Missing) and isinstance(right, Missing):
            left = right = None
        return bool(_COMPARISONS[how](left, right))

    def attribute(self, node: nodes.Getattr, scope: Scope) -> Any:
        return self.member(self.value(node.node, scope), node.attr)

    def member(self, value: Any, name: Any) -> Any:
        """`value.name`: a method, or a key."""
        if isinstance(value, Namespace | Loop):
            return value.values.get(name, Missing(name))
        if isinstance(value, str) and name in _TEXT_METHODS:
            return Function(lambda *given: self.method(value, name, given))
        if isinstance(value, Mapping):
            if name in ("items", "keys", "values"):
                return Function(lambda: self.made([*map(_listed, getattr(value, name)())]))
            if name == "get":
                return Function(value.get)
            return value.get(name, Missing(name))
        return Missing(name)

    def method(self, value: str, name: str, given: Sequence[Any]) -> Any:
        if not all(isinstance(argument, str | int | tuple | list | None) for argument in given):
            raise BadTemplateError(f"it calls {name} with other arguments than that takes")
        self.charge(len(value))
        if name == "replace":
            return self.replace(value, *given)
        if name == "join":
            return self.join([self.text(item) for item in self.items(given[0])], value)
        if name in ("startswith", "endswith") and given and isinstance(given[0], list):
            given = [tuple(given[0]), *given[1:]]
        result = getattr(value, name)(*given)
        return self.made(list(result) if isinstance(result, tuple) else result)

    def replace(self, value: str, old: str, new: str, count: int = -1) -> str:
        found = value.count(old) if count < 0 else min(value.count(old), count)
        self.charge(len(value) + found * len(new))
        return value.replace(old, new, count)

    def element(self, node: nodes.Getitem, scope: Scope) -> Any:
        value = self.value(node.node, scope)
        if isinstance(node.arg, nodes.Slice):
            if isinstance(value, Missing):
                return value
            if not isinstance(value, str | list | tuple):
                raise BadTemplateError("it cuts what is no list")
            bounds = (node.arg.start, node.arg.stop, node.arg.step)
            cut = slice(*(None if bound is None else self.value(bound, scope) for bound in bounds))
            self.charge(len(value) if isinstance(value, str) else ELEMENT * len(value))
            return value[cut]
        key = self.value(node.arg, scope)
        if isinstance(value, Mapping):
            self.look_through(key)
            return value[key] if key in value else self.member(value, key)
        if isinstance(value, str | list | tuple) and isinstance(key, int):
            return value[key] if -len(value) <= key < len(value) else Missing(key)
        return self.member(value, key) if isinstance(key, str) else Missing(key)

    def arguments(self, node: Any, scope: Scope) -> tuple[list[Any], dict[str, Any]]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise BadTemplateError("it passes arguments by * or **")
        given = [self.value(argument, scope) for argument in node.args]
        return given, {pair.key: self.value(pair.value, scope) for pair in node.kwargs}

    def call(self, node: nodes.Call, scope: Scope) -> Any:
        function = self.value(node.node, scope)
        if isinstance(function, Loop) and function.again is not None:
            function = function.again
        if not isinstance(function, Function):
            raise BadTemplateError("it calls what is no function")
        given, named = self.arguments(node, scope)
        return self.made(function.call(*given, **named))

    def filter(self, node: nodes.Filter, scope: Scope) -> Any:
        if node.node is None:
            raise BadTemplateError("it filters nothing")
        return self.filtered(node, scope, self.value(node.node, scope))

    def filtered(self, node: nodes.Filter, scope: Scope, value: Any) -> Any:
        given, named = self.arguments(node, scope)
        return self.apply(node.name, value, given, named)

    def apply(self, name: str, value: Any, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """`value|name(given)`."""
        self.step()
        filter_ = _FILTERS.get(name)
        if filter_ is None:
            raise BadTemplateError(f"it uses the filter {name[:40]!r}, which chat templates have no need of")
        return filter_(self, value, *given, **named)

    def test(self, node: nodes.Test, scope: Scope) -> bool:
        given, _ = self.arguments(node, scope)
        return self.passes(node.name, self.value(node.node, scope), *given)

    def passes(self, name: str, value: Any, *given: Any) -> bool:
        """`value is name(given)`."""
        self.step()
        if name in _TESTS:
            return bool(_TESTS[name](value, *given))
        if name in _TEST_COMPARISONS:
            return self.holds(_TEST_COMPARISONS[name], value, given[0])
        raise BadTemplateError(f"it uses the test {name[:40]!r}, which chat templates have no need of")


def _true(value: Any) -> bool:
    return False if isinstance(value, Missing) else bool(value)


def _number(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    kind = f"the unknown {value.name!r}" if isinstance(value, Missing) else type(value).__name__
    raise BadTemplateError(f"it counts with {kind}")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    """`value` without anything that is not plain data, for `str` and JSON."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Missing):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise BadTemplateError("it shows what is no text")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


# Filters: (run, value, arguments) → value


def _default(run: _Run, value: Any, other: Any = "", boolean: bool = False) -> Any:
    return other if isinstance(value, Missing) or (boolean and not _true(value)) else value


def _length(run: _Run, value: Any) -> int:
    if isinstance(value, Missing):
        return 0
    return len(value)


def _cased(how: Callable[[str], str]) -> Callable[..., Any]:
    return lambda run, value: run.made(how(run.text(value)))


def _trim(run: _Run, value: Any, characters: str | None = None) -> Any:
    return run.made(run.text(value).strip(characters))


def _replace(run: _Run, value: Any, old: str, new: str, count: int = -1) -> str:
    return run.replace(run.text(value), old, new, count)


def _join(run: _Run, value: Any, between: str = "", attribute: str | None = None) -> str:
    items = run.items(value)
    if attribute is not None:
        items = [run.member(item, attribute) for item in items]
    return run.join([run.text(item) for item in items], between)


def _json(run: _Run, value: Any, indent: int | None = None, **ignored: Any) -> Any:
    run.look_through(value)
    if indent is not None and not 0 <= indent <= 8:
        raise BadTemplateError("it indents too far")
    return run.made(json.dumps(_plain(value), ensure_ascii=False, indent=indent))


def _map(run: _Run, value: Any, name: str | None = None, *given: Any, attribute: str | None = None) -> Any:
    items = run.items(value)
    if attribute is not None:
        return run.made([run.member(item, attribute) for item in items])
    if name is None:
        raise BadTemplateError("it maps by nothing")
    return run.made([run.apply(name, item, given, {}) for item in items])


def _select(run: _Run, value: Any, test: str | None = None, *given: Any, keep: bool = True) -> Any:
    def passes(item: Any) -> bool:
        return _true(item) if test is None else run.passes(test, item, *given)

    return run.made([item for item in run.items(value) if passes(item) == keep])


def _select_by(
    run: _Run, value: Any, attribute: str, test: str | None = None, *given: Any, keep: bool = True
) -> Any:
    def passes(item: Any) -> bool:
        held = run.member(item, attribute)
        return _true(held) if test is None else run.passes(test, held, *given)

    return run.made([item for item in run.items(value) if passes(item) == keep])


def _integer(run: _Run, value: Any, default: int = 0) -> int:
    try:
        return int(run.made(value) if isinstance(value, int | float) else run.text(value)[:300])
    except (ValueError, OverflowError):
        return default


def _fraction(run: _Run, value: Any, default: float = 0.0) -> float:
    try:
        return float(value if isinstance(value, int | float) else run.text(value)[:300])
    except (ValueError, OverflowError):
        return default


def _end(index: int) -> Callable[..., Any]:
    def filter_(run: _Run, value: Any) -> Any:
        items = run.items(value)
        return items[index] if items else Missing("of nothing")

    return filter_


def _items(run: _Run, value: Any) -> Any:
    if isinstance(value, Missing):
        return []
    return run.made([[key, item] for key, item in value.items()])


def _reverse(run: _Run, value: Any) -> Any:
    if isinstance(value, str):
        return run.made(value[::-1])
    return run.made(run.items(value)[::-1])


def _keep(run: _Run, value: Any) -> Any:
    return value


_FILTERS: dict[str, Callable[..., Any]] = {
    **{"default": _default, "d": _default, "length": _length, "count": _length, "trim": _trim},
    **{"upper": _cased(str.upper), "lower": _cased(str.lower), "title": _cased(str.title)},
    **{"capitalize": _cased(str.capitalize), "string": _cased(str), "replace": _replace, "join": _join},
    **{"tojson": _json, "map": _map, "select": _select, "selectattr": _select_by, "safe": _keep},
    "reject": lambda run, *given: _select(run, *given, keep=False),
    "rejectattr": lambda run, *given: _select_by(run, *given, keep=False),
    **{"int": _integer, "float": _fraction, "first": _end(0), "last": _end(-1), "items": _items},
    **{"reverse": _reverse, "list": lambda run, value: run.items(value)},
    "abs": lambda run, value: abs(_number(value)),
}

_TEXT_METHODS = frozenset(
    {
        *(
            "strip",
            "lstrip",
            "rstrip",
            "startswith",
            "endswith",
            "split",
            "rsplit",
            "splitlines",
            "partition",
        ),
        *(
            "rpartition",
            "upper",
            "lower",
            "title",
            "capitalize",
            "find",
            "rfind",
            "count",
            "isdigit",
            "isalpha",
        ),
        *("isalnum", "isspace", "isupper", "islower", "removeprefix", "removesuffix", "replace", "join"),
    }
)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TESTS: dict[str, Callable[..., Any]] = {
    "defined": lambda value: not isinstance(value, Missing),
    "undefined": lambda value: isinstance(value, Missing),
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float),
    "integer": _whole,
    "float": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "mapping": lambda value: isinstance(value, Mapping),
    "sequence": lambda value: isinstance(value, str | list | tuple | Mapping),
    "iterable": lambda value: isinstance(value, str | list | tuple | Mapping | Missing),
    "callable": lambda value: isinstance(value, Function),
    "odd": lambda value: _number(value) % 2 == 1,
    "even": lambda value: _number(value) % 2 == 0,
    "divisibleby": lambda value, by: _number(value) % _number(by) == 0,
}

_TEST_COMPARISONS = {
    **{"eq": "eq", "equalto": "eq", "==": "eq", "ne": "ne", "!=": "ne", "in": "in"},
    **{"gt": "gt", ">": "gt", "greaterthan": "gt", "ge": "gteq", ">=": "gteq"},
    **{"lt": "lt", "<": "lt", "lessthan": "lt", "le": "lteq", "<=": "lteq"},
}

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    **{"eq": operator.eq, "ne": operator.ne, "gt": operator.gt},
    **{"gteq": operator.ge, "lt": operator.lt, "lteq": operator.le},
}

_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    **{nodes.Sub: operator.sub, nodes.Mul: operator.mul, nodes.Div: operator.truediv},
    **{nodes.FloorDiv: operator.floordiv, nodes.Mod: operator.mod, nodes.Pow: operator.pow},
}

_STATEMENTS: dict[type, Callable[..., None]] = {
    **{nodes.Output: _Run.output, nodes.If: _Run.branch, nodes.For: _Run.loop, nodes.Assign: _Run.set},
    **{nodes.AssignBlock: _Run.set_block, nodes.FilterBlock: _Run.filter_block, nodes.With: _Run.with_block},
    **{nodes.Macro: _Run.macro, nodes.Break: _Run.leave, nodes.Continue: _Run.leave},
}

_EXPRESSIONS: dict[type, Callable[..., Any]] = {
    **{
        nodes.Const: _Run.constant,
        nodes.Name: _Run.name,
        nodes.List: _Run.sequence,
        nodes.Tuple: _Run.sequence,
    },
    **{nodes.Dict: _Run.dictionary, nodes.CondExpr: _Run.choice, nodes.And: _Run.both, nodes.Or: _Run.either},
    **{nodes.Not: _Run.negation, nodes.Neg: _Run.sign, nodes.Pos: _Run.sign, nodes.Concat: _Run.joined},
    **{nodes.Add: _Run.sum, nodes.Compare: _Run.comparison, nodes.Getattr: _Run.attribute},
    **{nodes.Getitem: _Run.element, nodes.Call: _Run.call, nodes.Filter: _Run.filter, nodes.Test: _Run.test},
    **dict.fromkeys(_ARITHMETIC, _Run.arithmetic),
}


def _range(*limits: int) -> list[int]:
    numbers = range(*limits)
    if len(numbers) > MAX_STEPS:
        raise BadTemplateError("it does not come to an end")
    return list(numbers)


def _refuse(message: object = "") -> None:
    raise BadTemplateError(f"it says: {str(message)[:200]}")


_GLOBALS: dict[str, Function] = {
    "range": Function(_range),
    "namespace": Function(lambda **values: Namespace(values)),
    "raise_exception": Function(_refuse),
}
