"""Every key of the app in one place: id, keys, action, the word in the key bar and the sentence in the help.
Nothing else declares a binding, so that the help screen, the key bar and a user's own keymap can never disagree."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One binding. `keys` is a comma-separated list, the first is the one shown; `bar` puts it in the key bar."""

    id: str
    keys: str
    action: str
    label: str
    help: str
    bar: bool = False
    priority: bool = False


def bindings(*groups: tuple[Key, ...]) -> list[BindingType]:
    """Textual bindings of the groups, in order."""
    return [
        Binding(k.keys, k.action, k.label, show=k.bar, priority=k.priority, id=k.id, tooltip=k.help)
        for group in groups
        for k in group
    ]


APP = (
    Key("app.help", "f1", "help", "Help", "Help for this screen, with all its keys", bar=True, priority=True),
    Key("app.data", "f2", "mode('data')", "Data", "Pairs and datasets: what the model learns from"),
    Key("app.train", "f3", "mode('train')", "Train", "Tune a model on a dataset, watch and stop runs"),
    Key("app.compare", "f4", "mode('compare')", "Compare", "Chat with two models side by side"),
    Key("app.palette", "ctrl+p,f12", "command_palette", "Actions", "Every action by name"),
    Key("app.quit", "ctrl+q,f10", "quit", "Quit", "Leave; a run goes on without this window", priority=True),
)

BACK = (Key("back", "escape", "back", "Back", "Go back one step; never quits"),)

_DISPLAY = {
    "escape": "Esc", "enter": "Enter", "space": "Space", "slash": "/", "delete": "Del", "backspace": "Backspace",
    "plus": "+", "minus": "-", "question_mark": "?", "pageup": "PgUp", "pagedown": "PgDn", "up": "↑", "down": "↓",
    "left": "←", "right": "→", "tab": "Tab", "shift+tab": "Shift+Tab", "home": "Home", "end": "End",
}  # fmt: skip


def display(key: str) -> str:
    """How one key is written on the screen: `ctrl+s` as `^S`, `f2` as `F2`, `U` as `U`."""
    if key in _DISPLAY:
        return _DISPLAY[key]
    if key.startswith("ctrl+"):
        return "^" + key.removeprefix("ctrl+").upper()
    if key.startswith("shift+"):
        return "Shift+" + display(key.removeprefix("shift+"))
    return key.upper() if len(key) > 1 and key[0] == "f" else key
