"""The modes of the app, one registry row each: Data, Train, Compare, Export.
The app's screens, the mode keys, the masthead, the palette and the help are all derived from these rows; a new mode is
its screen and one row here. The keys inside a mode are declared in tui.keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tui import keys
from tui.keys import Key, Page

if TYPE_CHECKING:
    from textual.screen import Screen


@dataclass(frozen=True, slots=True)
class Mode:
    """One row. `name` is also the name of the mode's help page, `number` the digit of its keys: 2 is F2 and Alt+2.

    `screen` is `module:class` and is imported when the mode is first shown, so that start-up pays for one screen only.
    """

    name: str
    number: int
    help: str
    screen: str
    page: Page

    @property
    def title(self) -> str:
        """The word for the mode in the masthead, the palette and the help."""
        return self.page.title

    @property
    def key(self) -> Key:
        """The binding that opens the mode from anywhere."""
        return keys.of_mode(self.name, self.number, self.title, self.help)

    def make(self) -> Screen[Any]:
        """A new screen of this mode."""
        module, _, attribute = self.screen.partition(":")
        screen: Screen[Any] = getattr(import_module(module), attribute)()
        return screen


_MODES: dict[str, Mode] = {}


def register(mode: Mode) -> None:
    """Add a mode. ValueError where the name or the number is taken."""
    for other in _MODES.values():
        if mode.name == other.name or mode.number == other.number:
            raise ValueError(f"mode {mode.name} ({mode.number}): {other.name} ({other.number}) is registered already")
    _MODES[mode.name] = mode


def unregister(name: str) -> None:
    """Remove a mode: apps opened from now on do not have it."""
    del _MODES[name]


def registered() -> tuple[Mode, ...]:
    """Every mode, in the order of their numbers."""
    return tuple(sorted(_MODES.values(), key=lambda mode: mode.number))


def mode_keys() -> tuple[Key, ...]:
    """The keys that open the modes."""
    return tuple(mode.key for mode in registered())


def everywhere() -> tuple[Key, ...]:
    """The keys that work on every screen, in the order of the help."""
    return *keys.HELP, *mode_keys(), *keys.APP


def pages() -> dict[str, Page]:
    """What help and palette list, by the page's name in tui/help: the modes, then what opens on top of them."""
    return {mode.name: mode.page for mode in registered()} | keys.PAGES


def actions(page: str) -> Iterator[Key]:
    """The keys of a page that do something, movements left out."""
    return (key for group in pages()[page].acts for key in group)


register(
    Mode(
        "data",
        2,
        "Pairs and datasets: what the model learns from",
        "tui.screens.data.screen:DataScreen",
        Page("Data", (keys.DATA,), (keys.TABLE, keys.SEARCH)),
    )
)
register(
    Mode(
        "train",
        3,
        "Tune a model on a dataset; watch and stop runs",
        "tui.screens.train.screen:TrainScreen",
        Page("Train", (keys.TRAIN, keys.RUNS), (keys.PICKER, keys.CHOICE)),
    )
)
register(
    Mode(
        "compare",
        4,
        "Chat with two models side by side",
        "tui.screens.compare.screen:CompareScreen",
        Page("Compare", (keys.COMPARE,), (keys.PROMPT, keys.LANE)),
    )
)
register(
    Mode(
        "export",
        5,
        "Turn a run into files that other programs can use",
        "tui.screens.export.screen:ExportScreen",
        Page("Export", (keys.EXPORT,), (keys.CHOICE, keys.MULTI_CHOICE)),
    )
)
register(
    Mode(
        "evaluate",
        6,
        "Measure models on test rows, with honest intervals",
        "tui.screens.evaluate.screen:EvaluateScreen",
        Page("Evaluate", (keys.EVALUATE,), (keys.CHOICE,)),
    )
)
