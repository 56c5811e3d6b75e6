"""Asks from which share of common text on pairs count as near duplicates, and shows what each share would find.
Changes nothing; the counts come from store/thresholds.py."""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from store import thresholds
from store.thresholds import THRESHOLDS, ThresholdCount
from tui.bars import bar
from tui.screens.base import show_errors
from tui.screens.dialogs.base import Dialog, button, text

EXACT = 0.0
"""The answer that asks for pairs with the same text alone."""
_OFFERED = (*reversed(THRESHOLDS), EXACT)
_BAR_CELLS = 16


class ThresholdDialog(Dialog[float]):
    """One of the thresholds, or EXACT; None to leave it as it is."""

    def __init__(self, dataset: str, current: float) -> None:
        super().__init__("Share of common text")
        self._dataset, self._current = dataset, current

    def compose_body(self) -> ComposeResult:
        yield OptionList(*(Option(_line(each, None, 0)) for each in _OFFERED), compact=True, markup=False)
        yield text("Counting …", "hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")

    def on_mount(self) -> None:
        super().on_mount()
        offered = self.query_one(OptionList)
        offered.highlighted = _OFFERED.index(self._current)
        offered.focus()
        self._count()

    @work(exclusive=True)
    @show_errors
    async def _count(self) -> None:
        counts = await self.tuningfork.bridge.job(thresholds.histogram, self._dataset)
        most = max(each.pairs for each in counts)
        offered, by_share = self.query_one(OptionList), {each.threshold: each for each in counts}
        for n, share in enumerate(_OFFERED):
            offered.replace_option_prompt_at_index(n, _line(share, by_share.get(share), most))
        hint = "Groups and pairs that each share finds. A lower one finds more, and more that are no duplicates."
        self.query_one(".hint").update(hint)  # type: ignore[attr-defined]  # it is a Static

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(_OFFERED[event.option_index])

    def on_button_pressed(self) -> None:
        self.dismiss(None)


def _line(share: float, found: ThresholdCount | None, most: int) -> Content:
    name = f"{share:.2f}" if share else "the same text only"
    if found is None:
        return Content(name)
    return Content.assemble(
        f"{name}  {found.groups:>6,} {found.pairs:>7,}  ", (bar(found.pairs / max(1, most), _BAR_CELLS), "$primary")
    )
