"""System prompt and sampling of a comparison, in one dialog: both lanes always get the same.
Checks numbers through engine.inference.sampling; keeps nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input, Label, Static, TextArea

from engine.inference.sampling import Sampling
from store.errors import BadInput
from tui import keys
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clean, content
from tui.widgets.choice import Choice
from tui.widgets.in_order import Area, Field

_FIELDS = (
    ("temperature", "Temperature", "0 always takes the likeliest word"),
    ("top_p", "Top p", "1 turns it off"),
    ("top_k", "Top k", "0 turns it off"),
    ("min_p", "Min p", "0 turns it off"),
    ("repeat_penalty", "Repeat penalty", "1 turns it off"),
    ("seed", "Seed", "the same seed gives the same answer"),
    ("max_tokens", "Max tokens", "the longest answer"),
)
_MASK = (("off", "off"), ("on", "on"))
_THINKING = (("auto", "auto"), ("on", "on"), ("off", "off"))


class CompareSettings(Dialog[tuple[str, Sampling, bool]]):
    """(system prompt, sampling, whether blind answers are shown without names), or None when nothing changes."""

    CSS_PATH = "settings.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.SETTINGS)

    def __init__(self, system: str, sampling: Sampling, mask: bool) -> None:
        super().__init__("Generation settings")
        self._system, self._sampling, self._mask = system, sampling, mask

    def compose_body(self) -> ComposeResult:
        yield Label("System prompt", markup=False)
        yield Area(
            clean(self._system),
            id="system",
            show_line_numbers=False,
            compact=True,
            placeholder="None: the model's own default",
        )
        for name, label, hint in _FIELDS:
            with Horizontal(classes="field"):
                yield Static(content(label), classes="field-label")
                yield Field(
                    f"{getattr(self._sampling, name):g}" if name != "seed" else str(self._sampling.seed),
                    id=name,
                    compact=True,
                    select_on_focus=True,
                )
                yield Static(content(hint), classes="field-hint")
        with Horizontal(classes="field"):
            yield Static("Thinking", classes="field-label")
            yield Choice("", _THINKING, _thinking_name(self._sampling.thinking), id="thinking")
            yield Static("of models like Qwen3", classes="field-hint")
        with Horizontal(classes="field"):
            yield Static("Mask names", classes="field-label")
            yield Choice("", _MASK, "on" if self._mask else "off", id="mask")
            yield Static("in blind answers, until the vote", classes="field-hint")
        yield text("", "problem")

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("New seed", "reseed")
        yield button("Apply", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#temperature", Input).focus()

    def on_input_submitted(self) -> None:
        self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self.action_save()
        elif event.button.id == "reseed":
            self.query_one("#seed", Input).value = str(random.getrandbits(31))
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        """Apply these settings, if they are valid."""
        try:
            typed = {name: _number(self.query_one(f"#{name}", Input).value) for name, _, _ in _FIELDS}
            sampling = Sampling.from_json(typed)
            chosen = {"on": True, "off": False}.get(self.query_one("#thinking", Choice).value)
            sampling = replace(sampling, stop=self._sampling.stop, thinking=chosen)
        except BadInput as error:
            self.query_one(".problem", Static).update(content(_labelled(error)))
            if error.where:
                self.query_one(f"#{error.where}", Input).focus()
            return
        system = self.query_one("#system", TextArea).text.strip()
        self.dismiss((system, sampling, self.query_one("#mask", Choice).value == "on"))


def _thinking_name(thinking: bool | None) -> str:
    return {None: "auto", True: "on", False: "off"}[thinking]


def _labelled(error: BadInput) -> str:
    """The error with the label of the field in place of its API name."""
    labels = {name: label for name, label, _ in _FIELDS}
    name = error.where or ""
    return labels[name] + error.what.removeprefix(name) if name in labels else error.what


def _number(typed: str) -> Any:
    """A number where one was typed; otherwise the text, which the check then rejects by name."""
    try:
        return int(typed)
    except ValueError:
        pass
    try:
        return float(typed)
    except ValueError:
        return typed or " "
