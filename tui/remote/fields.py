"""What can be filled in and chosen on the screen that is open: its fields, lists and buttons, by name.
Acts on a widget as a key does there; who may ask for it is decided by the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Static, TextArea

from store.errors import BadInput, Conflict, NotFound, Unsupported
from tui.paste import plain
from tui.remote import protocol
from tui.screens.data.pair_table import PairTable
from tui.text import clean, one_line
from tui.widgets.choice import Choice
from tui.widgets.multi_choice import MultiChoice

if TYPE_CHECKING:
    from textual.app import App

MOST_ROWS = 200
"""Rows of a list that are told, from the beginning; the cursor's row is always found by `choose`."""
_NAMED = 5
"""Rows that an error names."""


@dataclass(frozen=True, slots=True)
class RemoteField:
    """A widget that takes keys. `kind` is text, choice, several, list, button or other; `name` is unique on the screen,
    `label` what stands beside it."""

    name: str
    kind: str
    label: str
    widget: Widget

    def told(self, focused: Widget | None) -> dict[str, Any]:
        """The field as a caller reads it."""
        widget = self.widget
        found: dict[str, Any] = {"name": self.name, "kind": self.kind, "label": self.label, "focus": widget is focused}
        if isinstance(widget, Input):
            found["value"] = "" if widget.password else clean(widget.value)
        elif isinstance(widget, TextArea):
            found["value"] = clean(widget.text)
        elif isinstance(widget, Choice):
            found |= {"value": clean(widget.value), "options": [clean(value) for value, _ in widget.options]}
        elif isinstance(widget, MultiChoice):
            found |= {"value": ",".join(widget.chosen), "options": list(widget.values)}
        elif isinstance(widget, OptionList | PairTable):
            rows = [text for text, _ in _rows(widget)]
            found |= {"rows": rows[:MOST_ROWS], "more": max(0, len(rows) - MOST_ROWS), "at": _at(widget)}
        return found


def fields(app: App[Any]) -> list[RemoteField]:
    """The fields, lists and buttons of the screen, in the order of Tab; a list that a field moves is behind them."""
    screen = app.screen
    widgets = [*screen.focus_chain]
    widgets += [each for each in screen.query(OptionList) if each not in widgets and each.is_on_screen]
    found: list[RemoteField] = []
    for widget in widgets:
        base = _own_name(widget)
        taken = sum(field.name.partition("~")[0] == base for field in found)
        found.append(RemoteField(f"{base}~{taken + 1}" if taken else base, _kind(widget), _label(widget), widget))
    return found


def field_named(app: App[Any], name: str) -> RemoteField:
    """The field of that name, or else with that label, in any case. NotFound names the nearest, or all there are."""
    listed = [field for field in fields(app) if field.kind != "button"]
    for key in (lambda field: field.name, lambda field: field.label):
        found = [field for field in listed if key(field).casefold() == name.casefold()]
        if found:
            return found[0]
    names = [field.name for field in listed]
    there = f"The fields of this screen are: {', '.join(names)}" if names else "This screen has no fields."
    raise protocol.unknown("field", name, names, there)


def fill(app: App[Any], name: str, text: str) -> Widget:
    """Replace what a field holds, as if it had been selected and pasted over; a choice takes one of its options, a list
    of several takes them with commas between. Returns the widget, which has the focus."""
    field = field_named(app, name)
    widget = field.widget
    if isinstance(widget, Choice):
        widget.value = _option(field, text, [(value, clean(label)) for value, label in widget.options])
    elif isinstance(widget, MultiChoice):
        offered = [(value, value) for value in widget.values]
        widget.choose([_option(field, each.strip(), offered) for each in text.split(",") if each.strip()])
    elif isinstance(widget, Input | TextArea):
        _write(field, widget, text)
    else:
        todo = "Choose one of its rows: tuningfork remote choose TEXT" if field.kind == "list" else None
        raise Unsupported(f"The {field.kind} {field.name} holds no text.", todo=todo)
    widget.focus()
    return widget


