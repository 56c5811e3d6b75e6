"""What a run saved: its checkpoints and its finished adapter, with what was measured at each, and which is the result.
Lists and asks; choosing and removing is engine.training.saved_checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.models.refs import Ref, writes
from engine.training import run_control, saved_checkpoints, watched_probes
from engine.training.saved_checkpoints import ListedCheckpoint, RunCheckpoints
from store.errors import NotFound
from store.records import END_STATES
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.dialogs.confirm import Confirm
from tui.screens.train import report
from tui.text import clean, one_line
from tui.widgets.empty_state import EmptyState

_GAP = "  "
_MARKS = 20
"""Cells of `result, best, latest`, and a few."""
_WHY = {
    "result": "what the run's name stands for",
    "best": "the lowest validation loss of what was saved",
    "latest": "the newest, which a resume continues from",
}


class CheckpointsPage(PageScreen[None]):
    """The saved states of the run `name`, newest first, and the one under the cursor in words."""

    PAGE = "checkpoints"
    CSS_PATH = "checkpoints.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.CHECKPOINTS)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._run_name = name
        self._found: RunCheckpoints | None = None
        self._at: Path | None = None
        self._before: list[int | None] = []
        """Results that were replaced here, for undo."""

    def compose_body(self) -> ComposeResult:
        with Vertical(id="saved-body"):
            yield Static(id="saved-title", markup=False)
            yield Static(id="saved-head", markup=False)
            yield OptionList(id="saved", compact=True, markup=False)
            yield Static(id="saved-about", markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(EmptyState).display = False
        self.query_one(OptionList).focus()
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.reload())
        self.reload()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        self._draw()

    # -- what the store knows -----------------------------------------------------------------------------------------

    @work(group="checkpoints", exclusive=True)
    async def reload(self) -> None:
        """List what is saved, first by sizes; then read the files, which may take a while, behind other long work.
        What was read once is not read again, so that choosing and removing are quick."""
        try:
            quick = await self.tuningfork.bridge.call(saved_checkpoints.listed, self._run_name, verify=False)
            if self._found is None or _places(quick) != _places(self._found):
                self._show(quick)
            self._show(await self.tuningfork.bridge.job(saved_checkpoints.listed, self._run_name))
        except NotFound as error:  # the run was removed meanwhile
            self.tuningfork.notify_error(error)
            self.dismiss(None)

    def _show(self, found: RunCheckpoints) -> None:
        self._found = found
        self.query_one("#saved-body").display = bool(found.states)
        empty = self.query_one(EmptyState)
        empty.display = not found.states
        ended = found.run.state in END_STATES
        empty.say(
            f"{found.run.name} has saved nothing{'' if ended else ' yet'}.",
            [("Esc", "go back" if ended else "go back; s saves a checkpoint and stops the run")],
        )
        self._draw()
        self.refresh_bindings()

    def _draw(self) -> None:
        found = self._found
        if found is None or not found.states:
            return
        width = self.size.width - 4
        columns = _columns(found.states, width)
        self.query_one("#saved-title", Static).update(_title(found, width))
        self.query_one("#saved-head", Static).update(_heading(columns))
        options = self.query_one(OptionList)
        at, before = self._at, options.highlighted or 0
        options.clear_options()
        options.add_options([Option(_line(each, columns, found.verified)) for each in found.states])
        places = [each.folder for each in found.states]
        options.highlighted = places.index(at) if at in places else min(before, len(places) - 1)
        self._about()

    @property
    def current(self) -> ListedCheckpoint | None:
        """The state under the cursor."""
        states = self._found.states if self._found else ()
        return next((each for each in states if each.folder == self._at), states[0] if states else None)

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        """Follow the cursor as it is now: the list may have changed since the event was posted."""
        states, at = self._found.states if self._found else (), self.query_one(OptionList).highlighted
        if at is not None and at < len(states):
            self._at = states[at].folder
            self._about()
            self.refresh_bindings()

    def _about(self) -> None:
        if self._found is not None and self.current is not None:
            self.query_one("#saved-about", Static).update(_details(self.current, self._found, self.size.width - 4))

    # -- keys ---------------------------------------------------------------------------------------------------------

    def can_act(self, action: str) -> bool:
        found, current = self._found, self.current
        ended = found is not None and found.run.state in END_STATES
        match action:
            case "compare":
                return found is not None and current is not None and current.ref is not None and writes(found.run)
            case "export":
                return current is not None
            case "make_result":
                return ended and current is not None and not current.result
            case "undo":
                return ended and bool(self._before)
            case "remove":
                return ended and current is not None and not current.finished
            case "resume":
                resumable = found is not None and run_control.can_resume(found.run)
                return resumable and current is not None and not current.finished
        return True

    @on(OptionList.OptionSelected)
    def _entered(self) -> None:
        if self.can_act("compare"):
            self.action_compare()

    @work(group="act")
    @show_errors
    async def action_compare(self) -> None:
        """Chat with the weights under the cursor beside the model that the run started from."""
        found, current = self._found, self.current
        if found is not None and current is not None and current.ref is not None:
            before = await self.tuningfork.bridge.call(report.before, found.run)
            await self.tuningfork.compare(before, current.ref)

    @work(group="act")
    async def action_export(self) -> None:
        """Open Export with the run, at the step under the cursor."""
        if self.current is not None:
            await self.tuningfork.export(self._run_name, None if self.current.finished else self.current.step)

    @work(group="act")
    @show_errors
    async def action_make_result(self) -> None:
        """Let the run's name stand for the state under the cursor."""
        found, current = self._found, self.current
        if found is None or current is None:
            return
        step, before = (None if current.finished else current.step), found.run.result_step
        await self.tuningfork.bridge.call(saved_checkpoints.make_result, self._run_name, step)
        self._before.append(before)
        what = "its finished adapter" if current.finished else f"step {current.step}"
        self.tuningfork.notify(f"{Ref.run(self._run_name)} is {what} from now on; u undoes it.")
        self.reload()

    @work(group="act")
    @show_errors
    async def action_undo(self) -> None:
        """Make the result what it was before."""
        if self._before:
            step = self._before[-1]
            await self.tuningfork.bridge.call(saved_checkpoints.make_result, self._run_name, step)
            self._before.pop()
            what = "what training kept" if step is None else f"step {step}"
            self.tuningfork.notify(f"Undid it: {Ref.run(self._run_name)} is {what} again.")
            self.reload()

    @work(group="act")
    @show_errors
    async def action_remove(self) -> None:
        """Delete the checkpoint under the cursor, after asking; never the result."""
        current, bridge = self.current, self.tuningfork.bridge
        if current is None or current.finished:
            return
        found = await bridge.call(saved_checkpoints.check_removable, self._run_name, current.step)
        title = f"Remove the checkpoint at step {found.step}?"
        kept = f" It is the run's {' and '.join(found.marks)} one." if found.marks else ""
        body = f"{self._run_name}@{found.step}: {formatting.size(found.bytes)} are deleted for good.{kept}"
        if await self.app.push_screen_wait(Confirm(title, body, "Remove")):
            freed = await bridge.call(saved_checkpoints.remove, self._run_name, found.step)
            self.tuningfork.notify(f"Removed step {found.step}; {formatting.size(freed)} are free.")
            self.reload()

    @work(group="act")
    @show_errors
    async def action_resume(self) -> None:
        """Continue the run from the checkpoint under the cursor; asks first where later ones would be lost."""
        found, current = self._found, self.current
        if found is None or current is None or current.finished:
            return
        later = [each.step for each in found.checkpoints if each.step > current.step]
        if later:
            title = f"Resume {self._run_name} from step {current.step}?"
            steps = ", ".join(f"{step:,}" for step in sorted(later))
            body = f"{formatting.count(len(later), 'later checkpoint')} (step {steps}) and what came after are lost."
            if not await self.app.push_screen_wait(Confirm(title, body, "Resume")):
                return
        notes: list[str] = []
        await self.tuningfork.bridge.call(run_control.resume, self._run_name, current.step, on_note=notes.append)
        for note in notes:
            self.tuningfork.notify(note)
        self.dismiss(None)  # its page shows how it goes on

    def action_back(self) -> None:
        self.dismiss(None)


