"""The votes: which model wins against which, how certain that is, and each vote, which can be undone.
Counts come from the store, figures from engine.evaluation.ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.evaluation.ranking import Ranked, Rate, leader, ranking, rate, wilson
from engine.training import continuing, scoring
from engine.training.scoring import Agreement
from store import votes
from store.db import Store
from store.importing import export_preferences
from store.records import Vote
from tui import file_errors, formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.compare.rendering import title
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import fit, one_line
from tui.widgets.empty_state import EmptyState

_BAR = 20
DATASET = "votes"
"""Where the preferences of votes are put to train on them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that this screen shows."""

    votes: tuple[Vote, ...]
    rates: tuple[Rate, ...]
    ranking: tuple[Ranked, ...]
    blind_only: bool = False


@dataclass(frozen=True, slots=True)
class VotesScored:
    """What a reward model thinks of the votes: by a vote's id, how far it scores the preferred answer above the
    other."""

    model: str
    agreed: Agreement
    margins: Mapping[int, float]


def standing(store: Store, blind_only: bool = False) -> Standing:
    """Read all votes, and count them or only those that were cast blind and stayed so."""
    counted = votes.counts(store, blind_only=blind_only)
    rates = [rate(counts, of=leader(counts)) for counts in counted]
    return Standing(tuple(votes.all_votes(store)), tuple(rates), tuple(ranking(counted)), blind_only)


class Votes(PageScreen[None]):
    """Win rates above, the votes below."""

    PAGE = "votes"
    CSS_PATH = "votes.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.VOTES)

    def __init__(self) -> None:
        super().__init__()
        self._found = Standing((), (), ())
        self._scored: VotesScored | None = None
        self._blind_only = False

    def compose_body(self) -> ComposeResult:
        with Vertical(id="votes-body"):
            yield Static(id="rates", markup=False)
            yield Static(id="scored", markup=False)
            yield OptionList(compact=True, markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        self.query_one(EmptyState).display = False
        self.reload()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self._found.votes:
            self._draw()

    @work(group="reload", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        self._found = await self.tuningfork.bridge.call(standing, self._blind_only)
        self._draw()
        self.query_one(OptionList).focus()
        self.query_one("#votes-body").display = bool(self._found.votes)
        empty = self.query_one(EmptyState)
        empty.display = not self._found.votes
        empty.say("No votes yet.", [("Esc", "back to Compare: ask something, then 1 left, 2 right, 3 tie, 4 both bad")])

    def _draw(self) -> None:
        found = self._found
        width = self.size.width - 4
        self.query_one("#rates", Static).update(figures(found, width))
        self.query_one("#scored", Static).update(agreement(self._scored, width) if self._scored else Content(""))
        margins = self._scored.margins if self._scored else {}
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(row(vote, width - 1, margins.get(vote.id))) for vote in found.votes])
        options.highlighted = min(at, len(found.votes) - 1) if found.votes else None

    def action_blind_only(self) -> None:
        """Count all votes, or only those that were cast blind and stayed so."""
        self._blind_only = not self._blind_only
        self.reload()

    @work(group="remove")
    @show_errors
    async def action_remove(self) -> None:
        """Undo the vote under the cursor."""
        at = self.query_one(OptionList).highlighted
        if at is not None and self._found.votes:
            await self.tuningfork.bridge.call(votes.remove, self._found.votes[at].id)
            self.tuningfork.notify("Undid the vote.")
            self.reload()

    @work(group="score", exclusive=True)
    @show_errors
    async def action_score(self) -> None:
        """Show what a reward model thinks of each vote, and how often it agrees."""
        names = await self.tuningfork.bridge.call(scoring.reward_models)
        if not names:
            said = "There is no reward model yet: train a run towards reward, on these votes or other preferences."
            self.tuningfork.notify(said, timeout=10)
            return
        name = names[0]
        if len(names) > 1:
            picked = await self.app.push_screen_wait(Pick("Reward model", [Entry(each, each) for each in names]))
            if picked is None:
                return
            name = picked.value
        agreed, margins = await self.tuningfork.bridge.job(scoring.of_votes, name, self._scoring)
        self._scored = VotesScored(name, agreed, margins)
        self._draw()

    def _scoring(self, done: int, of: int) -> None:
        """Show how far the scores are; called from a thread."""
        words = f"Scoring {formatting.count(of, 'answer')}: {done / max(1, of):.0%}"
        self.app.call_from_thread(self.query_one("#scored", Static).update, Content.styled(words, "$faint"))

    @work(group="train", exclusive=True)
    @show_errors
    async def action_train(self) -> None:
        """Put the votes' preferences into a dataset, and open the form of a new run on them."""
        found = await self.tuningfork.bridge.call(votes.collect, DATASET)
        on = await self.tuningfork.bridge.call(continuing.voted)
        gone = f", {found.removed} of undone votes removed" if found.removed else ""
        empty = f", {found.left_out} left out with empty or equal answers" if found.left_out else ""
        self.tuningfork.notify(f"{formatting.count(found.rows, 'preference')} in {DATASET}{gone}{empty}.")
        await self.tuningfork.train(DATASET, "dpo", on)

    @work(group="write")
    @show_errors
    async def action_write(self) -> None:
        """Write every preference to files for training."""
        folder = self.tuningfork.store.home.export_folder("preferences")
        try:
            made = await self.tuningfork.bridge.call(_write, folder)
        except OSError as error:
            self.tuningfork.notify(file_errors.sentence(error, "written", folder), severity="error")
            return
        if made:
            written = formatting.count(made, "preference")
            self.tuningfork.notify(f"{written} in {folder}: trl.jsonl, sharegpt.json", timeout=10)
        else:
            self.tuningfork.notify("No vote has a winner yet, so there is no preference to write.")

    def action_back(self) -> None:
        self.dismiss(None)


