"""Edits the earlier turns of a conversation: add, remove, move and write them, and choose which answers are trained on.
Saves nothing: who opened it gets the turns after every change, and keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static, TextArea
from textual.widgets.option_list import Option

from store.records import ROLES, Role, Turn
from tui import formatting, keys
from tui.screens.base import PageScreen
from tui.text import one_line
from tui.widgets.choice import Choice
from tui.widgets.line_list import LineList
from tui.widgets.prose import Prose

_OTHER: dict[Role, Role] = {"user": "assistant", "assistant": "user", "system": "user"}
_TRAINED = (("1", "trained on"), ("0", "only read, not trained on"))


class TurnsEditor(PageScreen[None]):
    """The turns before a question, one a line, and the text of the one under the cursor. `changed` is given them after
    each change; `stored` are those that discarding goes back to."""

    PAGE = "turns"
    CSS_PATH = "turns_editor.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.TURNS)

    def __init__(
        self, turns: tuple[Turn, ...], stored: tuple[Turn, ...], changed: Callable[[tuple[Turn, ...]], None]
    ) -> None:
        super().__init__()
        self._turns, self._stored, self._changed = turns, stored, changed
        self._past: list[tuple[tuple[Turn, ...], int]] = []
        self._shown: int | None = None
        self._kept_of: int | None = None
        """The turn whose text before typing is on the stack of undo already."""

    def compose_body(self) -> ComposeResult:
        yield Static(id="heading", markup=False)
        yield LineList()
        yield Prose("Text", id="text")
        with Horizontal(id="line"):
            yield Choice("Role", [(role, role) for role in ROLES], id="role")
            yield Choice("", _TRAINED, id="trained")

    def on_mount(self) -> None:
        super().on_mount()
        if self._turns:
            self._show(self._turns, len(self._turns) - 1)
        else:
            self._insert(0)
        self.query_one(LineList if self._turns and self._turns[-1].content else Prose).focus()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        self._draw()

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _show(self, turns: tuple[Turn, ...], at: int) -> None:
        """Show these turns, the cursor on one of them."""
        self._turns, self._shown = turns, None
        at = max(0, min(at, len(turns) - 1))
        self._draw(at)
        self._open(at if turns else None)

    def _draw(self, at: int | None = None) -> None:
        lines = self.query_one(LineList)
        at = lines.highlighted if at is None else at
        with self.prevent(LineList.OptionHighlighted):
            lines.clear_options()
            lines.add_options([Option(self._line(n)) for n in range(len(self._turns))])
            lines.highlighted = at if self._turns else None
        self._show_heading()

    def _show_heading(self) -> None:
        odd = out_of_turn(self._turns)
        note = (f"! {odd}", "$text-warning") if odd else "then the question"
        heading = Content.assemble(("Earlier turns", "bold"), f"  {len(self._turns)}, ", note)
        self.query_one("#heading", Static).update(heading)

    def _line(self, n: int) -> Content:
        """A turn on one line: its number, who says it, whether it is trained on, and how it begins."""
        turn, width = self._turns[n], self.size.width - 5
        who = turn.role if turn.train else f"{turn.role}, not trained"
        style = "$primary" if turn.role == "user" else "$faint" if not turn.train else ""
        text = one_line(turn.content, max(20, width - 27)) or "(empty)"
        return Content.assemble(
            (f"{n + 1:>3} ", "$faint"), (f"{who:<23}", style), (text, "" if turn.train else "$faint")
        )

    @on(LineList.OptionHighlighted)
    def _moved(self) -> None:
        self._open(self.query_one(LineList).highlighted)

    def _open(self, at: int | None) -> None:
        """Show the text of a turn below the list."""
        if at == self._shown and at is not None:
            return
        self._shown, self._kept_of = at, None
        turn = self._turns[at] if at is not None else Turn("user", "")
        text = self.query_one(Prose)
        text.disabled = self.query_one("#line").disabled = at is None
        with self.prevent(TextArea.Changed, Choice.Changed):
            text.fill(turn.content)
            self.query_one("#role", Choice).value = turn.role
            self.query_one("#trained", Choice).value = "1" if turn.train else "0"
        self.query_one("#trained").display = turn.role == "assistant"

    # -- what is changed ----------------------------------------------------------------------------------------------

    def _put(self, turns: tuple[Turn, ...], at: int) -> None:
        """Show changed turns, with those before on the stack of undo."""
        self._past.append((self._turns, self.query_one(LineList).highlighted or 0))
        self._show(turns, at)
        self._changed(self._turns)

    def _put_one(self, at: int, turn: Turn) -> None:
        self._put((*self._turns[:at], turn, *self._turns[at + 1 :]), at)

    @on(TextArea.Changed)
    def _typed(self) -> None:
        """Take what is typed. Undo goes back to what the turn was before the first letter."""
        at, typed = self._shown, self.query_one(Prose).result
        if at is None or typed == self._turns[at].content:
            return
        if self._kept_of != at:
            self._past.append((self._turns, at))
            self._kept_of = at
        turn = replace(self._turns[at], content=typed)
        self._turns = (*self._turns[:at], turn, *self._turns[at + 1 :])
        self.query_one(LineList).replace_option_prompt_at_index(at, self._line(at))
        self._show_heading()
        self._changed(self._turns)

    @on(Choice.Changed)
    def _chose(self) -> None:
        if self._shown is None:
            return
        turn = self._turns[self._shown]
        role: Role = self.query_one("#role", Choice).value  # type: ignore[assignment]
        train = role != "assistant" or self.query_one("#trained", Choice).value == "1"
        if (role, train) != (turn.role, turn.train):
            self._put_one(self._shown, Turn(role, turn.content, train))

    @property
    def _at(self) -> int | None:
        return self.query_one(LineList).highlighted if self._turns else None

    def _insert(self, at: int) -> None:
        """A new turn before the turn with the number `at`, said by who does not say the one before."""
        role = _OTHER[self._turns[at - 1].role] if at else "user"
        self._put((*self._turns[:at], Turn(role, ""), *self._turns[at:]), at)

    def action_new(self) -> None:
        """Add a turn after the one under the cursor, and write it."""
        self._insert(0 if self._at is None else self._at + 1)
        self.query_one(Prose).focus()

    def action_remove(self) -> None:
        if (at := self._at) is not None:
            self._put((*self._turns[:at], *self._turns[at + 1 :]), at)

    def action_train(self) -> None:
        """Train on the answer under the cursor, or only read it."""
        if (at := self._at) is not None:
            turn = self._turns[at]
            if turn.role != "assistant":
                self.tuningfork.notify("Only answers of the assistant are trained on.")
                return
            self._put_one(at, replace(turn, train=not turn.train))

    def action_move(self, by: int) -> None:
        """Move the turn under the cursor up or down."""
        at = self._at
        if at is not None and 0 <= at + by < len(self._turns):
            turns = list(self._turns)
            turns[at], turns[at + by] = turns[at + by], turns[at]
            self._put(tuple(turns), at + by)

    def action_undo(self) -> None:
        if not self._past:
            self.tuningfork.notify("Nothing to undo here.")
            return
        self._show(*self._past.pop())
        self._changed(self._turns)

    def action_revert(self) -> None:
        """Go back to the turns as they are stored; undo brings back what was typed."""
        if self._turns != self._stored:
            self._put(self._stored, len(self._stored) - 1)

    # -- moving around ------------------------------------------------------------------------------------------------

    @on(LineList.OptionSelected)
    def action_edit(self) -> None:
        """Write the text of the turn under the cursor."""
        if self._turns:
            self.query_one(Prose).focus()

    def key_word(self, id: str) -> str | None:
        return "Write" if id == "lines.open" else super().key_word(id)

    def back_word(self) -> str | None:
        return "To the question" if isinstance(self.focused, LineList) else "To the list"

    def action_back(self) -> None:
        """From a text to the list, from the list back to the pair."""
        if self._turns and not isinstance(self.focused, LineList):
            self.query_one(LineList).focus()
        else:
            self.action_keep()

    def action_keep(self) -> None:
        """Back to the pair with what was written. Turns that were added and left empty are left out."""
        empty = {n for n, turn in enumerate(self._turns) if not turn.content.strip() and turn not in self._stored}
        if empty:
            self._turns = tuple(turn for n, turn in enumerate(self._turns) if n not in empty)
            self._changed(self._turns)
            self.tuningfork.notify(f"Left out {formatting.count(len(empty), 'turn')} without a text.")
        self.dismiss(None)


def out_of_turn(turns: tuple[Turn, ...]) -> str:
    """What is unusual about who speaks when, "" for nothing: user and assistant by turns, the question is the user's.

    >>> out_of_turn((Turn("user", "Hi"), Turn("assistant", "Hello")))
    ''
    >>> out_of_turn((Turn("user", "Hi"), Turn("user", "Ho"), Turn("assistant", "Hello")))
    'turns 1 and 2 are both of the user'
    >>> out_of_turn((Turn("user", "Hi"),))
    'turn 1 and the question are both of the user'
    """
    said = [(n, turn.role) for n, turn in enumerate(turns, 1) if turn.role != "system"]
    for (n, role), (m, other) in pairwise(said):
        if role == other:
            return f"turns {n} and {m} are both of the {role}"
    if said and said[-1][1] == "user":
        return f"turn {said[-1][0]} and the question are both of the user"
    return f"the {said[0][1]} begins" if said and said[0][1] != "user" else ""
