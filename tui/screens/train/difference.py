"""Two runs beside each other: their curves in one chart, and what differs in settings, data and results; below it the
settings of the first. Draws what engine.training.comparing and the curves say; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.training import comparing
from engine.training.comparing import DataDifference, RunResults, RunSetting, SettingDifference
from store import runs
from store.db import Store
from store.errors import NotFound, TuningforkError
from store.records import Run, state_word
from tui import formatting, keys
from tui.run_summary import data_lines, result_rows, rows_command
from tui.screens.base import PageScreen
from tui.screens.dialogs.pick import Entry, Pick
from tui.screens.train.curves import LOSS, DrawnRun, DrawnRuns
from tui.screens.train.loss_chart import LossChart
from tui.text import clean, fit, one_line

_LABEL = 20
_UNITS = ((7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))
"""From how many seconds on the time is drawn in a unit, and the seconds in it."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What the text of the page says. `other` is None where there is no second run; the data comes later."""

    run: Run
    settings: tuple[RunSetting, ...]
    results: RunResults
    other: RunResults | None = None
    differ: tuple[SettingDifference, ...] = ()


def differences(store: Store, name: str, other: str | None) -> Differences:
    """Read what the page shows but for the data. NotFound for a run that is gone, BadInput for a configuration that
    cannot be read."""
    run = runs.get(store, name)
    found = Differences(run, tuple(comparing.settings(run)), comparing.results(store, run))
    if other is None:
        return found
    before = runs.get(store, other)
    differ = tuple(comparing.differences(before, run))
    return Differences(run, found.settings, found.results, comparing.results(store, before), differ)


def data(store: Store, name: str, other: str) -> DataDifference:
    """What differs in the data of two runs."""
    return comparing.data(store, runs.get(store, other), runs.get(store, name))


class DifferencePage(PageScreen[None]):
    """The run `name`, and `other` beside it if there is one."""

    PAGE = "difference"
    CSS_PATH = "difference.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.DIFFERENCE)

    def __init__(self, name: str, other: str | None) -> None:
        super().__init__()
        self._run_name, self._other = name, other
        self._reader = DrawnRuns()
        self._drawn: list[DrawnRun] = []
        self._found: Differences | None = None
        self._error: TuningforkError | None = None
        self._data: tuple[str, DataDifference] | None = None
        self._measure = LOSS
        self._timed = self._more = False

    def compose_body(self) -> ComposeResult:
        with Container(id="beside"):
            with Vertical(id="drawn"):
                yield Static(id="legend", markup=False)
                yield LossChart()
            with VerticalScroll(id="differences"):
                yield Static(id="difference-text", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#differences").focus()
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.reload())
        self.reload()

    def on_resize(self) -> None:
        """Columns are laid out for the width there is."""
        self.call_after_refresh(self._draw)

    # -- what the store knows -----------------------------------------------------------------------------------------

    @work(group="difference", exclusive=True)
    async def reload(self) -> None:
        """Read both runs; what differs in their data once, since that does not change."""
        bridge, other = self.tuningfork.bridge, self._other
        names = [self._run_name, *([other] if other else [])]
        try:
            self._drawn = await bridge.call(self._reader.read, names, self._measure, timed=self._timed)
            self._found = await bridge.call(differences, self._run_name, other)
            self._error = None
            if other is not None and (self._data is None or self._data[0] != other):
                self._draw()
                self._data = (other, await bridge.job(data, self._run_name, other))
        except NotFound as error:  # a run was removed meanwhile
            self.tuningfork.notify_error(error)
            self.dismiss(None)
            return
        except TuningforkError as error:
            self._error = error
        self._draw()

    # -- keys ---------------------------------------------------------------------------------------------------------

    @work(group="dialog", exclusive=True)
    async def action_other_run(self) -> None:
        """Choose the run that is compared with."""
        every = await self.tuningfork.bridge.call(runs.all_runs)
        others = [run for run in every if run.name != self._run_name]
        if not others:
            self.tuningfork.notify("There is no other run yet.")
            return
        entries = [
            Entry(run.name, run.name, f"{state_word(run.state)}  {formatting.ago(run.created_at)}") for run in others
        ]
        picked = await self.app.push_screen_wait(
            Pick(f"Compare {self._run_name} with", entries, current=self._other or "")
        )
        if picked is not None:
            self._other = picked.value
            self.reload()

    def action_chart(self) -> None:
        """Draw the next measure that one of the runs has."""
        known = list(dict.fromkeys([LOSS, *(name for each in self._drawn for name in each.measures)]))
        at = known.index(self._measure) if self._measure in known else -1
        self._measure = known[(at + 1) % len(known)]
        self.reload()

    def action_axis(self) -> None:
        """Draw over the steps, or over the training time."""
        self._timed = not self._timed
        self.reload()

    def action_more(self) -> None:
        """Show or hide the settings that are as the recipe made them."""
        self._more = not self._more
        self._draw()

    def action_back(self) -> None:
        self.dismiss(None)

    # -- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        if self._drawn:
            self._draw_curves(self._drawn)
        text = self.query_one("#difference-text", Static)
        width = max(30, self.query_one("#differences").size.width - 5)
        if self._error is not None:
            text.update(Content.assemble(("✗ ", "$error bold"), clean(str(self._error))))
        elif self._found is not None:
            known = self._data[1] if self._data and self._data[0] == self._other else None
            text.update(describe(self._found, known, width, self._more))

    def _draw_curves(self, drawn: Sequence[DrawnRun]) -> None:
        lines = [each.points for each in drawn] + [each.val for each in drawn]
        end: float = max((each.steps for each in drawn), default=1)
        scale, unit = 1, ""
        if self._timed:
            seconds = max((points[-1][0] for points in lines if points), default=1.0)
            _, scale, unit = next(each for each in _UNITS if seconds >= each[0])
            end = seconds / scale
            lines = [tuple((x / scale, y) for x, y in points) for points in lines]
        chart, many = self.query_one(LossChart), len(drawn)
        other, other_val = (lines[1], lines[3]) if many > 1 else ((), ())
        chart.show(lines[0], lines[many], end, drawn[0].name, other=other, other_val=other_val, unit=unit)
        width = max(20, self.query_one("#drawn").size.width - 2)
        self.query_one("#legend", Static).update(legend(drawn, self._timed, width))


