"""The notices of this session, newest first: what passed by while you looked elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult
from textual.notifications import Notification
from textual.widgets import Button

from tui.screens.dialogs.base import Dialog, button, text
from tui.widgets.key_bar import notice_text


class NoticesDialog(Dialog[None]):
    """Closes with Enter or Escape."""

    def __init__(self, notices: Sequence[Notification]) -> None:
        super().__init__("Notices")
        self._notices = notices

    def compose_body(self) -> ComposeResult:
        if not self._notices:
            yield text("There are no notices yet.")
        for notice in reversed(self._notices):
            yield text(f"{datetime.fromtimestamp(notice.raised_at):%H:%M:%S}  {notice_text(notice)}")

    def compose_buttons(self) -> ComposeResult:
        yield button("Close", "close")

    def on_button_pressed(self, _: Button.Pressed) -> None:
        self.dismiss(None)
