"""One of a few values on one line: arrows or a click select the next. Smaller and quicker than a drop-down list.
Knows nothing of what the values mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui import keys
from tui.text import clean, one_line


class Choice(Widget, can_focus=True):
    """`options` are (value, label); `value` is the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.CHOICE)
    DEFAULT_CSS = """
    Choice {
        width: auto;
        height: 1;
        color: $foreground;
        &:focus { background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold; }
        &:ansi:focus { text-style: reverse bold; }
    }
    """

    value: reactive[str] = reactive("", init=False, layout=True)

    class Changed(Message):
        """Another value was selected."""

        def __init__(self, choice: Choice, value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], value: str = "", *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.title = title
        self.options = list(options)
        self.set_reactive(Choice.value, value or self.options[0][0])

    def render(self) -> Content:
        return self._line(self.size.width)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self._line().cell_length

    def _line(self, width: int | None = None) -> Content:
        """Title, arrows and the value's label, which is cut to keep the line within `width` cells."""
        label = clean(next((label for value, label in self.options if value == self.value), self.value))
        title = f" {self.title} " if self.title else " "
        if width is not None:
            label = one_line(label, width - cell_len(title) - 5)
        return Content.assemble((title, "$faint"), ("‹ ", "$primary"), label, (" › ", "$primary"))

    def watch_value(self, value: str) -> None:
        self.post_message(self.Changed(self, value))

    def action_step(self, by: int) -> None:
        values = [value for value, _ in self.options]
        at = values.index(self.value) if self.value in values else 0
        self.value = values[(at + by) % len(values)]

    def on_click(self, event: events.Click) -> None:
        self.action_step(-1 if event.x < self.size.width // 2 else 1)
