"""Asks how a dataset is to be split, and shows what would become of it before it is done.
Plans through the bridge; doing it is the caller's."""

from __future__ import annotations

import asyncio
from functools import partial

from textual import on, work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Button, Input, Static

from store import datasets
from store.datasets import SplitPlan
from store.errors import TuningforkError
from tui import formatting
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import one_line
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field

_TYPING_S = 0.2
_SHOWN = 8


class SplitDialog(Dialog[SplitPlan]):
    """The plan that was shown, or None."""

    def __init__(self, dataset: str, pairs: int, pinned: int) -> None:
        super().__init__(f"Split {dataset}")
        self._dataset, self._pairs, self._pinned = dataset, pairs, pinned
        self._plan: SplitPlan | None = None

    def compose_body(self) -> ComposeResult:
        body = f"Split the {formatting.count(self._pairs, 'pair')} of {self._dataset}. "
        body += "Pairs that ask the same question, or nearly, stay together."
        if self._pinned:
            fixed = formatting.count(self._pinned, "pair")
            body += f" {fixed} whose split came with the data or was set will not be moved, unless you choose so."
        yield text(body)
        yield text("For validation: a fraction, or a count from 1", "caption")
        yield Field("0.1", compact=True, id="val")
        yield text("For testing", "caption")
        yield Field("0", compact=True, id="test")
        ways = [("", "nothing"), *((each, each) for each in datasets.STRATA), ("kind tag", "kind and tag")]
        yield Choice("Keep the shares of", ways, id="by")
        if self._pinned:
            yield Choice("Fixed pairs", [("", "stay"), ("all", "move too")], id="all")
        yield Static(id="seen", markup=False)

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Split", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#go", Button).focus()
        self._look(0.0)

    @on(Input.Changed)
    @on(Choice.Changed)
    def _typed(self) -> None:
        self._plan = None
        self._look()

    @work(group="plan", exclusive=True)
    async def _look(self, wait: float = _TYPING_S) -> None:
        await asyncio.sleep(wait)
        seen = self.query_one("#seen", Static)
        try:
            val, test = (float(self.query_one(f"#{name}", Input).value or 0) for name in ("val", "test"))
        except ValueError:
            seen.update(Content.styled("Write numbers, such as 0.1 or 200.", "$text-error"))
            return
        how = {"val": val, "test": test, "by": tuple(self.query_one("#by", Choice).value.split())}
        how["all_pairs"] = any(choice.value == "all" for choice in self.query("#all").results(Choice))
        try:
            plan = await self.tuningfork.bridge.call(partial(datasets.plan_split, **how), self._dataset)  # type: ignore[arg-type]
        except TuningforkError as error:
            seen.update(Content.styled(f"{error.what} {error.todo or ''}", "$text-error"))
            return
        self._plan = plan
        seen.update(_shown(plan))

    def on_input_submitted(self) -> None:
        self._answer()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._answer()
        else:
            self.dismiss(None)

    def _answer(self) -> None:
        if self._plan is not None:  # what is shown is what is done
            self.dismiss(self._plan)


def _shown(plan: SplitPlan) -> Content:
    head = ", ".join(f"{n:,} {split}" for split, n in plan.counts.items())
    lines = [Content.assemble((head, "bold"), f"; {formatting.count(plan.moved, 'pair')} to move.")]
    if len(plan.strata) > 1:
        for name, counts in list(plan.strata.items())[:_SHOWN]:
            lines.append(
                Content(f"{one_line(name, 30)}: " + ", ".join(f"{n:,} {split}" for split, n in counts.items()))
            )
        if len(plan.strata) > _SHOWN:
            lines.append(Content.styled(f"and {len(plan.strata) - _SHOWN:,} more", "$faint"))
    return Content("\n").join(lines)