def figures(found: Standing, width: int) -> Content:
    """Which model wins, for each two models; then the ranking when there are more than two models."""
    only = ", of votes that were cast blind and stayed so" if found.blind_only else ""
    lines = [Content.styled(f"Which model wins{only}", "bold")]
    name = max([len(title(r.b_model)) + len(title(r.a_model)) for r in found.rates], default=0) + 6
    name = min(name, max(20, width - 50))
    for each in found.rates:
        pair = fit(f"{title(each.b_model)} over {title(each.a_model)}", name)
        lines += _flow([Content(pair), *_rate(each)], width, indent=name + 2)
    if len(found.ranking) > 2:
        lines += [Content(""), Content.styled("Ranking (Bradley-Terry)", "bold")]
        for n, model in enumerate(found.ranking, 1):
            lines.append(Content.assemble(f"{n}. {fit(title(model.model), 30)}", (f"{model.strength:+.2f}", "bold")))
    return Content("\n").join(lines)


def _rate(each: Rate) -> list[Content]:
    """The figures of two models, in parts that stay on one line."""
    others = [formatting.count(each.ties, "tie")] if each.ties else []
    others += [f"{each.both_bad} both bad"] if each.both_bad else []
    others += [formatting.of_them(each.votes, "vote", each.unblind, "unblind")] if each.unblind else []
    if each.rate is None:
        return [Content.styled(part, "$faint") for part in _listed(["no winner yet", *others])]
    done = round(each.rate * _BAR)
    others += each.standing.words
    first, *rest = _listed([f"({each.low:.0%} to {each.high:.0%}) of {each.decided}", *others])
    bar = Content.assemble(
        ("━" * done, "$lane-b"), ("─" * (_BAR - done), "$hairline"), (f" {each.rate:.0%} ", "bold"), (first, "$faint"),
    )  # fmt: skip
    return [bar, *(Content.styled(part, "$faint") for part in rest)]


def _listed(parts: list[str]) -> list[str]:
    return [f"{part}," for part in parts[:-1]] + parts[-1:]


def _flow(parts: Sequence[Content], width: int, indent: int) -> list[Content]:
    """The parts on one line, or on more that begin at `indent`, or further left where that is too far."""
    indent = max(0, min(indent, width - max(part.cell_length for part in parts[1:])))
    lines = [parts[0]]
    for n, part in enumerate(parts[1:]):
        gap = "  " if n == 0 else " "
        if lines[-1].cell_length + len(gap) + part.cell_length <= width:
            lines[-1] += gap + part
        else:
            lines.append(Content(" " * indent) + part)
    return lines


def agreement(scored: VotesScored, width: int) -> Content:
    """How often a reward model agrees with the votes, on one line."""
    many = len(scored.agreed.margins)
    low, high = wilson(round(scored.agreed.right), many)
    interval = f"({low:.0%} to {high:.0%}) of {formatting.count(many, 'vote')} with a winner"
    said = f"{scored.model} agrees with {scored.agreed.share:.0%} {interval}; ✓ and ✗ beside each"
    return Content.styled(one_line(said, width), "bold")


def row(vote: Vote, width: int, margin: float | None = None) -> Content:
    """A vote on one line: what was asked, who won, when; before it, where that is known, how far a reward model
    agrees."""
    asked = next((m["content"] for m in reversed(vote.prompt) if m["role"] == "user"), "")
    won = {"a": title(vote.a_model), "b": title(vote.b_model), "tie": "tie", "both_bad": "both bad"}[vote.choice]
    how = f" · unblind, says {one_line(vote.unblind[0], 20)}" if vote.unblind else " · blind" if vote.blind else ""
    note = one_line(f"{won}{how}  {formatting.ago(vote.created_at)}", width // 2)
    mark = Content("")
    if margin is not None:
        style = "$success" if margin > 0 else "$error"
        mark = Content.assemble((f"{'✓' if margin > 0 else '✗'} {margin:+6.2f}  ", style))
    space = max(10, width - len(note) - 2 - mark.cell_length)
    return Content.assemble(mark, fit(asked, space), "  ", (note, "$faint"))


def _write(store: Store, folder: Path) -> int:
    """Preferences in both forms; how many."""
    made = len(votes.preferences(store))
    if made:
        folder.mkdir(parents=True, exist_ok=True)
        export_preferences(store, folder / "trl.jsonl", overwrite=True)
        export_preferences(store, folder / "sharegpt.json", form="sharegpt", overwrite=True)
    return made
