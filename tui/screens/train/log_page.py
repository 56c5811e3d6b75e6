"""The log file of a run, as its process wrote it: follows while the run runs, and can be searched.
Reading is engine.training.run_log's, drawing log_text's."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input, Static

from engine.training.run_log import LogPart, RunLogReader
from store.errors import TuningforkError
from tui import file_errors, formatting, keys
from tui.screens.base import PageScreen
from tui.screens.train.log_text import LogText
from tui.text import clean, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.in_order import Field

_TICK_S = 0.5


class LogPage(PageScreen[None]):
    """The log of the latest process of the run `name`."""

    PAGE = "run_log"
    CSS_PATH = "log_page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.RUN_LOG)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._run_name = name
        self._reader, self._reading = RunLogReader(name), False
        self._part: LogPart | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="log-title", markup=False)
        yield LogText(id="log-text")
        yield EmptyState()
        yield Field(placeholder="Find in the log; Enter goes to the newest", compact=True, id="log-find")

    def on_mount(self) -> None:
        super().on_mount()
        self._text.display = self._field.display = False
        self.query_one(EmptyState).say("Reading the log …", [("Esc", "go back")])
        self.set_interval(_TICK_S, self.read)
        self.read()

    def on_resize(self) -> None:
        self._name_it()

    @property
    def _text(self) -> LogText:
        return self.query_one(LogText)

    @property
    def _field(self) -> Field:
        return self.query_one("#log-find", Field)

    # -- following ----------------------------------------------------------------------------------------------------

    @work(group="read")
    async def read(self) -> None:
        """Show what was written since."""
        if self._reading:
            return
        self._reading = True
        try:
            part = await self.tuningfork.bridge.call(self._reader.more)
        except TuningforkError as error:
            self._say(error.what)
            return
        except OSError as error:
            self._say(file_errors.sentence(error))
            return
        finally:
            self._reading = False
        if part.fresh:
            self._text.forget()
        self._part = part
        self._text.add(part.text)
        if not self._text.display:
            self._text.display, self.query_one(EmptyState).display = True, False
            self._text.focus()
        self._name_it()

    def _say(self, why: str) -> None:
        self._text.display, self.query_one(EmptyState).display = False, True
        self.query_one(EmptyState).say(why, [("Esc", "go back")])

    def _name_it(self) -> None:
        part = self._part
        if part is None:
            return
        width = self.size.width - 4
        left_out = f"the first {formatting.size(part.left_out)} are not shown" if part.left_out else ""
        found = ""
        if self._text.needle:
            found = f"“{one_line(self._text.needle, 20)}”: {formatting.count(self._text.matches, 'line')}"
        head = " · ".join(filter(None, [f"Log of {self._run_name}", left_out, found]))
        where = Content.styled(clean(str(part.path)), "$faint")
        self.query_one("#log-title", Static).update(Content.styled(one_line(head, width), "bold") + "\n" + where)

    # -- finding ------------------------------------------------------------------------------------------------------

    def can_act(self, action: str) -> bool:
        if action == "match":
            return bool(self._text.needle)
        return self._text.display if action == "find" else True

    def action_find(self) -> None:
        """Ask for a text to find."""
        self._field.display = True
        self._field.focus()

    @on(Input.Submitted, "#log-find")
    def _asked(self, event: Input.Submitted) -> None:
        """Go to the newest line with the text; without a text, end the search."""
        self._text.needle, self._text.at = event.value.strip(), -1
        self._field.display = False
        self._text.focus()
        if self._text.needle and not self._text.find(-1, self._text.virtual_size.height):
            self.tuningfork.notify(f"“{self._text.needle}” is not in this log.")
            self._text.needle = ""
        self._text.refresh()
        self._name_it()
        self.refresh_bindings()

    def action_match(self, step: int) -> None:
        """Go to the next line with the text, or the one before."""
        self._text.find(step)

    def action_back(self) -> None:
        if self._field.display:
            self._field.display = False
            self._text.focus()
        else:
            self.dismiss(None)
