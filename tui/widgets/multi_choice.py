"""Any number of a few values, one per line: Space selects the one under the cursor.
Knows nothing of what the values mean. Unlike Textual's SelectionList, it shows the two states not by colour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui import keys


class MultiChoice(OptionList):
    """`values` are what can be selected; `chosen` is what is, in their order."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.MULTI_CHOICE)
    DEFAULT_CSS = """
    MultiChoice {
        height: auto;
        max-height: 10;
        scrollbar-size-vertical: 1;
        border: none;
        padding: 0;
        background: transparent;
        &:focus { border: none; }
        & > .option-list--option { padding: 0 1 0 0; }
    }
    """

    class Changed(Message):
        """One was selected, or unselected."""

    def __init__(self, values: Sequence[str], chosen: Sequence[str] = (), *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._values, self._on, self._notes = list(values), set(chosen), dict[str, Content]()
        self._wide = max(map(len, values))

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(value for value in self._values if value in self._on)

    def on_mount(self) -> None:
        self._fill()

    def offer(self, values: Sequence[str], chosen: Sequence[str]) -> None:
        """Offer other values; what was selected is forgotten."""
        self._values, self._on, self._notes = list(values), set(chosen), {}
        self._wide = max(map(len, values))
        self._fill()
        self.post_message(self.Changed())

    @property
    def values(self) -> tuple[str, ...]:
        """What can be selected."""
        return tuple(self._values)

    def choose(self, values: Sequence[str]) -> None:
        """Select these of the values that are offered, and no others."""
        for value in self._on ^ set(values):
            self._toggle(value)

    def _fill(self) -> None:
        self.clear_options()
        self.add_options([Option(self._prompt(value), id=value) for value in self._values])
        self.highlighted = next((n for n, value in enumerate(self._values) if value in self._on), 0)

    def note(self, notes: Mapping[str, Content]) -> None:
        """Show these after the values."""
        self._notes = dict(notes)
        for value in self._values:  # a note for another value is not shown
            self.replace_option_prompt(value, self._prompt(value))

    def action_toggle_value(self) -> None:
        if self.highlighted is not None:
            self._toggle(self._values[self.highlighted])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click."""
        event.stop()
        self._toggle(self._values[event.option_index])

    def _toggle(self, value: str) -> None:
        self._on ^= {value}
        self.replace_option_prompt(value, self._prompt(value))
        self.post_message(self.Changed())

    def _prompt(self, value: str) -> Content:
        on = value in self._on
        mark = Content.styled("[x] ", "bold $primary") if on else Content.styled("[ ] ", "$faint")
        name = Content.styled(f"{value:<{self._wide}}", "bold" if on else "")
        return mark + name + "  " + self._notes.get(value, Content(""))
