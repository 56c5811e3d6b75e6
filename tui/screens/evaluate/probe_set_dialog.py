"""Asks what holds for a whole probe set: its judge, its rubric, the score to pass at.
Gives back the set as it would be; saving is the screen's."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult
from textual.widgets import Button, Static

from engine.evaluation import judges
from engine.evaluation.judges.model import PASS_AT, ModelJudge
from store.probe_files import MOST, ProbeFile
from tui.screens.dialogs.base import Dialog, button
from tui.text import content, one_line
from tui.widgets.choice import Choice
from tui.widgets.prose import Prose


class ProbeSetDialog(Dialog[ProbeFile]):
    """The set with its new settings, or None."""

    DEFAULT_CSS = "ProbeSetDialog Choice { margin-bottom: 1; } ProbeSetDialog Prose { height: 7; }"

    def __init__(self, name: str, whole: ProbeFile) -> None:
        super().__init__(f"Settings of {one_line(name, 50)}")
        self._whole = whole

    def compose_body(self) -> ComposeResult:
        own = self._whole.judge
        names = [("", f"none named: {judges.DEFAULT.name}, or --judge"), *((name, name) for name in judges.JUDGES)]
        if own and own not in judges.JUDGES:
            names.append((own, own))
        scores = [("", f"{PASS_AT} of {MOST}, as always"), *((str(n), f"{n} of {MOST}") for n in range(1, MOST + 1))]
        pass_at = "" if self._whole.pass_at is None else str(self._whole.pass_at)
        yield Choice("Judge", names, own, id="judge")
        yield Choice("A model's score passes from", scores, pass_at, id="pass_at")
        yield Prose("Rubric (empty: the one of Tuningfork)", id="rubric")
        yield Static(content(f"Rubric and score are for the judge {ModelJudge.name}. ←→ chooses."), classes="hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Save", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#rubric", Prose).fill(self._whole.rubric)
        self.query_one("#judge").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id != "go":
            self.dismiss(None)
            return
        pass_at = self.query_one("#pass_at", Choice).value
        self.dismiss(
            replace(
                self._whole,
                judge=self.query_one("#judge", Choice).value,
                rubric=self.query_one("#rubric", Prose).result.strip(),
                pass_at=int(pass_at) if pass_at else None,
            )
        )
