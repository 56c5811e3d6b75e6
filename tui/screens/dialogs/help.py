"""Help for the screen it was opened from: a page of tui/help, then every key, generated from tui.keys.
Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import zip_longest
from types import MappingProxyType
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Markdown

from tui import keys, modes
from tui.keys import Key, Page, display
from tui.services import services

TOPICS = {"remote": Page("Remote control")}
"""Pages of tui/help that belong to no screen. The palette lists them, after those of the screens."""
_NAMES = 16
"""Cells of the column of key names, the gap to their sentences included."""


class HelpScreen(ModalScreen[None]):
    """`page` is a name in modes.pages() or TOPICS; one without a page of text shows its keys alone."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK, keys.HELP_PAGE)

    def __init__(self, page: str) -> None:
        super().__init__()
        self._page = page

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Markdown(text(self._page), open_links=False)
            yield KeyList(_page(self._page))

    def on_mount(self) -> None:
        box = self.query_one("#help")
        box.border_title = Content(f"Help: {_page(self._page).title}")
        box.border_subtitle = Content("↑↓ scroll   Esc close")
        box.focus()

    def action_back(self) -> None:
        """Close."""
        self.dismiss(None)


class KeyList(Widget):
    """The keys of a page in two columns, wrapped each in its own."""

    def __init__(self, page: Page) -> None:
        super().__init__(id="keys")
        self._page = page

    def render(self) -> Content:
        return key_list(self._page, self.size.width, self._keymap)

    @property
    def _keymap(self) -> Mapping[str, str]:
        return services(self).settings.keymap or {}

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return key_list(self._page, width, self._keymap).plain.count("\n") + 1

    def on_resize(self) -> None:
        self.refresh()


def _page(name: str) -> Page:
    return (modes.pages() | TOPICS).get(name, Page(name))


def index() -> dict[str, str]:
    """The written pages of help, by their names in tui/help: their titles."""
    return {name: page.title for name, page in (modes.pages() | TOPICS).items() if _file(name).is_file()}


def text(page: str) -> str:
    """The written part of a page; empty when there is none."""
    file = _file(page)
    return file.read_text("utf-8") if file.is_file() else ""


def _file(page: str) -> Traversable:
    return files("tui") / "help" / f"{page}.md"


def key_list(page: Page, width: int, keymap: Mapping[str, str] = MappingProxyType({})) -> Content:
    """Every key of a page, then those that work everywhere, each with its sentence, in lines of at most `width`.

    `keymap` holds the user's own keys, by the ids of tui.keys.
    """
    groups = [("Keys", page.acts), ("Moving", page.moves), ("Everywhere", (modes.everywhere(), keys.BACK))]
    lines: list[Content] = []
    for title, members in groups:
        rows = [key for group in members for key in group]
        if rows:
            lines += [Content(""), Content.styled(title, "bold $primary")]
            lines += [line for key in rows for line in _row(replace(key, keys=keymap.get(key.id, key.keys)), width)]
    return Content("\n").join(lines)


def _row(key: Key, width: int) -> list[Content]:
    names = " ".join(display(each.strip()) for each in key.keys.split(","))
    left = Content(names).wrap(_NAMES - 2)
    right = Content(key.help).wrap(max(_NAMES, width - 2 - _NAMES))
    return [
        Content.assemble((f"  {name.plain.rstrip():<{_NAMES}}", "bold"), sentence).rstrip()
        for name, sentence in zip_longest(left, right, fillvalue=Content(""))
    ]
