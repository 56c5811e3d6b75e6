"""A model that answers a probe set: a list that fills as answers come, the one under the cursor in full below.
Leaving stops the answers; asking and judging are engine.evaluation.probes'."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.evaluation import probes as probing
from engine.evaluation.probes import ProbeJudges, ProbeOutcome
from engine.inference.sampling import Sampling
from store.errors import TuningforkError
from store.records import Probe
from tui import formatting, keys
from tui.formatting import count
from tui.screens.base import PageScreen
from tui.text import clip, fit, one_line

_SIGNS = {True: ("✓", "$success"), False: ("✗", "$error"), None: ("?", "$warning")}
_WORDS = {True: "passed", False: "failed", None: "not judged"}


class ProbeAnswers(PageScreen[None]):
    """`name` is what the set is asked as, `judge` the model that judges, "" for none. A whole result is kept."""

    PAGE = "probe_answers"
    CSS_PATH = "probe_answers.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK)

    def __init__(self, name: str, model: str, asked: Sequence[Probe], judges: ProbeJudges, judge: str) -> None:
        super().__init__()
        self._set, self._model, self._asked, self._judges, self._judge = name, model, asked, judges, judge
        self._came: list[ProbeOutcome] = []
        self._begun = time.monotonic()
        self._ended = ""

    def compose_body(self) -> ComposeResult:
        yield Static(id="progress")
        yield OptionList(compact=True, markup=False)
        with VerticalScroll(id="whole"):
            yield Static(markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(OptionList).focus()
        self.set_interval(1, self._progress)
        self.ask()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        box = self.query_one(OptionList)
        at = box.highlighted or 0
        box.set_options([Option(self._line(n)) for n in range(len(self._asked))])
        box.highlighted = at
        self._progress()

    @work(group="ask", exclusive=True)
    async def ask(self) -> None:
        """Ask everything, and keep the result."""
        from engine.inference.client import Client

        sampling = Sampling()
        try:
            client = await Client.connect(self.tuningfork.store.home)
            try:
                result = await probing.run(
                    client, self._model, self._asked, sampling, judge=self._judges, on_outcome=self._answered
                )
            finally:
                await client.close()
            basis = self._judges.basis(self._asked)
            number = await self.tuningfork.bridge.call(probing.keep, result, self._set, sampling, basis)
            self._ended = f"kept as result {number}"
        except TuningforkError as error:
            self._ended = "broke off, nothing is kept"
            self.tuningfork.show_error(error, "The probes could not be asked")
        self._progress()
        self.refresh_bindings()

    def _answered(self, outcome: ProbeOutcome) -> None:
        self._came.append(outcome)
        n, box = len(self._came) - 1, self.query_one(OptionList)
        box.replace_option_prompt_at_index(n, self._line(n))
        if box.highlighted == n:
            self._show(n)
        self._progress()

    def _progress(self) -> None:
        judged = [each.passed for each in self._came if each.passed is not None]
        left = len(self._came) - len(judged)
        head = f"{one_line(self._model, 40)} on {one_line(self._set, 30)}"
        head += f", judged by {one_line(self._judge, 40)}" if self._judge else ""
        said = [f"{len(self._came)} of {count(len(self._asked), 'probe')} answered"]
        if self._came:
            said.append(f"{sum(judged)} of {len(judged)} passed" + (f", {left} not judged" if left else ""))
        if self._ended:
            said.append(self._ended)
        elif pace := formatting.pace(len(self._came), len(self._asked), time.monotonic() - self._begun):
            said.append(pace)
        self.query_one("#progress", Static).update(Content(f"{head}\n{', '.join(said)}"))

    def _line(self, n: int) -> Content:
        """`✓ 3 What does it cost?    It costs 89.`"""
        came = self._came[n] if n < len(self._came) else None
        width = max(10, (self.size.width - 12) // 2)
        sign = ("…", "$faint") if came is None else _SIGNS[came.passed]
        answer = "" if came is None else one_line(came.text, width)
        return Content.assemble(sign, (f" {n + 1:<4}", "$faint"), fit(self._asked[n].question, width), "  ", answer)

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        self._show(event.option_index)
        self.query_one("#whole").scroll_home(animate=False)

    def _show(self, n: int) -> None:
        """A question, the answer, and what the judge said."""
        parts = [Content.styled(clip(self._asked[n].question), "bold")]
        if n < len(self._came):
            came = self._came[n]
            parts.append(Content(clip(came.text.strip()) or "(an empty answer)"))
            parts.append(Content.styled(f"{_WORDS[came.passed]}: {clip(came.reason, 1000)}", _SIGNS[came.passed][1]))
        self.query_one("#whole Static", Static).update(Content("\n\n").join(parts))

    def back_word(self) -> str | None:
        return "Back" if self._ended else "Stop, keep nothing"

    def action_back(self) -> None:
        """Back to the sets; what was not asked yet is not asked."""
        if not self._ended:
            self.tuningfork.notify("Stopped before the last probe: nothing is kept.")
        self.dismiss(None)

    def quit_notice(self) -> str | None:
        return None if self._ended else "Probes are being asked; their result is not kept when you leave."
