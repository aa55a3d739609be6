"""Names of keys, as people write them in the configuration file and as they are shown."""

from __future__ import annotations

import unicodedata

from textual.keys import KEY_NAME_REPLACEMENTS, Keys, format_key

MODIFIERS = ("ctrl", "alt", "shift", "super", "meta", "hyper")
_SAME = {
    "ctrl+m": "enter",
    "ctrl+i": "tab",
    "ctrl+h": "backspace",
    "ctrl+left_square_bracket": "escape",
}
"""Most terminals send the same for both."""
_BASES = {key.value.rpartition("+")[2] for key in Keys if "<" not in key.value}
_OTHER_WORDS = {
    "esc": "escape",
    "return": "enter",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "del": "delete",
    "ins": "insert",
    "spacebar": "space",
}
_MOVES = ("up", "down", "left", "right", "home", "end")
_SHOWN = {
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "space": "Space",
    "backspace": "Backspace",
    "delete": "Del",
    "insert": "Ins",
    "home": "Home",
    "end": "End",
    "pageup": "PgUp",
    "pagedown": "PgDn",
}


def parse(text: str) -> str:
    """A key as Textual calls it, from how people write it: "Ctrl+R", "esc", "?", "F5".

    Raises `ValueError` that says what is wrong with it.
    """
    *modifiers, base = (text.strip() if text.strip() != "+" else "plus").split("+")
    modifiers = sorted({modifier.strip().lower() for modifier in modifiers}, key=_order)
    unknown = [modifier for modifier in modifiers if modifier not in MODIFIERS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(MODIFIERS)}")
    base = _base(base.strip(), text)
    if modifiers == ["shift"] and len(base) == 1 and base.isalpha():
        return base.upper()
    key = "+".join([*modifiers, base.lower() if modifiers else base])
    if key in _SAME:
        raise ValueError(f"terminals do not tell {text.strip()} from {shown(_SAME[key])}")
    return key


def types_something(key: str) -> bool:
    """Whether the key is needed to write a message."""
    base = key.rpartition("+")[2]
    plain = key == base or key == f"shift+{base}"
    return plain and (base in ("space", "tab", "backspace", "delete", *_MOVES) or len(format_key(base)) == 1)


def shown(key: str) -> str:
    """A key as the help and the README write it: Ctrl+R, Esc, ↑, g."""
    *modifiers, base = key.split("+")
    base = _SHOWN.get(base) or (base.upper() if _is_function(base) else format_key(base))
    if modifiers and len(base) == 1:
        base = base.upper()
    return "+".join([*(modifier.capitalize() for modifier in modifiers), base])


def _order(modifier: str) -> int:
    return MODIFIERS.index(modifier) if modifier in MODIFIERS else 0


def _is_function(base: str) -> bool:
    return base[:1] == "f" and base[1:].isdigit()


def _is_ascii(shown: str) -> bool:
    """One character that keyboards have; Unicode also names a banana."""
    return len(shown) == 1 and shown.isascii()


def _base(base: str, text: str) -> str:
    if len(base) == 1 and base.isalnum():
        return base
    if len(base) == 1 and base.isprintable():
        name = unicodedata.name(base, "").lower().replace("-", "_").replace(" ", "_")
        return KEY_NAME_REPLACEMENTS.get(name, name)
    word = _OTHER_WORDS.get(base.lower(), base.lower())
    if word in _BASES or (_is_function(word) and 1 <= int(word[1:]) <= 24) or _is_ascii(format_key(word)):
        return word
    raise ValueError(f"there is no key {base!r}" if base else f"{text!r} names no key")