def legend(drawn: Sequence[DrawnRun], timed: bool, width: int) -> Content:
    """`━━ ember-2  loss 0.312` and `╍╍ ember-1  loss 0.41`, a line each, and what the x axis is."""
    lines = []
    for (sign, style), each in zip((("━━", "$accent"), ("╍╍", "$warning")), drawn, strict=False):
        figure = "not measured" if each.last is None else f"{each.last:.3g}"
        val = f", validation {each.last_val:.3g}" if each.last_val is not None else ""
        words = clean(f"{each.name} {figure}{val}")
        name = one_line(each.run.name, max(8, width - 5 - len(words)))
        lines.append(Content.assemble((sign, f"bold {style}"), " ", (name, "bold"), "  ", (words, "$faint")))
    over = "  over training time" if timed else "  over steps"
    if lines[-1].cell_length + len(over) <= width:
        lines[-1] += Content.styled(over, "$faint")
    return Content("\n").join(lines)


def describe(found: Differences, known: DataDifference | None, width: int, more: bool) -> Content:
    """The text of the page in lines of `width` cells: what differs, then the run's settings."""
    lines: list[Content] = []
    if found.other is not None:
        other, run = found.other.name, found.results.name
        lines += [_head("Settings that differ"), _columns("", other, run, width, "$faint")] if found.differ else []
        for each in found.differ:
            before, after = (comparing.shown(each.name, value) for value in (each.before, each.after))
            lines.append(_columns(each.label, before, after, width))
        lines += [] if found.differ else [_head("Settings"), Content("Both runs have the same settings.")]
        lines += [Content(""), _head("Data"), *_data(known)]
        lines += [Content(""), _head("Results"), _columns("", other, run, width, "$faint")]
        lines += [_columns(label, one, two, width) for label, one, two in result_rows(found.other, found.results)]
        lines.append(Content(""))
    return Content("\n").join([*lines, *_settings(found, width, more)])


def _settings(found: Differences, width: int, more: bool) -> list[Content]:
    config = found.run.config
    recipe = str(config.get("recipe", "identity"))
    changed = [each for each in found.settings if each.changed]
    rest = [each for each in found.settings if not each.changed]
    lines = [_head(f"Settings of {found.run.name}")]
    lines.append(Content.styled(one_line(f"recipe {recipe}, model {found.run.base}", width), "$faint"))
    if not changed:
        lines.append(Content(f"Every setting is that of the recipe {clean(recipe)}."))
    for each in changed:
        usual = f"   (recipe: {comparing.shown(each.name, each.usual)})"
        value = one_line(each.text, max(8, width - _LABEL - 1))
        note = one_line(usual, max(0, width - _LABEL - 1 - len(value) - 3))
        lines.append(Content.assemble((fit(each.label, _LABEL), ""), " ", (value, "bold"), ("   " + note, "$faint")))
    if not more:
        lines.append(
            Content.styled(f"F7 shows {formatting.count(len(rest), 'setting')} as the recipe has them.", "$faint")
        )
    for each in rest if more else ():
        value = one_line(each.text, max(8, width - _LABEL - 1))
        lines.append(Content.assemble((fit(each.label, _LABEL), "$faint"), " ", value))
    return lines


def _data(known: DataDifference | None) -> list[Content]:
    if known is None:
        return [Content.styled("comparing the rows …", "$faint")]
    lines = [Content(line) for line in data_lines(known)]
    return lines if known.before == known.after else [*lines, Content.styled(rows_command(known), "$faint")]


def _head(text: str) -> Content:
    return Content.styled(clean(text), "bold $primary")


def _columns(label: str, one: str, two: str, width: int, style: str = "") -> Content:
    """A label, and the values of both runs under each other's names."""
    wide = max(8, (width - _LABEL - 2) // 2)
    label_ = Content.styled(fit(label, _LABEL), "$faint")
    return Content.assemble(
        label_, " ", (fit(one or "–", wide), style), " ", (one_line(two or "–", wide), style or "bold")
    )