def choose(app: App[Any], text: str) -> Widget:
    """Put the cursor on the row of a list that has `text`, or the focus on the button that says it; what is that text
    as a whole comes first. Conflict where several rows have it, NotFound where none does."""
    found = list(_targets(app))
    wanted = text.casefold()
    tests: tuple[Callable[[str], bool], ...] = (
        lambda row: row.casefold() == wanted,
        lambda row: wanted in row.casefold(),
    )
    for test in tests:
        matching = [(row, widget, at) for row, widget, at in found if test(row)]
        if len(matching) > 1:
            named = "; ".join(one_line(row, 60) for row, _, _ in matching[:_NAMED])
            what = f"{len(matching)} rows on the screen have {one_line(text, 40)!r}."
            raise Conflict(what, todo=f"Type more of the one you mean: {named}")
        if matching:
            _, widget, at = matching[0]
            if widget.focusable:
                widget.focus()
            if isinstance(widget, OptionList):
                widget.highlighted = at
            elif isinstance(widget, PairTable):
                widget.cursor = at
            return widget
    named = "; ".join(one_line(row, 40) for row, _, _ in found[:_NAMED])
    what = f"No row and no button on the screen has {one_line(text, 40)!r}."
    raise NotFound(what, todo=f"There is: {named}" if named else "See what is shown: tuningfork remote show")


def _targets(app: App[Any]) -> Iterator[tuple[str, Widget, int]]:
    """Every row and every button with its text, its widget and its place there."""
    for field in fields(app):
        widget = field.widget
        if isinstance(widget, Button):
            yield field.label, widget, 0
        elif isinstance(widget, OptionList | PairTable) and not isinstance(widget, MultiChoice):
            for text, at in _rows(widget):
                yield text, widget, at


def _write(field: RemoteField, widget: Input | TextArea, text: str) -> None:
    """Replace the text of a field by what a paste of it would be."""
    text = plain(text)
    if isinstance(widget, Input):
        if "\n" in text:
            raise BadInput(f"The field {field.name} is one line, and the text has a line break.", where=field.name)
        widget.screen.set_focus(widget)  # before it changes: matches are listed of the field that has the focus
        widget.value = text
        widget.cursor_position = len(text)
        return
    if widget.read_only:
        raise Unsupported(f"The field {field.name} cannot be changed.", where=field.name)
    widget.replace(text, (0, 0), widget.document.end)


def _option(field: RemoteField, text: str, offered: list[tuple[str, str]]) -> str:
    """The value of an option by its value or its label. BadInput names what there is."""
    for value, label in offered:
        if text.casefold() in (value.casefold(), label.casefold()):
            return value
    names = ", ".join(clean(value) for value, _ in offered)
    raise BadInput(f"{one_line(text, 40)!r} is none of the options.", where=field.name, todo=f"Use one of: {names}")


def _kind(widget: Widget) -> str:
    if isinstance(widget, Input | TextArea):
        return "text"
    kinds = ((Choice, "choice"), (MultiChoice, "several"), ((OptionList, PairTable), "list"), (Button, "button"))
    return next((name for types, name in kinds if isinstance(widget, types)), "other")


def _own_name(widget: Widget) -> str:
    """The widget's id, or that of the widget it is a part of, or its class."""
    parent = widget.parent
    part_of = parent.id if isinstance(parent, Widget) and isinstance(widget, Input) else None
    return widget.id or part_of or type(widget).__name__.lower()


def _label(widget: Widget) -> str:
    """What a button says; of a field the text to its left, or its title."""
    if isinstance(widget, Button):
        return one_line(str(widget.label), 80)
    if isinstance(widget, Choice) and widget.title:
        return one_line(widget.title, 80)
    parent = widget.parent
    if isinstance(parent, Widget):
        before = parent.children[: parent.children.index(widget)]
        beside = [each for each in before if isinstance(each, Static) and any("label" in name for name in each.classes)]
        if beside:
            return one_line(str(beside[-1].render()), 80)
    return one_line(str(widget.border_title or ""), 80)


def _rows(widget: OptionList | PairTable) -> list[tuple[str, int]]:
    """The rows of a list with their places: all of them, of the pairs those in view."""
    if isinstance(widget, OptionList):
        listed = [(str(option.prompt), at) for at, option in enumerate(widget.options) if not option.disabled]
    else:
        listed = widget.rows_in_view()
    return [(one_line(text, 400), at) for text, at in listed]


def _at(widget: OptionList | PairTable) -> int | None:
    return widget.highlighted if isinstance(widget, OptionList) else widget.cursor
