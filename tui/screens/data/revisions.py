"""Every revision of a pair and what it changed, word by word; one of them can be restored.
Reads the store through the bridge; restoring is the caller's."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from store.records import Pair
from tui import formatting
from tui.pair_changes import pair_changes
from tui.screens.data.bulk_dialogs import marked
from tui.screens.dialogs.base import Dialog, button
from tui.text import clip


class RevisionsDialog(Dialog[int]):
    """The number of the revision to restore, or None. `states` are all that the pair ever was, oldest
    first. `read_only` offers no restoring."""

    def __init__(self, states: list[Pair], *, read_only: bool = False) -> None:
        super().__init__(f"History of the pair {states[-1].uid}")
        self._states, self._read_only = list(reversed(states)), read_only

    def compose_body(self) -> ComposeResult:
        yield OptionList(*[Option(_line(each)) for each in self._states], compact=True, markup=False)
        yield Static(id="changes", markup=False)

    def compose_buttons(self) -> ComposeResult:
        yield button("Close", "cancel")
        if not self._read_only:
            yield button("Restore", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        listed = self.query_one(OptionList)
        listed.styles.max_height = 8
        listed.highlighted = 0
        listed.focus()

    @on(OptionList.OptionHighlighted)
    def _look(self, event: OptionList.OptionHighlighted) -> None:
        at = event.option_index
        before = self._states[at + 1] if at + 1 < len(self._states) else None
        self.query_one("#changes", Static).update(_changes(before, self._states[at]))

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.query(Button).last().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        at = self.query_one(OptionList).highlighted
        self.dismiss(self._states[at].revision if event.button.id == "go" and at is not None else None)


def _line(state: Pair) -> Content:
    age = formatting.ago(state.updated_at)
    when = "just now" if age == "now" else f"{age} ago"
    return Content(f"revision {state.revision}  {when}{'  deleted' if state.deleted_at else ''}  {state.status}")


def _changes(before: Pair | None, state: Pair) -> Content:
    if before is None:
        parts = [("question", Content(clip(state.question, 600))), ("answer", Content(clip(state.answer, 1_200)))]
    else:
        parts = [
            (name, marked(clip(old, 2_000), clip(new, 2_000), around=None))
            for name, old, new in pair_changes(before, state)
        ]
    if not parts:
        said = "The pair was deleted." if state.deleted_at else "The pair came back as it was."
        return Content.styled(said, "$faint")
    return Content("\n").join(Content.assemble((f"{name}  ", "bold $primary"), body) for name, body in parts)
