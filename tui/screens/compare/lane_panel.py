"""A lane with its heading above and its figures below.
Their texts are worked out in tui.screens.compare.rendering; this only holds the three together."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from tui.screens.compare.block_cache import BlockCache
from tui.screens.compare.lane import LaneView


class Heading(Static):
    """The lane's first line; a click on it asks for another model."""

    class Chosen(Message):
        """The heading was clicked."""

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

    def __init__(self, position: int) -> None:
        super().__init__(classes="lane-heading", markup=False)
        self.position = position

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Chosen(self.position))


class LanePanel(Vertical):
    """One side; `position` counts from the left."""

    DEFAULT_CSS = """
    LanePanel {
        width: 1fr;
        height: 1fr;
        background: $surface;
        & > .lane-heading { height: 1; background: $panel; }
        & > .lane-status { height: 1; color: $faint; padding: 0 1; }
        & > LaneView { height: 1fr; padding-top: 1; background: $surface; }
        &.-target > .lane-heading { background: $lift; }
    }
    """

    def __init__(self, position: int) -> None:
        super().__init__(id=f"panel-{position}")
        self.position = position
        self.cache = BlockCache()
        self.lane = LaneView(id=f"lane-{position}")
        self._heading = Heading(position)
        self._status = Static(classes="lane-status", markup=False)

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self.lane
        yield self._status

    def set_texts(self, heading: Content, status: Content, *, target: bool) -> None:
        """Show these above and below the lane; what is shown already costs nothing. Keys act on the `target`."""
        self.set_class(target, "-target")
        for widget, text in ((self._heading, heading), (self._status, status)):
            if widget.content != text:
                widget.update(text, layout=False)
