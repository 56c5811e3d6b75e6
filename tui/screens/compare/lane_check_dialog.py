"""Shows what the lane check measured: is the base plain, is a tuned lane tuned, did all read the same tokens?
The numbers come from the chat server."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Button, Static

from tui import formatting
from tui.screens.compare.rendering import is_file, title
from tui.screens.dialogs.base import Dialog, button
from tui.text import clean


class LaneCheckDialog(Dialog[None]):
    """`found` is what the server's lane check returned."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__("Every lane passed the check" if found["honest"] else "A lane FAILED the check")
        self._found = found

    def compose_body(self) -> ComposeResult:
        yield Static(lines(self._found))

    def compose_buttons(self) -> ComposeResult:
        yield button("Close", "close", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#close", Button).focus()

    def on_button_pressed(self, _: Button.Pressed) -> None:
        self.dismiss(None)


def lines(found: dict[str, Any]) -> Content:
    """The findings, each with its mark."""
    lanes = found["lanes"]
    out = [_side(side) for side in lanes]
    apart = found["lanes_max_diff"]
    if apart is not None:
        all_ = "Those of one base" if not found["same_base"] else "Both" if len(lanes) == 2 else "All"
        tokens = formatting.count(lanes[0]["tokens"], "token") if found["same_base"] else "tokens"
        out.append(_mark(found["same_tokens"], f"{all_} read the same {tokens}.", "They read different tokens."))
        out.append(_mark(found["same_template"], f"{all_} use the same chat template.", "Their chat templates differ."))
        out.append(Content.styled(f"  Between them the logits differ by up to {apart:.3g}.", "$faint"))
    elif len(lanes) > 1:
        out.append(Content.styled("  The lanes have different base models, each with its own chat template.", "$faint"))
    return Content("\n").join(out)


def _side(side: dict[str, Any]) -> Content:
    name, model, diff = side["lane"].upper(), clean(title(side["model"])), side["plain_max_diff"]
    if side["tuned"]:
        good = f"{name} · {model} is tuned: its logits differ from the plain base's by up to {diff:.3g}."
        bad = f"{name} · {model} should be tuned, but its logits are those of the plain base."
    elif is_file(side["model"]):
        good = f"{name} · {model} gives what its file contains, without an adapter ({diff:.2g})."
        bad = f"{name} · {model} does NOT give what its file contains: its logits differ by up to {diff:.3g}."
    else:
        good = f"{name} · {model} is the plain model: its logits are the same ({diff:.2g})."
        bad = f"{name} · {model} is NOT the plain model: its logits differ by up to {diff:.3g}."
    return _mark(side["honest"], good, bad)


def _mark(good: bool, yes: str, no: str) -> Content:
    return Content.assemble(("✓ ", "$success bold"), yes) if good else Content.assemble(("✗ ", "$error bold"), no)
