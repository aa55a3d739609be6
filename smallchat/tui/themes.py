"""The two themes: ink and paper, both with amber as their one hue.

Only what is being read from disk is blue: no kind of colour blindness takes that for amber.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="smallchat-dark",
    dark=True,
    primary="#e0a04a",
    secondary="#b9b3a6",
    accent="#e0a04a",
    foreground="#dcd8cf",
    background="#15161a",
    surface="#1b1c21",
    panel="#23242a",
    success="#a9b37a",
    warning="#e0a04a",
    error="#e07a5f",
    variables={
        "quiet": "#8b877e",
        "faint": "#5d5b56",
        "line": "#2e2f36",
        "scrollbar": "#2e2f36",
        "scrollbar-hover": "#5d5b56",
        "scrollbar-active": "#e0a04a",
        "scrollbar-background": "#15161a",
        "scrollbar-corner-color": "#15161a",
        "expert-disk": "#26272d",
        "expert-idle": "#463a29",
        "expert-cool": "#6b5029",
        "expert-warm": "#9a6d28",
        "expert-hot": "#cf9033",
        "expert-reading": "#5f8fc9",
        "expert-used": "#fff0cf",
        "footer-key-foreground": "#e0a04a",
        "input-selection-background": "#e0a04a 30%",
        "block-cursor-foreground": "#15161a",
        "block-cursor-background": "#e0a04a",
        "block-cursor-text-style": "none",
    },
)
LIGHT = Theme(
    name="smallchat-light",
    dark=False,
    primary="#96610c",
    secondary="#5e594e",
    accent="#96610c",
    foreground="#2b2923",
    background="#faf8f3",
    surface="#f3efe6",
    panel="#ebe6da",
    success="#5b6b21",
    warning="#96610c",
    error="#b23a1c",
    variables={
        "quiet": "#6f695c",
        "faint": "#a39c8c",
        "line": "#ddd6c6",
        "scrollbar": "#ddd6c6",
        "scrollbar-hover": "#a39c8c",
        "scrollbar-active": "#96610c",
        "scrollbar-background": "#faf8f3",
        "scrollbar-corner-color": "#faf8f3",
        "expert-disk": "#ece7db",
        "expert-idle": "#ddcfae",
        "expert-cool": "#cdb077",
        "expert-warm": "#b88b35",
        "expert-hot": "#96610c",
        "expert-reading": "#3a6ea8",
        "expert-used": "#2b1a00",
        "footer-key-foreground": "#96610c",
        "input-selection-background": "#96610c 25%",
        "block-cursor-foreground": "#faf8f3",
        "block-cursor-background": "#96610c",
        "block-cursor-text-style": "none",
    },
)
THEMES = (DARK, LIGHT)
