"""A field for a path with the matching files below it: Tab completes, Down selects, Enter
takes it, a folder lists what is in it.
Reads folders in a thread; knows nothing of what is in a file."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from tui import keys
from tui.text import clean, tail
from tui.widgets.in_order import Field

_AROUND = 4
"""Cells of a row of the list that are not its path: padding and a scroll bar."""

Complete = Callable[[str], Awaitable[list[str]]]


class PathField(Vertical):
    """`value` is what was typed. Names that cannot be written in a terminal are listed clean, and used as they are."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PATHS)
    DEFAULT_CSS = """
    PathField {
        height: auto;
        & OptionList { height: auto; max-height: 7; border: none; padding: 0; background: $surface; display: none; }
        & OptionList > .option-list--option { padding: 0 1; }
    }
    """

    class Changed(Message):
        """Another path was typed or selected."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    class Submitted(Changed):
        """Enter on a path that is not a folder."""

    def __init__(self, complete: Complete, value: str = "", *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._complete, self._start, self._placeholder = complete, value, placeholder
        self._paths: list[str] = []
        self._selected: tuple[str, str] | None = None
        self._wanted = False
        """Whether something was typed since the list was closed."""

    def compose(self) -> ComposeResult:
        yield Field(clean(self._start), placeholder=self._placeholder, compact=True)
        options = OptionList(compact=True, markup=False)
        options.can_focus = False
        yield options

    @property
    def value(self) -> str:
        """The path: the real name of a selected one, even where its clean name is shown."""
        shown = self.query_one(Input).value
        return self._selected[1] if self._selected and self._selected[0] == shown else shown

    def focus(self, scroll_visible: bool = True) -> PathField:
        self.query_one(Input).focus(scroll_visible)
        return self

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self.value))
        self._wanted = True
        self._list()

    @work(exclusive=True)
    async def _list(self) -> None:
        self._paths = await self._complete(self.value)
        options = self.query_one(OptionList)
        options.clear_options()
        width = max(20, self.size.width - _AROUND)
        options.add_options([Option(Content(tail(path, width))) for path in self._paths])
        self._show()

    def _show(self) -> None:
        field, options = self.query_one(Input), self.query_one(OptionList)
        options.display = self._wanted and bool(self._paths) and field.has_focus
        self.refresh_bindings()

    def on_descendant_focus(self) -> None:
        """A field that was filled before it got the focus lists what matches now."""
        self._show()

    def hide(self) -> bool:
        """Close the list; False when it was closed."""
        options = self.query_one(OptionList)
        was_open, options.display, self._wanted = bool(options.display), False, False
        self.refresh_bindings()
        return was_open

    def on_descendant_blur(self) -> None:
        self.hide()

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        if not options.display:
            self.screen.focus_next() if by > 0 else self.screen.focus_previous()
            return
        at = -1 if options.highlighted is None else options.highlighted
        options.highlighted = max(0, min(len(self._paths) - 1, at + by))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tab is offered while there is something to complete; else it goes to the next field, as everywhere."""
        return action != "complete" or bool(self.query_one(OptionList).display)

    def action_complete(self) -> None:
        """Type what all listed paths begin with; where that adds nothing, take the only one or go to the next."""
        typed, shown = self.query_one(Input).value, [clean(path) for path in self._paths]
        common = os.path.commonprefix(shown)  # noqa: RUF071 - by characters, as shells do
        if len(self._paths) == 1:
            self._select(self._paths[0])
        elif common.startswith(typed) and len(common) > len(typed):
            self.query_one(Input).value = common
            self.query_one(Input).cursor_position = len(common)
        else:
            options = self.query_one(OptionList)
            options.highlighted = 0 if options.highlighted is None else (options.highlighted + 1) % len(self._paths)

    @on(Input.Submitted)
    def _enter(self, event: Input.Submitted) -> None:
        event.stop()
        options = self.query_one(OptionList)
        if options.display and options.highlighted is not None:
            self._select(self._paths[options.highlighted])
        elif self.value.strip():
            self.hide()
            self.post_message(self.Submitted(self.value))

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._select(self._paths[event.option_index])

    def _select(self, path: str) -> None:
        field = self.query_one(Input)
        self._selected = (clean(path), path)
        field.value = clean(path)
        field.cursor_position = len(field.value)
        field.focus()
