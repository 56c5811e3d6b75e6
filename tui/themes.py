"""Our themes: steel for the base model, brass for the tuned one; ours, palettes known from terminals, and 16 colours.
Colour only repeats what a word or a sign shows already."""

from __future__ import annotations

import os

from textual.color import Color
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
    primary="#825409",
    secondary="#2c5f9e",
    accent="#825409",
    foreground="#23262c",
    background="#f7f5f0",
    surface="#fffdf8",
    panel="#ece8df",
    success="#30692a",
    warning="#9a5b00",
    error="#b3303b",
    variables={
        "lane-a": "#2c5f9e",
        "lane-b": "#825409",
        "faint": "#676b74",
        "hairline": "#cfc9bc",
        "lift": "#dfd9cb",
        "block-cursor-blurred-background": "#e6e1d6",
        "block-cursor-blurred-foreground": "#23262c",
        "block-cursor-background": "#d5e0f0",
        "block-cursor-foreground": "#101216",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#2c5f9e 30%",
        "border": "#825409",
        "border-blurred": "#cfc9bc",
        "scrollbar": "#c9c3b6",
        "scrollbar-hover": "#a8a294",
        "scrollbar-active": "#825409",
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


def _from_palette(
    name: str, *, dark: bool, base: str, surface: str, panel: str, lift: str, line: str, faint: str, text: str,
    blue: str, gold: str, green: str, orange: str, red: str,
) -> Theme:  # fmt: skip
    """A theme in the colours of a known palette: from the ground up, then the text, then what has a meaning."""
    ground = Color.parse(base).blend(Color.parse(blue), 0.18).hex  # faint text is read on it, too
    cursor = {"block-cursor-background": ground, "block-cursor-foreground": text, "block-cursor-text-style": "bold"}
    blurred = {"block-cursor-blurred-background": lift, "block-cursor-blurred-foreground": text}
    lane_a = Color.parse(blue).blend(Color.parse(text), 0.25).hex  # its letter is read on faint grounds
    bars = {f"scrollbar-background{state}": surface for state in ("", "-hover", "-active")}
    return Theme(
        name=f"tuningfork-{name}",
        dark=dark,
        primary=gold,
        secondary=blue,
        accent=gold,
        foreground=text,
        background=base,
        surface=surface,
        panel=panel,
        success=green,
        warning=orange,
        error=red,
        variables={
            "lane-a": lane_a, "lane-b": gold, "faint": faint, "hairline": line, "lift": lift,
            "input-selection-background": f"{blue} 20%", "border": gold, "border-blurred": line,
            "scrollbar": line, "scrollbar-hover": faint, "scrollbar-active": gold, "scrollbar-corner-color": surface,
            **cursor, **blurred, **bars,
        },
    )  # fmt: skip


CATPPUCCIN = _from_palette(
    "catppuccin-mocha", dark=True, base="#1e1e2e", surface="#232334", panel="#313244", lift="#3e4053", line="#585b70",
    faint="#a6adc8", text="#cdd6f4", blue="#89b4fa", gold="#f9e2af", green="#a6e3a1", orange="#fab387", red="#f38ba8",
)  # fmt: skip
GRUVBOX = _from_palette(
    "gruvbox", dark=True, base="#282828", surface="#2f2d2c", panel="#3c3836", lift="#4a4340", line="#665c54",
    faint="#bdae93", text="#ebdbb2", blue="#93b8a9", gold="#fabd2f", green="#b8bb26", orange="#fe8019", red="#fc8274",
)  # fmt: skip
SOLARIZED_LIGHT = _from_palette(
    "solarized-light", dark=False, base="#fdf6e3", surface="#fffaf0", panel="#eee8d5", lift="#e4decb", line="#b9b7a6",
    faint="#4f656c", text="#073642", blue="#1b6497", gold="#765900", green="#5a6600", orange="#a53f12", red="#b8211f",
)  # fmt: skip
CONTRAST = _from_palette(
    "high-contrast", dark=True, base="#000000", surface="#000000", panel="#1a1a1a", lift="#003a70", line="#ffffff",
    faint="#e0e0e0", text="#ffffff", blue="#7cc7ff", gold="#ffd400", green="#5dff5d", orange="#ffb000", red="#ff8080",
)  # fmt: skip

ALL = (DARK, LIGHT, CATPPUCCIN, GRUVBOX, SOLARIZED_LIGHT, CONTRAST, SIXTEEN)
TITLES = {
    DARK.name: "dark",
    LIGHT.name: "light",
    SIXTEEN.name: "the terminal's own 16 colours",
    CATPPUCCIN.name: "Catppuccin Mocha",
    GRUVBOX.name: "Gruvbox",
    SOLARIZED_LIGHT.name: "Solarized light",
    CONTRAST.name: "high contrast",
}
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
