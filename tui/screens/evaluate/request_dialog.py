"""Asks what to evaluate: dataset, model, what it is compared with, noise floor and ways.
Gives back a request; planning and starting are the screen's."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button, Static

from engine.evaluation.evaluating import EvaluationRequest
from tui.screens.dialogs.base import Dialog, button
from tui.screens.evaluate.overview import EvaluationChoices
from tui.text import content
from tui.widgets.choice import Choice

NOTHING = ""


class EvaluationDialog(Dialog[tuple[EvaluationRequest, bool]]):
    """(request, whether the ways are asked too), or None."""

    DEFAULT_CSS = "EvaluationDialog Choice { margin-bottom: 1; }"

    def __init__(self, choices: EvaluationChoices) -> None:
        super().__init__("Evaluate")
        self._choices = choices

    def compose_body(self) -> ComposeResult:
        names = [(name, f"{name} ({many} test rows)") for name, many in self._choices.datasets]
        models = [(ref, ref) for ref in self._choices.models]
        first = next((ref for ref in self._choices.models if ref in self._choices.bases), self._choices.models[0])
        yield Choice("Dataset", names, id="dataset")
        yield Choice("Model", models, first, id="model")
        yield Choice("Against", [(NOTHING, "nothing"), *models], self._base(first), id="against")
        yield Choice("Noise floor", (("no", "no"), ("yes", "yes: also ask it with two other seeds")), id="floor")
        ways = (("no", "no"), ("yes", "yes: also with examples and with search results"))
        yield Choice("Ways", ways, id="ways")
        yield Static(content("←→ chooses. Each answer is generated once, in the background."), classes="hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Start", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#dataset").focus()

    def _base(self, model: str) -> str:
        return self._choices.bases.get(model, NOTHING)

    @on(Choice.Changed, "#model")
    def _model_chosen(self, event: Choice.Changed) -> None:
        self.query_one("#against", Choice).value = self._base(event.value)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id != "go":
            self.dismiss(None)
            return
        chosen = {id: self.query_one(f"#{id}", Choice).value for id in ("dataset", "model", "against", "floor", "ways")}
        request = EvaluationRequest(
            (chosen["model"],), against=chosen["against"] or None, dataset=chosen["dataset"],
            floor=chosen["floor"] == "yes",
        )  # fmt: skip
        self.dismiss((request, chosen["ways"] == "yes"))
