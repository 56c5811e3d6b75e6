"""Why this word? The tokens of an answer under the tuned model and its base, and what else each would have written.
Shows what the chat server computed; a fork is returned to whoever opened it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static

from engine.comparison.answer import TokenFork
from engine.inference.token_comparison import Alternative, TokenComparison, TokenSpan, spans
from store.errors import TuningforkError
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.compare.rendering import title
from tui.screens.compare.token_lines import TokenLines
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import fit, one_line
from tui.token_words import LEGEND, probability, quoted, remarks, summary, times

Heard = Callable[[int, int], None]
TOP = 5
"""Alternatives of each model."""
_LONGEST = 30
"""Characters of a token that are shown with its figures."""
_COLUMN = 34
"""Cells of a column of alternatives."""


class TokenView(PageScreen[TokenFork]):
    """`compare` computes the comparison, and hears of it how many tokens are read, of how many. `fixed` says why the
    answer cannot be forked; empty where it can."""

    PAGE = "tokens"
    CSS_PATH = "token_view.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.TOKEN_FORK)

    def __init__(self, compare: Callable[[Heard], Awaitable[TokenComparison]], fixed: str = "") -> None:
        super().__init__()
        self._compare, self._fixed = compare, fixed
        self._found: TokenComparison | None = None
        self._spans: list[TokenSpan] = []

    def compose_body(self) -> ComposeResult:
        yield Static("Both models read the answer …", id="token-head", markup=False)
        yield TokenLines()
        yield Static(id="token-detail", markup=False)

    def on_mount(self) -> None:
        self.query_one(TokenLines).focus()
        self._load()

    @work(group="compare-tokens", exclusive=True)
    async def _load(self) -> None:
        """Compute the comparison; leaving the screen cancels it."""
        begun = time.monotonic()

        def heard(read: int, of: int) -> None:
            passed = time.monotonic() - begun
            pace = formatting.pace(read, of, passed)
            left = f", {pace}" if pace else ""
            rate = f", {read / passed:,.0f} per second" if read and passed > 1 else ""
            text = f"Both models read the answer: {read:,} of {of:,} tokens{rate}{left}. Esc cancels."
            self.query_one("#token-head", Static).update(text)

        try:
            found = await self._compare(heard)
        except TuningforkError as error:
            self.tuningfork.notify_error(error)
            self.dismiss(None)
            return
        self._found, self._spans = found, spans(found.tokens)
        self._draw_head()
        self.query_one(TokenLines).show(self._spans)
        self.refresh_bindings()

    def _draw_head(self) -> None:
        found = self._found
        if found is None:
            return
        head = [
            Content.assemble((title(found.model), "bold $lane-b"), " beside ", (title(found.base), "bold $lane-a"),
                             f": {summary(found)}"),
            Content.styled(LEGEND, "$faint"),
        ]  # fmt: skip
        head += [Content.styled(remark, "$faint") for remark in remarks(found)]
        self.query_one("#token-head", Static).update(Content("\n").join(head))

    @on(TokenLines.Moved)
    def _moved(self) -> None:
        if self._found is not None and self._spans:
            at = self.query_one(TokenLines).cursor
            self.query_one("#token-detail", Static).update(detail(self._found, self._spans[at], self.size.width - 4))

    def on_resize(self) -> None:
        """Columns are laid out for the width there is."""
        self._moved()

    def back_word(self) -> str | None:
        return "Cancel" if self._found is None else "Back"

    def can_act(self, action: str) -> bool:
        """There is nothing to fork while the tokens are computed."""
        return self._found is not None if action == "fork" else True

    def action_back(self) -> None:
        self.workers.cancel_node(self)
        self.dismiss(None)

    @work(group="fork", exclusive=True)
    @show_errors
    async def action_fork(self) -> None:
        """Choose another token for the one under the cursor, and let the model continue from there."""
        if self._found is None:
            return
        why = self._fixed or (
            "" if self._found.forkable else "The template shows this answer otherwise than chat does."
        )
        if why:
            self.tuningfork.notify(why, title="Not forked", severity="warning")
            return
        span = self._spans[self.query_one(TokenLines).cursor]
        others = alternatives(self._found, span)
        entries = [Entry(str(one.id), quoted(span.alternative_text(one)), note) for one, note in others]
        asked = f"Continue with which token instead of {one_line(quoted(span.text), 24)}?"
        picked = await self.tuningfork.push_screen_wait(Pick(asked, entries))
        if picked is None:
            return
        chosen = next(one for one, _ in others if str(one.id) == picked.value)
        before = tuple(token.id for token in self._found.tokens[: span.deciding])
        fork = TokenFork((*before, chosen.id), span.deciding + 1, span.alternative_text(chosen), span.text)
        self.dismiss(fork)


def alternatives(found: TokenComparison, span: TokenSpan) -> list[tuple[Alternative, str]]:
    """What either model would have written in place of a token, the tuned model's first, each with a note of how
    probable."""
    token = found.tokens[span.deciding]
    tuned = {one.id: one for one in token.tuned_top if one.id != token.id}
    base = {one.id: one for one in token.base_top if one.id != token.id}
    found_in = []
    for id, one in (tuned | {id: one for id, one in base.items() if id not in tuned}).items():
        sides = (("tuned", tuned), ("base", base))
        known = (f"{name} {probability(side[id].logprob)}" for name, side in sides if id in side)
        found_in.append((one, " · ".join(known)))
    return found_in


def detail(found: TokenComparison, span: TokenSpan, width: int) -> Content:
    """A token with both models' probabilities, and below it the likeliest tokens of both side by side."""
    first, last = span.first + 1, span.first + len(span.tokens)
    place = f"token {first}" if first == last else f"tokens {first} to {last}, together"
    text = span.text if len(span.text) <= _LONGEST else f"{span.text[:_LONGEST]}…"
    head = [
        Content.assemble((quoted(text), "bold"), (f"  {place} of {len(found.tokens)}", "$faint")),
        Content.assemble(
            "tuned ", (probability(span.tuned), "bold $lane-b"), "  base ", (probability(span.base), "bold $lane-a"),
            f"  {times(span.difference)}",
        ),
    ]  # fmt: skip
    token = found.tokens[span.deciding]
    column = max(20, min(_COLUMN, (width - 2) // 2))
    sides = (("tuned", token.tuned_top, token.tuned), ("base", token.base_top, token.base))
    columns = [_column(span, name, top, token.id, own, column) for name, top, own in sides]
    rows = [left + Content("  ") + right for left, right in zip(*columns, strict=True)]
    return Content("\n").join([*head, *rows])


def _column(
    span: TokenSpan, name: str, top: tuple[Alternative, ...], chosen: int, own: float, width: int
) -> list[Content]:
    """A model's likeliest tokens, the one in the answer marked, and added at the end where it is not among them."""
    rows = [(span.alternative_text(one), one.logprob, one.id == chosen) for one in top]
    if not any(is_chosen for *_, is_chosen in rows):
        said = span.tokens[span.deciding - span.first]
        rows.append((span.alternative_text(Alternative(said.id, said.piece, own)), own, True))
    lines = [Content.styled(f"  {name}".ljust(width), "$faint")]
    for text, logprob, is_chosen in rows:
        figure = probability(logprob)
        line = f"{'▸' if is_chosen else ' '} {fit(quoted(text), width - len(figure) - 3)} {figure}"
        lines.append(Content.styled(line, "bold" if is_chosen else ""))
    blank = Content(" " * width)
    return lines + [blank] * (TOP + 2 - len(lines))
