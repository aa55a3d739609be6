"""The themes: ink, paper, high contrast, and the terminal's own colours; one hue each.

Only what is being read from disk has another one: no kind of colour blindness takes the two for each other.
What a colour says is always said by a mark or a word too.
"""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

from smallchat import paths
from smallchat.settings import UsageError

PREFIX = "smallchat-"
"""Begins every theme's name; it need not be written."""


def _theme(
    name: str,
    *,
    dark: bool,
    hue: str,
    ink: str,
    quiet: str,
    faint: str,
    line: str,
    paper: tuple[str, str, str],
    good: str,
    bad: str,
    selection: str,
    experts: Mapping[str, str],
    ansi: bool = False,
) -> Theme:
    """`paper`: the ground, what lies on it, and what lies on that. `experts`: the panel's states."""
    background, surface, panel = paper
    return Theme(
        name=PREFIX + name,
        dark=dark,
        ansi=ansi,
        primary=hue,
        secondary=quiet,
        accent=hue,
        foreground=ink,
        background=background,
        surface=surface,
        panel=panel,
        boost=surface if ansi else None,
        success=good,
        warning=hue,
        error=bad,
        variables={
            "quiet": quiet,
            "faint": faint,
            "line": line,
            "scrollbar": line,
            "scrollbar-hover": faint,
            "scrollbar-active": hue,
            "scrollbar-background": background,
            "scrollbar-corner-color": background,
            "input-selection-background": selection,
            "screen-selection-background": selection,
            "block-cursor-foreground": background,
            "block-cursor-background": hue,
            "block-cursor-text-style": "none",
            "ansi-background": background,
            "ansi-foreground": ink,
            **{f"expert-{state}": colour for state, colour in experts.items()},
        },
    )


DARK = _theme(
    "dark",
    dark=True,
    hue="#e0a04a",
    ink="#dcd8cf",
    quiet="#8b877e",
    faint="#6a6862",
    line="#2e2f36",
    paper=("#15161a", "#1b1c21", "#23242a"),
    good="#a9b37a",
    bad="#e07a5f",
    selection="#e0a04a 30%",
    experts={
        "disk": "#26272d",
        "idle": "#463a29",
        "cool": "#6b5029",
        "warm": "#9a6d28",
        "hot": "#cf9033",
        "reading": "#5f8fc9",
        "used": "#fff0cf",
    },
)
LIGHT = _theme(
    "light",
    dark=False,
    hue="#96610c",
    ink="#2b2923",
    quiet="#6f695c",
    faint="#8f8878",
    line="#ddd6c6",
    paper=("#faf8f3", "#f3efe6", "#ebe6da"),
    good="#5b6b21",
    bad="#b23a1c",
    selection="#96610c 25%",
    experts={
        "disk": "#ece7db",
        "idle": "#ddcfae",
        "cool": "#cdb077",
        "warm": "#b88b35",
        "hot": "#96610c",
        "reading": "#3a6ea8",
        "used": "#2b1a00",
    },
)
CONTRAST = _theme(
    "contrast",
    dark=True,
    hue="#ffd75f",
    ink="#ffffff",
    quiet="#d7d7d7",
    faint="#b2b2b2",
    line="#b2b2b2",
    paper=("#000000", "#000000", "#262626"),
    good="#afff87",
    bad="#ffaf87",
    selection="#005f87",
    experts={
        "disk": "#4e4e4e",
        "idle": "#87600f",
        "cool": "#af8700",
        "warm": "#d7a700",
        "hot": "#ffd75f",
        "reading": "#5fafff",
        "used": "#ffffff",
    },
)
TERMINAL = _theme(
    "terminal",
    dark=True,
    ansi=True,
    hue="ansi_magenta",
    ink="ansi_default",
    quiet="ansi_default",
    faint="ansi_bright_black",
    line="ansi_bright_black",
    paper=("ansi_default", "ansi_default", "ansi_default"),
    good="ansi_green",
    bad="ansi_red",
    selection="ansi_bright_black",
    experts={
        "disk": "ansi_bright_black",
        "idle": "ansi_magenta",
        "cool": "ansi_magenta",
        "warm": "ansi_magenta",
        "hot": "ansi_bright_magenta",
        "reading": "ansi_cyan",
        "used": "ansi_default",
    },
)
"""Sixteen colours that are the terminal's to choose, on its own ground."""

THEMES = (DARK, LIGHT, CONTRAST, TERMINAL)


def at_start(wanted: str | None) -> str:
    """The whole name of the theme to begin with: `wanted`, or else what was chosen last, or else dark.

    Raises `UsageError` where `wanted` is none.
    """
    if wanted is not None:
        return named(wanted)
    try:
        return named(paths.chosen_theme().read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError, UsageError):  # nothing was chosen yet, or it is of another version
        return DARK.name


def remember(name: str) -> None:
    """Have the next start begin with this theme. Raises `OSError` where that cannot be written."""
    path = paths.chosen_theme()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(f"{name.removeprefix(PREFIX)}\n", encoding="utf-8")


def named(name: str) -> str:
    """The whole name of a theme. Raises `UsageError` where there is none."""
    for theme in THEMES:
        if name in (theme.name, theme.name.removeprefix(PREFIX)):
            return theme.name
    known = ", ".join(theme.name.removeprefix(PREFIX) for theme in THEMES)
    raise UsageError(f"There are no colours {name!r}", f"Known: {known}")
