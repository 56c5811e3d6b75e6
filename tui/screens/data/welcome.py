"""The first screen of an empty home: what Tuningfork is for, and three ways to begin.
Returns what was chosen; loading samples is done by the dialog it opens."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui import keys
from tui.screens.base import PageScreen

_FORK = """\
 ((  ║   ║  ))
((   ║   ║   ))
 ((  ║   ║  ))
     ╚═╦═╝
       ║
       ║"""
_WAYS = (
    (
        "samples",
        "1",
        "Try it with sample data",
        "A small model learns its own name, in minutes.",
    ),
    ("import", "2", "Import a file", "Alpaca, OpenAI messages, ShareGPT, prompt/completion, CSV, Parquet."),
    ("new", "3", "Write the first pair", "A question, and how the model should answer it."),
)


class WelcomeScreen(PageScreen[str]):
    """`import`, `new`, `train` or `dataset:NAME`; None to just look around."""

    PAGE = "welcome"
    CSS_PATH = "welcome.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.WELCOME)

    def compose_body(self) -> ComposeResult:
        with Vertical(id="welcome"):
            yield Static(Content.styled(_FORK, "$primary"), id="fork")
            yield Static(Content.styled("Tuningfork", "bold"), classes="centre")
            yield Static(
                "Collect pairs, tune a model on them, compare the result.", classes="centre faint", markup=False
            )
            yield OptionList(*_rows(), compact=True, markup=False)
            yield Static(_road(), classes="centre", id="road")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_choose(event.option_index)

    def action_choose(self, n: int) -> None:
        """Choose one of the ways."""
        if _WAYS[n][0] == "samples":
            self._load_samples()
        else:
            self.dismiss(_WAYS[n][0])

    @work(exclusive=True)
    async def _load_samples(self) -> None:
        from tui.screens.data import sample_data

        chosen = await sample_data.offer(self.tuningfork)
        if chosen is not None:
            self.dismiss(chosen)

    def action_back(self) -> None:
        """Close without choosing."""
        self.dismiss(None)


def _rows() -> list[Option | None]:
    """The ways as options, with separators (None) between them."""
    ways = [
        Option(Content.assemble((f"{key}  ", "bold $primary"), (title, "bold"), "\n   ", (text, "$faint")))
        for _, key, title, text in _WAYS
    ]
    return [ways[0], None, ways[1], None, ways[2]]


def _road() -> Content:
    steps = (("F2", "collect"), ("F3", "tune"), ("F4", "compare"), ("F6", "evaluate"), ("F5", "export"))
    parts = [Content.assemble((key, "bold $primary"), f" {word}") for key, word in steps]
    return Content.styled(" → ", "$faint").join(parts)
