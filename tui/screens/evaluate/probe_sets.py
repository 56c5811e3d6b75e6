"""The probe sets: those of the home, which can be changed, and those that come with Tuningfork, which can be copied.
Reading and writing are probe_editing's; a probe is edited in probe_editor, answers come in probe_answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from store.errors import BadInput
from store.names import name_from
from store.probe_files import ProbeFile
from store.records import Probe
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.dialogs.ask import Ask
from tui.screens.dialogs.confirm import Confirm
from tui.screens.evaluate import probe_editing, probe_run
from tui.screens.evaluate.probe_editing import ListedSet, SetChange
from tui.screens.evaluate.probe_editor import ProbeEditor
from tui.screens.evaluate.probe_set_dialog import ProbeSetDialog
from tui.text import clip, fit, one_line

_SIGNS = {"yours": "●", "bundled": "○", "kept": "○"}
_SOURCES = {
    "yours": "yours",
    "bundled": "read-only, y copies it",
    "kept": "kept from Compare, y copies it",
}
_JUDGE, _EXPECTED = 9, 22
"""Cells of the columns behind the question."""


class ProbeSetScreen(PageScreen[None]):
    """Sets on the left; on the right the probes of the one under the cursor, and one of them in full."""

    PAGE = "probes"
    CSS_PATH = "probe_sets.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROBES)

    def __init__(self) -> None:
        super().__init__()
        self.sets: list[ListedSet] = []
        self._undo: list[SetChange] = []
        self._shown: tuple[str, str] | None = None
        self._acting = asyncio.Lock()  # what a key does sees what the key before it did

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="page"):
            yield OptionList(id="sets", compact=True, markup=False)
            with Vertical(id="one"):
                yield Static(id="about")
                yield OptionList(id="probes", compact=True, markup=False)
                with VerticalScroll(id="whole"):
                    yield Static(id="probe")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#sets").focus()
        self.reload()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self.sets:
            self.call_after_refresh(self._draw)

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def current(self) -> ListedSet | None:
        """The set under the cursor."""
        at = self.query_one("#sets", OptionList).highlighted
        return self.sets[at] if at is not None and at < len(self.sets) else None

    @property
    def at(self) -> int | None:
        """The number of the probe under the cursor, from 0."""
        at, current = self.query_one("#probes", OptionList).highlighted, self.current
        return at if at is not None and current is not None and at < len(current.whole.own) else None

    @property
    def in_sets(self) -> bool:
        """Whether keys act on the whole set: the list of sets has the focus."""
        return self.focused is self.query_one("#sets")

    @work(group="change")
    @show_errors
    async def reload(self) -> None:
        """Read the sets again."""
        async with self._acting:
            await self._read()

    async def _read(self, name: str | None = None, probe: int | None = None) -> None:
        """Read the sets again. The cursor goes to the set of the home called `name` and to its `probe`, or stays."""
        before = self.current
        self.sets = await self.tuningfork.bridge.call(probe_editing.listed)
        wanted = ("yours", name) if name else (before.source, before.name) if before else ("", "")
        found = next((n for n, each in enumerate(self.sets) if (each.source, each.name) == wanted), 0)
        self._draw(found, probe)

    def _draw(self, at: int | None = None, probe: int | None = None) -> None:
        box = self.query_one("#sets", OptionList)
        at = box.highlighted if at is None else at
        width = box.size.width - 2
        box.set_options([Option(_set_line(each, width)) for each in self.sets])
        box.highlighted = min(at or 0, len(self.sets) - 1)
        self._list_probes(probe)

    def _list_probes(self, probe: int | None = None) -> None:
        """The probes of the set under the cursor."""
        current, box = self.current, self.query_one("#probes", OptionList)
        if current is None:
            return
        self._shown = (current.source, current.name)
        self.query_one("#about", Static).update(_about(current))
        at, width = box.highlighted if probe is None else probe, (box.size.width or self.size.width - 30) - 3
        box.set_options(
            [Option(_probe_line(n, each, current.whole, width)) for n, each in enumerate(current.whole.own)]
        )
        box.highlighted = min(at or 0, len(current.whole.own) - 1) if current.whole.own else None
        self._show_probe()

    def _show_probe(self) -> None:
        current, at = self.current, self.at
        text = Content("")
        if current is not None:
            text = Content(clip(current.wrong)) if at is None else _probe_texts(current.whole.own[at], current.whole)
        self.query_one("#probe", Static).update(text)
        self.query_one("#whole").scroll_home(animate=False)
        self.refresh_bindings()

    @on(OptionList.OptionHighlighted, "#sets")
    def _set_moved(self) -> None:
        if self.current is not None and self._shown != (self.current.source, self.current.name):
            self._list_probes(0)

    @on(OptionList.OptionHighlighted, "#probes")
    def _probe_moved(self) -> None:
        self._show_probe()

    @on(OptionList.OptionSelected)
    def _entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_list.id == "sets":
            self.query_one("#probes").focus()
        else:
            self.action_edit()

    def can_act(self, action: str) -> bool:
        current = self.current
        match action:
            case "edit":
                return current is not None and current.editable and self.at is not None
            case "settings":
                return current is not None and current.editable
            case "copy":
                return current is not None and not current.wrong and (self.in_sets or current.editable)
            case "delete":
                return current is not None and (current.source == "yours" if self.in_sets else current.editable)
            case "new":
                return self.in_sets or (current is not None and current.editable)
            case "undo":
                return bool(self._undo)
            case "ask":
                return current is not None and bool(current.whole.own)
        return True

    def on_descendant_focus(self) -> None:
        self.refresh_bindings()

    # -- changing -----------------------------------------------------------------------------------------------------

    async def _change(self, made: SetChange, probe: int | None = None) -> None:
        """Make a change of a whole set, and show it."""
        await self.tuningfork.bridge.call(probe_editing.change, made)
        self._undo.append(made)
        await self._read(made.name, probe)

    async def _edit(self, name: str, at: int, old: Probe | None, new: tuple[Probe, ...], said: str, to: int) -> None:
        """Change one probe, and show the one at `to`."""
        self._undo.append(await self.tuningfork.bridge.call(probe_editing.edit, name, at, old, new, said))
        await self._read(name, to)

    @work(group="change")
    @show_errors
    async def action_edit(self) -> None:
        """Edit the probe under the cursor."""
        async with self._acting:
            current, at = self.current, self.at
            if current is None or not current.editable or at is None:
                return
            old = current.whole.own[at]

            async def save(made: Probe) -> None:
                await self._edit(current.name, at, old, (made,), "edited a probe", at)

            await self.app.push_screen_wait(ProbeEditor(current.name, current.whole, old, save))

    @work(group="change")
    @show_errors
    async def action_new(self) -> None:
        """Write a new probe; in the list of sets, a new set with its first one."""
        async with self._acting:
            current = self.current
            if not self.in_sets:
                if current is not None and current.editable:
                    await self._add(current)
                return
            name = await self.app.push_screen_wait(Ask("New probe set", "Its name:", verb="Next"))
            if name is None:
                return
            await self.tuningfork.bridge.call(probe_editing.check_name, name)

            async def save(made: Probe) -> None:
                await self._change(SetChange(name, None, ProbeFile((made,)), "made a probe set"), 0)

            await self.app.push_screen_wait(ProbeEditor(name, ProbeFile(()), None, save))

    async def _add(self, current: ListedSet) -> None:
        """Write a new probe at the end of a set."""

        async def save(made: Probe) -> None:
            await self._edit(current.name, 0, None, (made,), "added a probe", len(current.whole.own))

        await self.app.push_screen_wait(ProbeEditor(current.name, current.whole, None, save))

    @work(group="change")
    @show_errors
    async def action_copy(self) -> None:
        """Copy the probe; in the list of sets, the whole set under another name."""
        async with self._acting:
            current, at = self.current, self.at
            if current is None or current.wrong:
                return
            if not self.in_sets:
                if current.editable and at is not None:
                    probe = current.whole.own[at]
                    await self._edit(current.name, at, probe, (probe, probe), "copied a probe", at + 1)
                return
            proposed = name_from(f"{current.name} copy" if current.source == "yours" else f"my {current.name}")
            ask = Ask("Copy the probe set", f"Name of the copy of {one_line(current.name, 40)}:", proposed, verb="Copy")
            name = await self.app.push_screen_wait(ask)
            if name is not None:
                own = tuple(replace(each, set=name) for each in current.whole.own)
                await self._change(SetChange(name, None, replace(current.whole, own=own), "copied a probe set"), 0)
                self.tuningfork.notify(f"Copied to {name}: it can be edited.")

    @work(group="change")
    @show_errors
    async def action_delete(self) -> None:
        """Delete the probe; in the list of sets the set, after asking. Undo brings it back."""
        async with self._acting:
            current, at = self.current, self.at
            if current is None:
                return
            if not self.in_sets:
                if at is not None and current.editable:
                    await self._edit(current.name, at, current.whole.own[at], (), "deleted a probe", at)
                    self.tuningfork.notify("Probe deleted. Press u to undo.")
                return
            if current.source != "yours":
                return
            many = formatting.count(len(current.whole.own), "probe")
            body = "Its file is deleted; results of it stay. u brings it back while this screen is open."
            if current.wrong:
                body = "Its file, which cannot be read, is deleted for good."
            if not await self.app.push_screen_wait(
                Confirm(f"Delete the probe set {one_line(current.name, 40)} ({many})?", body, "Delete")
            ):
                return
            if current.wrong:
                await self.tuningfork.bridge.call(probe_editing.remove_unreadable, current.name)
                await self._read()
            else:
                await self._change(SetChange(current.name, current.whole, None, "deleted a probe set"))

    @work(group="change")
    @show_errors
    async def action_undo(self) -> None:
        """Take the last change of this screen back."""
        async with self._acting:
            if not self._undo:
                return
            last = self._undo[-1]
            await self.tuningfork.bridge.call(probe_editing.change, replace(last, before=last.after, after=last.before))
            self._undo.pop()
            self.tuningfork.notify(f"Undid: {last.said} ({one_line(last.name, 40)}).")
            await self._read(last.name)

    @work(group="change")
    @show_errors
    async def action_settings(self) -> None:
        """Set what holds for the whole set."""
        async with self._acting:
            current = self.current
            if current is None or not current.editable:
                return
            made: ProbeFile | None = await self.app.push_screen_wait(ProbeSetDialog(current.name, current.whole))
            if made is not None and made != current.whole:
                await self._change(
                    SetChange(current.name, current.whole, made, "changed the settings of a probe set"), self.at
                )

    # -- asking -------------------------------------------------------------------------------------------------------

    @work(group="ask", exclusive=True)
    @show_errors
    async def action_ask(self) -> None:
        """Ask a model the probes of the set."""
        current = self.current
        if current is None or not current.whole.own:
            return
        try:
            await probe_run.ask(self.tuningfork, current)
        except BadInput as error:
            self.tuningfork.show_error(error, "This set cannot be asked")

    def action_back(self) -> None:
        """From the probes to the sets, then back to the evaluations."""
        if self.in_sets:
            self.dismiss(None)
        else:
            self.query_one("#sets").focus()


def _set_line(each: ListedSet, width: int) -> Content:
    """`● support  12`"""
    many = "!" if each.wrong else str(len(each.whole.own))
    name = fit(each.name, max(6, width - len(many) - 4))
    return Content.assemble(
        (f"{_SIGNS[each.source]} ", "$primary"), name, " ", (many, "$error" if each.wrong else "$faint")
    )


def _about(each: ListedSet) -> Content:
    """Where a set comes from, and what holds for all of it."""
    if each.wrong:
        return Content.styled("Its file cannot be read; correct it in your editor.", "$error")
    whole, said = each.whole, [one_line(each.asked_as, 40)] if each.asked_as != each.name else []
    said += [_SOURCES[each.source]]
    said += [f"judge {one_line(whole.judge, 20)}"] if whole.judge else []
    said += [f"passes at {whole.pass_at}"] if whole.pass_at else []
    said += ["its own rubric"] if whole.rubric else []
    return Content.styled(" · ".join(said), "$faint")


def _probe_line(n: int, probe: Probe, whole: ProbeFile, width: int) -> Content:
    """`3 What does it cost?      contains  89 | 89 crowns`"""
    number = f"{n + 1} "
    expected = _EXPECTED if width > 60 else 12
    asked = fit(probe.question, max(10, width - len(number) - _JUDGE - expected - 2))
    wrong = probe_editing.problem(probe, whole)
    judge = fit(probe_editing.judge_name(probe, whole), _JUDGE)
    wanted = one_line(probe_editing.expectation(probe, whole), expected)
    last = ("! cannot be judged", "$error") if wrong else (wanted, "$faint")
    return Content.assemble((number, "$faint"), asked, " ", (judge, "$primary"), " ", last)


def _probe_texts(probe: Probe, whole: ProbeFile) -> Content:
    """All of a probe."""
    wrong, judge = probe_editing.problem(probe, whole), probe_editing.judge_name(probe, whole)
    parts = [Content.styled(clip(wrong), "$error")] if wrong else []
    texts = (
        ("Question", probe.question), ("System text", probe.system),
        ("A good answer contains any of", "\n".join(probe.must)), ("It contains none of", "\n".join(probe.must_not)),
        ("Judge", judge), ("Reference answer", probe.reference), ("Rubric", probe.rubric),
        ("Asks for the same facts as others of the group", probe.same),
    )  # fmt: skip
    for title, text in texts:
        if text:
            parts += [Content.styled(title, "bold $primary"), Content(clip(text))]
    return Content("\n").join(parts)
