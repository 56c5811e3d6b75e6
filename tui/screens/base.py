"""What the screens of the modes share: masthead above, key bar below, Escape that never quits.
A mode's own screen composes its body and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

from tui import keys
from tui.widgets.key_bar import KeyBar
from tui.widgets.masthead import Masthead

if TYPE_CHECKING:
    from tui.app import TuningforkApp


class ModeScreen(Screen[None]):
    """Base of Data, Train and Compare. `MODE` is the mode's name, and the name of its page in tui/help."""

    MODE: ClassVar[str] = ""
    BINDINGS = keys.bindings(keys.BACK)

    @property
    def tuningfork(self) -> TuningforkApp:
        """The app, typed."""
        return cast("TuningforkApp", self.app)

    def compose(self) -> ComposeResult:
        yield Masthead(self.MODE)
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """The widgets between masthead and key bar."""
        yield from ()

    def on_mount(self) -> None:
        self.query_one(Masthead).live = self.tuningfork.live
        self.tuningfork.live_changed.subscribe(self, self._live_changed)

    def _live_changed(self, _live: object) -> None:
        self.query_one(Masthead).live = self.tuningfork.live

    def action_back(self) -> None:
        """Undo the innermost thing that is open here; a screen with nothing open stays."""

    def quit_notice(self) -> str | None:
        """What to know before leaving the app now, in one sentence; None when there is nothing to say."""
        return None

    def save_drafts(self) -> None:
        """Write unsaved text to disk, at once and without awaiting: the process is about to end."""
