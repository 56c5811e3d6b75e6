"""Writes a new pair or changes one: question, answer, system text, tags, kind and status; earlier turns on a page of
their own (turns_editor.py).
What is typed is kept in a draft file; if another terminal saved the pair meanwhile, saving shows both texts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static, TextArea

from store import pairs
from store.db import Store
from store.errors import BadInput, Conflict
from store.records import Pair, PairDraft, Turn
from tui import drafts, external_editor, file_errors, formatting, keys, pair_markdown
from tui.drafts import Draft
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.turns_editor import TurnsEditor
from tui.text import clean, one_line
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field
from tui.widgets.prose import Prose

_AUTOSAVE_S = 0.8
_LOOKING_S = 0.4
_TEXTS = ("system", "history", "question", "answer")
_KINDS = (("instruction", "instruction"), ("identity", "identity"))
_STATUSES = (("ready", "✓ ready"), ("draft", "○ draft"), ("rejected", "✗ rejected"))


class PairEditor(PageScreen[Pair]):
    """Returns the pair as it was saved, or None. `seed` begins a new pair with texts from a chat."""

    PAGE = "editor"
    CSS_PATH = "pair_editor.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.EDITOR)

    def __init__(self, pair: Pair | None = None, *, seed: PairDraft | None = None, dataset: str | None = None) -> None:
        super().__init__()
        self._pair, self._seed, self._dataset = pair, seed, dataset
        self._key = pair.uid if pair else drafts.CHAT if seed else drafts.NEW
        self._last_saved: Pair | None = None
        self._turns: tuple[Turn, ...] = self._base().history

    def compose_body(self) -> ComposeResult:
        yield Static(id="heading", markup=False)
        yield Static(id="restored", markup=False)
        yield Static(id="warned", markup=False)
        yield Static(id="turns", markup=False)
        with Container(id="texts"):
            yield Prose("Question", id="question")
            yield Prose("Answer", id="answer")
        with Vertical(id="rest"):
            yield Prose("System text (optional)", id="system")
            with Horizontal(id="line"):
                yield Static("Tags ", classes="label")
                yield Field(id="tags", compact=True, placeholder="tags, separated by spaces")
                yield Choice("", _KINDS, id="kind")
                yield Choice("", _STATUSES, id="status")

    def on_mount(self) -> None:
        super().on_mount()
        restored = None if self._seed else self._kept_draft()
        self._fill(restored)
        if restored:
            self._show_restored(restored)
        self.query_one("#answer" if self._base().question.strip() else "#question").focus()

    def _kept_draft(self) -> Draft | None:
        home = self.tuningfork.store.home
        found = drafts.load(home, self._key)
        if found is None and self._key == drafts.NEW and (found := drafts.load(home, drafts.CHAT)):
            self._key = drafts.CHAT
        return found

    def _base(self) -> PairDraft:
        """What counts as unchanged."""
        if self._pair:
            return PairDraft(**{name: getattr(self._pair, name) for name in PairDraft.__dataclass_fields__})
        return self._seed or PairDraft("", kind="instruction")

    def _fill(self, draft: Draft | None = None) -> None:
        """Show the pair as it is stored, or the unsaved draft of it."""
        base = self._base()
        for name in ("question", "answer", "system"):
            self.query_one(f"#{name}", Prose).fill(getattr(base, name), getattr(draft, name) if draft else None)
        self.query_one("#tags", Input).value = clean(draft.tags if draft else " ".join(base.tags))
        self.query_one("#kind", Choice).value = draft.kind if draft else base.kind
        self.query_one("#status", Choice).value = draft.status if draft else base.status
        self._show_heading()
        self.query_one("#restored").display = self.query_one("#warned").display = False
        self._turns = draft.history if draft and draft.history is not None else base.history
        self._show_turns()

    def _show_turns(self) -> None:
        """How many turns there are before the question, and how the last one begins."""
        line = self.query_one("#turns", Static)
        line.display = bool(self._turns)
        if self._turns:
            last = self._turns[-1]
            n = formatting.count(len(self._turns), "earlier turn")
            said = one_line(f"{last.role}: {last.content}", max(20, self.size.width - len(n) - 30))
            line.update(Content.assemble(f"After {n} ", ("F7", "bold $primary"), f" · {said}"))

    def on_resize(self) -> None:
        """The line of turns is as wide as the window."""
        self._show_turns()

    def _show_heading(self) -> None:
        where = f" in {one_line(self._dataset, 40)}" if self._dataset else ""
        if self._pair is None:
            heading = Content.assemble(("New pair", "bold"), where)
        else:
            heading = Content.assemble(
                ("Pair ", "bold"), (self._pair.uid, "$faint"), f"  revision {self._pair.revision}"
            )
        self.query_one("#heading", Static).update(heading)

    def _show_restored(self, draft: Draft) -> None:
        moved = self._pair is not None and draft.revision != self._pair.revision
        text = (
            f"Restored your unsaved text from {formatting.ago(draft.at)} ago."
            if formatting.ago(draft.at) != "now"
            else "Restored your unsaved text."
        )
        text += " The pair was changed since then." if moved else ""
        line = self.query_one("#restored", Static)
        line.update(Content.assemble((text, "$warning"), ("  ^R", "bold $primary"), " discards it"))
        line.display = True

    # -- what was typed -----------------------------------------------------------------------------------------------

    def _typed(self) -> PairDraft:
        """The fields as a draft of a pair."""
        text: dict[str, Any] = {
            name: self.query_one(f"#{name}", Prose).result for name in ("question", "answer", "system")
        }
        tags, base = self.query_one("#tags", Input).value, self._base()
        return replace(
            base,
            **text,
            history=self._turns,
            tags=base.tags if tags == clean(" ".join(base.tags)) else tuple(dict.fromkeys(tags.split())),
            kind=self.query_one("#kind", Choice).value,  # type: ignore[arg-type]
            status=self.query_one("#status", Choice).value,  # type: ignore[arg-type]
        )

    @property
    def changed(self) -> bool:
        """Whether something is typed that is not saved."""
        return self._typed() != self._base()

    @on(TextArea.Changed)
    @on(Input.Changed)
    @on(Choice.Changed)
    def _something_typed(self) -> None:
        self._autosave()
        self._look_for_the_same()

    @work(group="warn", exclusive=True)
    @show_errors
    async def _look_for_the_same(self) -> None:
        """Warn when another pair asks the same: an equal one teaches nothing new, a contradicting one harm."""
        await asyncio.sleep(_LOOKING_S)
        typed, uid = self._typed(), self._pair.uid if self._pair else ""
        line = self.query_one("#warned", Static)
        if not typed.question.strip():
            line.display = False
            return
        same, differ = await self.tuningfork.bridge.call(pairs.asked_before, typed, uid)
        what = ""
        if same:
            what = f"The pair {same[0].uid} has the same question and answer."
        elif differ:
            n = formatting.count(len(differ), "pair asks", "pairs ask")
            what = f"{n} the same and answer{'s' if len(differ) == 1 else ''} differently: "
            what += f"{one_line(differ[0].answer, 60) or '(no answer)'} ({differ[0].uid})"
        line.update(Content.styled(what, "$warning"))
        line.display = bool(what)

    @work(group="autosave", exclusive=True)
    @show_errors
    async def _autosave(self) -> None:
        await asyncio.sleep(_AUTOSAVE_S)
        await self._keep(self._draft() if self.changed else None)

    def _draft(self) -> Draft:
        typed, revision = self._typed(), self._pair.revision if self._pair else 0
        tags = self.query_one("#tags", Input).value
        texts = typed.question, typed.answer, typed.system
        return Draft(self._key, *texts, tags, typed.kind, typed.status, revision, history=typed.history)

    async def _keep(self, draft: Draft | None) -> None:
        """Write the draft, or delete it. The home may be full or gone: then show that each time."""
        bridge, home = self.tuningfork.bridge, self.tuningfork.store.home
        try:
            await (bridge.file(drafts.save, home, draft) if draft else bridge.file(drafts.drop, home, self._key))
        except OSError as error:
            self.tuningfork.notify(
                f"Your unsaved text could not be written to disk: {file_errors.reason(error)}.", severity="error"
            )

    def save_drafts(self) -> None:
        if self.changed:
            self.tuningfork.bridge.file_now(drafts.save, self.tuningfork.store.home, self._draft())

    def quit_notice(self) -> str | None:
        return "Unsaved text is kept; open the pair again to continue." if self.changed else None

    @work(group="leave", exclusive=True)
    async def action_back(self) -> None:
        """Go back. Unsaved text stays in its draft and is restored when the pair is opened again."""
        self.workers.cancel_group(self, "autosave")
        typed = self._typed()
        kept = self.changed and bool(typed.question.strip() or typed.answer.strip() or typed.history)
        await self._keep(self._draft() if kept else None)
        if kept:
            again = "Open the pair again" if self._pair else "Press n again"
            self.tuningfork.notify(f"Not saved, but kept as a draft. {again} to continue.")
        self.dismiss(self._last_saved)

    @work(group="leave", exclusive=True)
    async def action_revert(self) -> None:
        """Go back to what is stored and delete the draft."""
        self.workers.cancel_group(self, "autosave")
        await self._keep(None)
        self._fill()

    # -- earlier turns ------------------------------------------------------------------------------------------------

    def action_turns(self) -> None:
        """Open the turns before the question."""
        self.app.push_screen(TurnsEditor(self._turns, self._base().history, self._take_turns))

    def _take_turns(self, turns: tuple[Turn, ...]) -> None:
        """What was written there counts as typed here: it is kept in the draft, and saved with the pair."""
        self._turns = turns
        self._show_turns()
        self._something_typed()

    # -- writing in the user's own editor -----------------------------------------------------------------------------

    def action_field_outside(self) -> None:
        """Write the field under the cursor in the user's own editor; outside of a text, the whole pair."""
        if isinstance(self.focused, Prose):
            self._write_outside(self.focused)
        else:
            self.action_whole_outside()

    def action_whole_outside(self) -> None:
        """Write earlier turns, question, answer and system text as one Markdown text in the user's own editor."""
        self._write_outside(*(self.query_one(f"#{name}", Prose) for name in pair_markdown.HEADINGS))

    @work(group="outside", exclusive=True)
    @show_errors
    async def _write_outside(self, *fields: Prose) -> None:
        """Take back what the editor leaves. An error, or an empty text, changes nothing."""
        if long := [field for field in fields if field.read_only]:
            name = str(long[0].border_title).lower()
            self.tuningfork.notify(f"The {name} is too long to edit here. Nothing was changed.", severity="warning")
            return
        if self.changed:  # the app is not there while the editor runs
            self.workers.cancel_group(self, "autosave")
            await self._keep(self._draft())
        before = {str(field.id): field.text for field in fields}
        turns = tuple(replace(turn, content=clean(turn.content)) for turn in self._turns)
        text = fields[0].text if len(fields) == 1 else pair_markdown.written(before, turns)
        new = external_editor.edit(self.app, text)
        if not new.strip():
            self.tuningfork.notify("The editor left an empty text. Nothing was changed.", severity="warning")
            return
        try:
            alone = {str(fields[0].id): new}, turns
            after, after_turns = alone if len(fields) == 1 else pair_markdown.read(new, before, turns)
        except BadInput as error:
            target = self.tuningfork.store.home.cache / "pair.md"
            await self.tuningfork.bridge.file(target.write_text, new, "utf-8")
            raise BadInput(error.what, todo=f"{error.todo} What you wrote is in {target}.") from None
        for field in fields:
            if after[str(field.id)] != before[str(field.id)]:
                field.put(after[str(field.id)])
        if after_turns != turns:
            stored = {shown.content: turn.content for shown, turn in zip(turns, self._turns, strict=True)}
            self._take_turns(tuple(replace(t, content=stored.get(t.content, t.content)) for t in after_turns))

    # -- saving -------------------------------------------------------------------------------------------------------

    @work(group="save", exclusive=True)
    @show_errors
    async def action_save(self) -> None:
        if await self._save():
            if self._pair is not None:  # the change may be outside what the list shows
                self.tuningfork.notify("Saved. Press u in the list to undo.", timeout=3)
            self.dismiss(self._last_saved)

    @work(group="save", exclusive=True)
    @show_errors
    async def action_save_next(self) -> None:
        if await self._save():
            self.tuningfork.notify("Saved. Now write the next pair.")
            self._pair, self._seed, self._key = None, None, drafts.NEW
            self._fill()
            self.query_one("#question").focus()

    async def _save(self) -> bool:
        typed = self._typed()
        if typed.status == "ready" and not typed.answer.strip():
            typed = replace(typed, status="draft")
            self.tuningfork.notify("Saved as a draft: it has no answer yet.")
        saved: Pair | None
        try:
            saved = await self.tuningfork.bridge.call(_write, self._pair, typed, self._dataset)
        except BadInput as error:
            self._point_at(error)
            return False
        except Conflict:
            saved = await self._settle(typed)
        if saved is None:
            return False
        self.workers.cancel_group(self, "autosave")
        await self._keep(None)
        self._last_saved = saved
        return True

    def _point_at(self, error: BadInput) -> None:
        """Show the error and focus its field."""
        self.tuningfork.notify_error(error)
        if error.where in ("question", "answer", "system", "tags"):
            self.query_one(f"#{error.where}").focus()

    async def _settle(self, typed: PairDraft) -> Pair | None:
        """The pair was changed in another terminal: let the user choose. None: continue editing."""
        from tui.screens.data.conflict import ConflictDialog
        from tui.screens.data.revisions import RevisionsDialog

        assert self._pair is not None
        theirs = await self.tuningfork.bridge.call(pairs.get, self._pair.uid)
        while True:
            answer = await self.app.push_screen_wait(ConflictDialog(theirs, typed))
            if answer != "history":
                break
            states = await self.tuningfork.bridge.call(pairs.revisions, theirs.uid)
            await self.app.push_screen_wait(RevisionsDialog([*states], read_only=True))
        if answer == "mine":
            return await self.tuningfork.bridge.call(_write, self._pair, typed, self._dataset, theirs)
        if answer == "both":
            return await self.tuningfork.bridge.call(pairs.create_beside, theirs.uid, typed)
        if answer == "theirs":
            self._pair = theirs
            self.action_revert()
        return None


def _write(store: Store, pair: Pair | None, typed: PairDraft, dataset: str | None, over: Pair | None = None) -> Pair:
    """Make the pair, or write what was changed in it. Over a revision that came meanwhile the texts are written as they
    were typed, all of them: an answer fits its own question. Of the rest, what was not changed here stays as it is
    there."""
    if pair is None:
        return pairs.create(store, typed, dataset=dataset)
    fields: dict[str, Any] = {name: getattr(typed, name) for name in PairDraft.__dataclass_fields__}
    changes = {name: value for name, value in fields.items() if value != getattr(pair, name)}
    if over is not None:
        changes |= {name: fields[name] for name in _TEXTS}
    return pairs.edit(store, pair.uid, expect_revision=(over or pair).revision, **changes)