def _places(found: RunCheckpoints) -> list[tuple[object, ...]]:
    """What is listed, without what only reading the files can tell."""
    return [(each.folder, each.saved_at, each.bytes, each.marks, found.run.state) for each in found.states]


# -- drawing --------------------------------------------------------------------------------------------------------

Column = tuple[str, int, Callable[[ListedCheckpoint], str]]
"""Heading, width, and the text for a state; right-aligned."""


def _columns(states: Sequence[ListedCheckpoint], width: int) -> list[Column]:
    """The figures that fit beside step, age, size and marks; below are all of them."""
    sets = dict.fromkeys(name for each in states for name in each.probes)
    wanted: list[Column] = []
    if any(each.val_loss is not None for each in states):
        wanted.append(("val loss", 8, lambda each: _figure(each.val_loss)))
    for name in sets:
        shown = watched_probes.title(name)
        wanted.append((shown, max(5, min(12, cell_len(shown))), lambda each, name=name: _share(each.probes.get(name))))  # type: ignore[misc]
    if any(each.drift is not None for each in states):
        wanted.append(("drift", 6, lambda each: _figure(each.drift)))
    wanted.append(("loss", 6, lambda each: _figure(each.loss)))
    longest = max(len("step"), *(len(f"{each.step:,}") for each in states))
    columns: list[Column] = [("step", longest, lambda each: f"{each.step:,}"), ("saved", 6, _age)]
    left = width - 2 - sum(wide + len(_GAP) for _, wide, _ in columns) - 6 - len(_GAP) - _MARKS
    for column in wanted:
        if (left := left - column[1] - len(_GAP)) < 0:
            break
        columns.append(column)
    return [*columns, ("size", 6, lambda each: formatting.size(each.bytes))]


