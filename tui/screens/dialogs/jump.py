"""Jump mode: a label on everything in view that can have the focus; typing one goes there, or presses the button.
Knows nothing of what the widgets are; the app acts on the one that was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, product
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.errors import NoWidget
from textual.events import Key
from textual.geometry import Region, Size
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from tui import keys
from tui.screens.base import ResultScreen
from tui.widgets.key_bar import KeyBar

_LETTERS = "asdfghjklqwertyuiopzxcvbnm"


def labels(count: int) -> list[str]:
    """`count` labels, of one letter where there are enough of them and of two otherwise; none begins another one.

    >>> labels(3), labels(28)[:1] + labels(28)[-3:]
    (['a', 's', 'd'], ['a', 'ma', 'ms', 'md'])
    """
    most = len(_LETTERS)
    pairs = next(pairs for pairs in range(most + 1) if most - pairs + pairs * most >= count or pairs == most)
    single = _LETTERS[: most - pairs]
    return ["".join(each) for each in chain(single, product(_LETTERS[most - pairs :], _LETTERS))][:count]


def in_view(screen: Screen[object]) -> list[tuple[Widget, Region]]:
    """What can have the focus and is in view at least in part, in the order of Tab, with where it is on the screen."""
    found = []
    for widget in screen.focus_chain:
        try:
            region = screen.find_widget(widget).visible_region
        except NoWidget:
            continue
        if region.area:
            found.append((widget, region))
    return found


def placed(regions: Iterable[Region], names: Sequence[str], size: Size) -> list[Region]:
    """Where the labels are drawn: at the start of their widgets, and behind one another where several widgets begin at
    one place."""
    taken: list[Region] = []
    for region, name in zip(regions, names, strict=True):
        width = len(name) + 2
        spot = Region(max(0, min(region.x, size.width - width)), region.y, width, 1)
        while (
            other := next((each for each in taken if each.overlaps(spot)), None)
        ) and other.right + width <= size.width:
            spot = Region(other.right, spot.y, width, 1)
        taken.append(spot)
    return taken


class JumpScreen(ResultScreen[Widget], ModalScreen[Widget]):
    """`targets` are the widgets to choose from and where they are; the result is the chosen one, or None."""

    CSS_PATH = "jump.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK)

    def __init__(self, targets: Sequence[tuple[Widget, Region]], size: Size) -> None:
        super().__init__()
        self._names = labels(len(targets))
        self._targets = dict(zip(self._names, (widget for widget, _ in targets), strict=True))
        self._spots = placed((region for _, region in targets), self._names, size)
        self._typed, self._of_size = "", size

    def compose(self) -> ComposeResult:
        for name, spot in zip(self._names, self._spots, strict=True):
            label = Static(f" {name} ", markup=False, classes="jump-label")
            label.styles.offset = spot.offset
            yield label
        yield KeyBar()

    def badge(self) -> str:
        """For the key bar."""
        return "JUMP: type a label"

    def back_word(self) -> str:
        """For the key bar."""
        return "Leave"

    def on_key(self, event: Key) -> None:
        """Take the next letter of a label; one that begins no label changes nothing."""
        letter = (event.character or "").lower()
        if event.key == "backspace":
            self._narrow("")
        elif letter in _LETTERS and letter and any(name.startswith(self._typed + letter) for name in self._names):
            event.stop()
            self._narrow(self._typed + letter)

    def _narrow(self, typed: str) -> None:
        self._typed = typed
        if typed in self._targets:
            self.dismiss(self._targets[typed])
            return
        for name, label in zip(self._names, self.query(".jump-label"), strict=True):
            label.visible = name.startswith(typed)

    def on_resize(self) -> None:
        """The widgets have moved away from under their labels."""
        if self.app.size != self._of_size:
            self.dismiss(None)

    def action_back(self) -> None:
        """Leave the focus where it is."""
        self.dismiss(None)
