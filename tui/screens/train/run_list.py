"""The runs as a list, two lines each, below an entry for a new one.
It shows rows and posts which one is under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from engine.training.run_control import RunStatus
from store.records import RunState, state_word
from tui import formatting
from tui.screens.train.report import RunRow
from tui.text import one_line

SIGN: dict[RunState, tuple[str, str]] = {
    "queued": ("○", "$faint"),
    "starting": ("◐", "$accent"),
    "running": ("●", "$accent"),
    "stopping": ("◑", "$warning"),
    "stopped": ("■", "$faint"),
    "succeeded": ("✓", "$success"),
    "failed": ("✗", "$error"),
    "lost": ("✗", "$error"),
}
NEW = "+"


def state_words(status: RunStatus) -> str:
    """Where a run is, in a few words."""
    word = state_word(status.state)
    if status.hung:
        return f"{word}, no progress"
    if status.state in ("running", "stopping") and status.total_steps:
        part = f"{100 * status.step // status.total_steps}%"
        left = status.seconds_left
        return f"{word} {part}" if left is None else f"{part}, {formatting.left(left)}"
    if status.state in ("stopped", "lost", "failed") and status.step:
        return f"{word} at step {status.step}"
    return word if status.loss is None or status.state != "succeeded" else f"{word}, loss {status.loss:.3g}"


class RunList(OptionList):
    """`show(rows)` keeps the cursor on the run it was on."""

    DEFAULT_CSS = """
    RunList {
        border: none;
        padding: 0;
        background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; }
        & > .option-list--option { padding: 0 1; }
    }
    """

    class Moved(Message):
        """The cursor moved to another run; None is `New run`."""

        def __init__(self, name: str | None) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.rows: list[RunRow] = []
        self._at: str | None = None
        self._prompts: dict[str, Content] = {}

    @property
    def selected(self) -> RunRow | None:
        """The run under the cursor; None on `New run`."""
        return next((row for row in self.rows if row.run.name == self._at), None)

    def on_mount(self) -> None:
        self.show([])

    def show(self, rows: Sequence[RunRow]) -> None:
        """List these runs, newest first."""
        self.rows = list(rows)
        prompts = {NEW: Content.assemble(("+ ", "bold $primary"), ("New run", "bold"))}
        prompts |= {f"run-{row.run.id}": self._prompt(row) for row in rows}
        if list(prompts) == list(self._prompts):
            for id, prompt in prompts.items():
                if prompt != self._prompts[id]:
                    self.replace_option_prompt(id, prompt)
        else:
            with self.prevent(OptionList.OptionHighlighted):
                self.clear_options()
                self.add_options([Option(prompt, id=id) for id, prompt in prompts.items()])
                self.highlighted = self._index(self._at)
        self._prompts = prompts

    def go_to(self, name: str | None) -> None:
        """Put the cursor on a run; None is `New run`."""
        self._at = name
        self.highlighted = self._index(name)
        self.post_message(self.Moved(name))

    def _index(self, name: str | None) -> int:
        return next((n + 1 for n, row in enumerate(self.rows) if row.run.name == name), 0)

    def _prompt(self, row: RunRow) -> Content:
        sign, style = SIGN[row.run.state]
        width = max(10, self.size.width - 5)
        words = one_line(" · ".join(filter(None, (state_words(row.status), row.run.note))), width)
        return Content.assemble((sign, style), " ", one_line(row.run.name, width), "\n  ", (words, "$faint"))

    def on_option_list_option_highlighted(self, event: Any) -> None:
        event.stop()
        index = event.option_index
        name = self.rows[index - 1].run.name if 0 < index <= len(self.rows) else None
        if name != self._at:
            self._at = name
            self.post_message(self.Moved(name))
