"""The two themes: ink and paper, both with amber as their one hue."""

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
        "expert-disk": "#26272d",
        "expert-idle": "#463a29",
        "expert-cool": "#6b5029",
        "expert-warm": "#9a6d28",
        "expert-hot": "#cf9033",
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
        "expert-disk": "#ece7db",
        "expert-idle": "#ddcfae",
        "expert-cool": "#cdb077",
        "expert-warm": "#b88b35",
        "expert-hot": "#96610c",
        "expert-used": "#2b1a00",
        "footer-key-foreground": "#96610c",
        "input-selection-background": "#96610c 25%",
        "block-cursor-foreground": "#faf8f3",
        "block-cursor-background": "#96610c",
        "block-cursor-text-style": "none",
    },
)
THEMES = (DARK, LIGHT)
