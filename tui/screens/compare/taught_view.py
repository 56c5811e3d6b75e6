"""Which pairs taught this? The pairs of a run's data whose gradients are most like an answer's, the whole pair below.
Enter opens a pair; leaving ends the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from store import pairs
from store.errors import TuningforkError
from store.records import Message
from tui import formatting, keys
from tui.bridge import Left
from tui.screens.base import PageScreen, show_errors
from tui.text import clip, fit, one_line
from tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from engine.training.teachers import Teacher

_SCORE = 6
"""Cells of a likeness."""


class TaughtView(PageScreen[None]):
    """`said` is the conversation, and ends with the answer."""

    PAGE = "taught"
    CSS_PATH = "taught_view.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.TAUGHT)

    def __init__(self, run: str, said: Sequence[Message]) -> None:
        super().__init__()
        self._run, self._said = run, list(said)
        self._found: list[Teacher] | None = None
        self._ended = threading.Event()

    def compose_body(self) -> ComposeResult:
        yield Static("Loading the model and its adapter … Esc cancels.", id="taught-head", markup=False)
        yield LineList()
        with VerticalScroll(id="whole"):
            yield Static(markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self._load()

    def on_unmount(self) -> None:
        self._ended.set()

    @work(group="taught", exclusive=True)
    async def _load(self) -> None:
        """Compare the gradients, in a process that ends with this screen."""
        from engine.training.teachers import teachers

        begun = time.monotonic()

        def heard(read: int, of: int) -> None:
            if self._ended.is_set():
                raise Left
            passed = time.monotonic() - begun
            pace = formatting.pace(read, of, passed)
            left = f", {pace}" if pace else ""
            text = f"The run reads its pairs: {read:,} of {of:,}{left}. Esc cancels."
            self.app.call_from_thread(self.query_one("#taught-head", Static).update, text)

        try:
            self._found = await self.tuningfork.bridge.job(teachers, self._run, self._said, on_progress=heard)
        except Left:
            return
        except TuningforkError as error:
            self.tuningfork.notify_error(error)
            self.dismiss(None)
            return
        self._draw()
        self.refresh_bindings()

    def _draw(self) -> None:
        found, width = self._found, self.size.width - 9 - _SCORE
        if found is None:
            return
        answer = one_line(self._said[-1]["content"], max(20, width - 20))
        head = f"What taught {one_line(self._run, 24)} the answer {answer!r}" if found else "This run has no train row."
        legend = "likeness of gradients: 1 taught exactly this, 0 has nothing to do with it, below 0 the opposite"
        self.query_one("#taught-head", Static).update(Content(head) + Content.styled(f"\n{legend}", "$faint"))
        half = max(10, width // 2)
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options(
            Option(
                Content.assemble(
                    (f"{each.score:>{_SCORE}.3f}  ", "$accent"),
                    fit(each.row.messages[-2]["content"], half),
                    ("  ", ""),
                    (fit(each.row.messages[-1]["content"], half), "$faint"),
                )
            )
            for each in found
        )
        options.highlighted = at if found else None

    def on_resize(self) -> None:
        """The columns take the width there is."""
        self._draw()

    @property
    def _current(self) -> Teacher | None:
        at = self.query_one(OptionList).highlighted
        return self._found[at] if self._found and at is not None else None

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        if (each := self._current) is None:
            return
        row = each.row
        parts = [
            Content.assemble((f"{message['role']}\n", "$primary"), clip(message["content"].strip()))
            for message in row.messages
        ]
        note = "" if row.pair_uid else "This row has no pair any more."
        self.query_one("#whole Static", Static).update(
            Content("\n\n").join([*parts, *([Content(note)] if note else [])])
        )
        self.query_one("#whole").scroll_home(animate=False)

    @on(OptionList.OptionSelected)
    def _entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_open()

    @work(group="change")
    @show_errors
    async def action_open(self) -> None:
        """Open the pair under the cursor to correct it."""
        from tui.screens.data.pair_editor import PairEditor

        if (each := self._current) is None:
            return
        found = await self.tuningfork.bridge.call(pairs.begin_with, each.row.pair_uid) if each.row.pair_uid else []
        if not found:
            self.tuningfork.notify("This pair was deleted since the run; its text is as the run read it.")
            return
        await self.app.push_screen_wait(PairEditor(found[0]))

    def back_word(self) -> str | None:
        return "Cancel" if self._found is None else "Back"

    def can_act(self, action: str) -> bool:
        """There is nothing to open while the gradients are compared."""
        return bool(self._found) if action == "open" else True

    def action_back(self) -> None:
        self._ended.set()
        self.workers.cancel_node(self)
        self.dismiss(None)
