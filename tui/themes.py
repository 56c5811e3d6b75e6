"""Our themes: steel for the base model, brass for the tuned one; dark, light and one of the terminal's own 16 colours.
Colour only repeats what a word or a sign shows already."""

from __future__ import annotations

import os

from textual.theme import Theme

DARK = Theme(
    name="tuningfork-dark",
    dark=True,
    primary="#e3b261",
    secondary="#7fa6d6",
    accent="#e3b261",
    foreground="#d8dbe2",
    background="#12151b",
    surface="#191d25",
    panel="#222833",
    success="#8fbf7f",
    warning="#e0a458",
    error="#e0717a",
    variables={
        "lane-a": "#7fa6d6",
        "lane-b": "#e3b261",
        "faint": "#8d95a5",
        "hairline": "#343c4b",
        "lift": "#2d3546",
        "block-cursor-blurred-background": "#2b3240",
        "block-cursor-blurred-foreground": "#d8dbe2",
        "block-cursor-background": "#33405a",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#7fa6d6 35%",
        "border": "#e3b261",
        "border-blurred": "#343c4b",
        "scrollbar": "#3a4252",
        "scrollbar-hover": "#5a647a",
        "scrollbar-active": "#e3b261",
        "scrollbar-background": "#171a21",
        "scrollbar-background-hover": "#171a21",
        "scrollbar-background-active": "#171a21",
        "scrollbar-corner-color": "#171a21",
    },
)

LIGHT = Theme(
    name="tuningfork-light",
    dark=False,
    primary="#8a5a0b",
    secondary="#2c5f9e",
    accent="#8a5a0b",
    foreground="#23262c",
    background="#f7f5f0",
    surface="#fffdf8",
    panel="#ece8df",
    success="#3c7a35",
    warning="#9a5b00",
    error="#b3303b",
    variables={
        "lane-a": "#2c5f9e",
        "lane-b": "#8a5a0b",
        "faint": "#676b74",
        "hairline": "#cfc9bc",
        "lift": "#dfd9cb",
        "block-cursor-blurred-background": "#e2ddd1",
        "block-cursor-blurred-foreground": "#23262c",
        "block-cursor-background": "#d5e0f0",
        "block-cursor-foreground": "#101216",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#2c5f9e 30%",
        "border": "#8a5a0b",
        "border-blurred": "#cfc9bc",
        "scrollbar": "#c9c3b6",
        "scrollbar-hover": "#a8a294",
        "scrollbar-active": "#8a5a0b",
        "scrollbar-background": "#efece5",
        "scrollbar-background-hover": "#efece5",
        "scrollbar-background-active": "#efece5",
        "scrollbar-corner-color": "#efece5",
    },
)

SIXTEEN = Theme(
    name="tuningfork-16",
    ansi=True,
    dark=True,
    primary="ansi_yellow",
    secondary="ansi_cyan",
    accent="ansi_yellow",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "lane-a": "ansi_cyan",
        "lane-b": "ansi_yellow",
        "faint": "ansi_default",
        "hairline": "ansi_bright_black",
        "lift": "ansi_default",
        "border": "ansi_yellow",
        "border-blurred": "ansi_bright_black",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_cyan",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
        "scrollbar": "ansi_bright_black",
        "scrollbar-hover": "ansi_white",
        "scrollbar-active": "ansi_yellow",
    },
)

ALL = (DARK, LIGHT, SIXTEEN)
TITLES = {DARK.name: "dark", LIGHT.name: "light", SIXTEEN.name: "the terminal's own 16 colours"}
VARIABLES = {
    "lane-a": "#7fa6d6",
    "lane-b": "#e3b261",
    "faint": "#8d95a5",
    "hairline": "#4a5261",
    "lift": "#808080 25%",
}
"""What our stylesheets use beyond Textual's own variables, for the themes that come with Textual."""


def automatic(environ: dict[str, str] | None = None) -> str:
    """The theme for this terminal when nothing was chosen: 16 colours where it has no more, light where it says so."""
    env = dict(os.environ) if environ is None else environ
    if not env.get("COLORTERM") and not env.get("TERM", "").endswith(("256color", "kitty", "direct")):
        return SIXTEEN.name
    background = env.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in {"7", "15"} else DARK.name
