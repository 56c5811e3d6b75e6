"""What a remote caller sees of the app: the rows of the screen, its focus, and the actions that it offers.
Only reads; everything that came from data is cleaned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.actions import parse as parse_action
from textual.binding import Binding
from textual.dom import DOMNode

from tui import modes
from tui.keys import Key
from tui.text import clean
from tui.widgets.key_bar import notice_text

if TYPE_CHECKING:
    from textual.app import App

_NOTICES = 10


def rows(app: App[Any]) -> list[str]:
    """The text of the screen, one string a row, without spaces at the end."""
    strips = app.screen._compositor.render_strips(app.size)
    return [clean(strip.text).replace("\n", " ").replace("\t", " ").rstrip() for strip in strips]


def shown(app: Any) -> dict[str, Any]:
    """Everything that a caller may want to know of the screen. `question` tells that a dialog waits for an answer that
    cannot be undone. `notices` are the last ones, oldest first."""
    screen, focused = app.screen, app.screen.focused
    return {
        "mode": app.current_mode,
        "screen": type(screen).__name__,
        "badge": clean(getattr(screen, "badge", lambda: "")()),
        "working": working(app),
        "focus": None if focused is None else named(focused),
        "question": is_question(app),
        "size": [app.size.width, app.size.height],
        "notices": [
            {"severity": notice.severity, "text": clean(notice_text(notice))}
            for notice in list(app.notices)[-_NOTICES:]
        ],
        "rows": rows(app),
    }


def working(app: App[Any]) -> str:
    """What the screen does by itself just now, in a word or two; empty for nothing."""
    return clean(getattr(app.screen, "working", lambda: "")())


def is_question(app: App[Any]) -> bool:
    """Whether the dialog on top asks before something that cannot be undone."""
    return getattr(app.screen, "harmless", True) is False


def named(node: DOMNode) -> str:
    """A widget by its class and id, such as `Prompt#prompt`."""
    return type(node).__name__ + (f"#{node.id}" if node.id else "")


def bound(app: App[Any]) -> dict[str, tuple[DOMNode, Binding, bool]]:
    """The actions that keys reach now, by their id in tui.keys: whose it is, the binding, and whether it is enabled."""
    found: dict[str, tuple[DOMNode, Binding, bool]] = {}
    for active in app.screen.active_bindings.values():
        if active.binding.id and active.binding.id not in found:
            found[active.binding.id] = (active.node, active.binding, active.enabled)
    return found


def page_keys(app: App[Any]) -> dict[str, Key]:
    """The actions of the page that is open, those of other widgets than the focused one included."""
    here = getattr(app.screen, "PAGE", "")
    return {key.id: key for key in modes.actions(here)} if here in modes.pages() else {}


def possible(app: App[Any], key: Key) -> bool:
    """Whether the screen offers an action of its page now; what belongs to a widget without the focus may be asked."""
    name, parameters = parse_action(key.action)[1:]
    return not hasattr(app.screen, f"action_{name}") or app.screen.check_action(name, parameters) is True


def actions(app: App[Any]) -> list[dict[str, Any]]:
    """Name, key, label, help, target and whether it is enabled, for every action of the screen that is open."""
    listed = [
        {
            "name": name, "key": binding.key, "label": binding.description, "help": binding.tooltip,
            "target": named(node), "enabled": enabled,
        }
        for name, (node, binding, enabled) in bound(app).items()
    ]  # fmt: skip
    have = {each["name"] for each in listed}
    listed += [
        {
            "name": key.id, "key": key.first, "label": key.label, "help": key.help,
            "target": named(app.screen), "enabled": possible(app, key),
        }
        for key in page_keys(app).values()
        if key.id not in have
    ]  # fmt: skip
    return listed
