"""Help for the screen it was opened from: a page of tui/help, then every key, generated from tui.keys.
Changes nothing."""

from __future__ import annotations

from importlib.resources import files
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Markdown, Static

from tui import keys
from tui.keys import PAGES, Key, Page, display


class HelpScreen(ModalScreen[None]):
    """`page` is a name in keys.PAGES; one without a page of text shows its keys alone."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.bindings(keys.BACK),
        Binding("q,f1,question_mark", "back", show=False),
    ]

    def __init__(self, page: str) -> None:
        super().__init__()
        self._page = page

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Markdown(text(self._page), open_links=False)
            yield Static(key_list(PAGES.get(self._page, Page(self._page))), id="keys")

    def on_mount(self) -> None:
        box = self.query_one("#help")
        box.border_title = Content(f"Help: {PAGES.get(self._page, Page(self._page)).title}")
        box.border_subtitle = Content("↑↓ scroll   Esc close")
        box.focus()

    def action_back(self) -> None:
        """Close."""
        self.dismiss(None)


def text(page: str) -> str:
    """The written part of a page; empty when there is none."""
    file = files("tui") / "help" / f"{page}.md"
    return file.read_text("utf-8") if file.is_file() else ""


def key_list(page: Page) -> Content:
    """Every key of a page, then those that work everywhere, each with its sentence."""
    groups = [("Keys", page.acts), ("Moving", page.moves), ("Everywhere", (keys.APP, keys.BACK))]
    lines: list[Content] = []
    for title, members in groups:
        rows = [key for group in members for key in group]
        if rows:
            lines += [Content(""), Content.styled(title, "bold $primary"), *(_row(key) for key in rows)]
    return Content("\n").join(lines)


def _row(key: Key) -> Content:
    names = " ".join(display(each.strip()) for each in key.keys.split(","))
    return Content.assemble((f"  {names:<16}", "bold"), key.help)