def _heading(columns: Sequence[Column]) -> Content:
    cells = _GAP.join(_right(name, wide) for name, wide, _ in columns)
    return Content.styled(f"  {cells}{_GAP}kept as", "$faint")


def _line(each: ListedCheckpoint, columns: Sequence[Column], verified: bool) -> Content:
    """`✓     40    2 h     0.532    34 MB  result, best`"""
    sign, style = ("✗", "$error bold") if each.damage else ("✓", "$success") if verified else ("…", "$faint")
    cells = _GAP.join(_right(text(each), wide) for _, wide, text in columns)
    marks = [("finished", "$faint")] if each.finished else []
    marks += [(mark, "bold $accent" if mark == "result" else "") for mark in each.marks]
    if each.damage:
        marks.append(("damaged", "$error bold"))
    out = Content.assemble((sign, style), " ", cells, _GAP)
    for n, mark in enumerate(marks):
        out += Content.assemble(", " if n else "", mark)
    return out


def _title(found: RunCheckpoints, width: int) -> Content:
    many = formatting.count(len(found.checkpoints), "checkpoint")
    now = found.result
    is_now = "nothing can be used" if now is None else "the finished adapter" if now.finished else f"step {now.step}"
    chosen = ", chosen by you" if now is not None and now.step == found.run.result_step and not now.finished else ""
    head = Content.styled(one_line(f"{found.run.name}: {many}, {formatting.size(found.bytes)}", width), "bold")
    reading = "" if found.verified else "  reading the files …"
    words = one_line(f"{Ref.run(found.run.name)} is {is_now}{chosen}.{reading}", width)
    return head + "\n" + Content.styled(words, "$faint")


def _details(each: ListedCheckpoint, found: RunCheckpoints, width: int) -> Content:
    """Everything about one state, with the path of its files."""
    name = f"The finished adapter, from step {each.step}" if each.finished else f"Step {each.step}"
    age = f", saved {_ago(each.saved_at)}" if each.saved_at is not None else ""
    lines = [Content.styled(f"{name}{age}", "bold")]
    figures = [
        ("validation loss", _figure(each.val_loss)),
        *((watched_probes.title(n), _share(v)) for n, v in each.probes.items()),
    ]
    figures += [("drift", _figure(each.drift)), ("loss", _figure(each.loss))]
    known = [Content.assemble((label, "$faint"), " ", (text, "bold")) for label, text in figures if text]
    lines += _flow(known, width) or [Content.styled("Nothing was measured at this step.", "$faint")]
    if each.marks:
        lines.append(Content(f"Kept as {'; '.join(f'{mark}: {_WHY[mark]}' for mark in each.marks)}."))
    if each.damage:
        lines.append(Content.assemble(("✗ ", "$error bold"), clean(f"{each.damage}. It cannot be made the result.")))
    if each.finished and found.end_bytes:
        more = f"{formatting.size(found.end_bytes)} more keep the state from which it can be given more steps."
        lines.append(Content.styled(more, "$faint"))
    lines.append(Content.styled(clean(str(each.folder)), "$faint"))
    return Content("\n").join(lines)


def _flow(items: Sequence[Content], width: int) -> list[Content]:
    """The items on as few lines of `width` cells as hold them, none broken."""
    lines: list[Content] = []
    for item in items:
        if lines and lines[-1].cell_length + 3 + item.cell_length <= width:
            lines[-1] += Content("   ") + item
        else:
            lines.append(item)
    return lines


def _right(text: str, width: int) -> str:
    """The text at the right of `width` cells."""
    line = one_line(text, width)
    return " " * (width - cell_len(line)) + line


def _age(each: ListedCheckpoint) -> str:
    return formatting.ago(each.saved_at) if each.saved_at is not None else ""


def _ago(at_ms: int) -> str:
    age = formatting.ago(at_ms)
    return "just now" if age == "now" else f"{age} ago"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
