"""The votes: who wins against whom, how sure that is, and each vote with a way to take it back.
Counts come from the store, figures from engine.tally."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.tally import Ranked, Rate, ranking, rate
from store import votes
from store.db import Store
from store.records import Preference, Vote
from tui import keys, say
from tui.screens.base import PageScreen, told
from tui.screens.compare_view import title
from tui.text import fit, one_line
from tui.widgets.empty_state import EmptyState

_BAR = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that this screen shows."""

    votes: tuple[Vote, ...]
    rates: tuple[Rate, ...]
    ranking: tuple[Ranked, ...]


def standing(store: Store) -> Standing:
    """Read and count all votes."""
    tallies = votes.tally(store)
    rates = [rate(t, of=t.b_model if t.b_model.startswith("run:") else t.a_model) for t in tallies]
    return Standing(tuple(votes.all_votes(store)), tuple(rates), tuple(ranking(tallies)))


class Votes(PageScreen[None]):
    """Win rates above, the votes below."""

    PAGE = "votes"
    CSS_PATH = "votes.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.VOTES)

    def __init__(self) -> None:
        super().__init__()
        self._votes: tuple[Vote, ...] = ()

    def compose_body(self) -> ComposeResult:
        with Vertical(id="votes-body"):
            yield Static(id="rates", markup=False)
            yield OptionList(compact=True, markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        self.query_one(EmptyState).display = False
        self.reload()

    @work(group="reload", exclusive=True)
    @told
    async def reload(self) -> None:
        found = await self.tuningfork.bridge.call(standing)
        self._votes = found.votes
        width = self.size.width - 4
        self.query_one("#rates", Static).update(figures(found, width))
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(row(vote, width)) for vote in found.votes])
        options.highlighted = min(at, len(found.votes) - 1) if found.votes else None
        options.focus()
        self.query_one("#votes-body").display = bool(found.votes)
        empty = self.query_one(EmptyState)
        empty.display = not found.votes
        empty.say("No votes yet.", [("Esc", "back to Compare: ask something, then 1 left, 2 right, 3 tie, 4 both bad")])

    @work(group="remove")
    @told
    async def action_remove(self) -> None:
        """Take the vote under the cursor back."""
        at = self.query_one(OptionList).highlighted
        if at is not None and self._votes:
            await self.tuningfork.bridge.call(votes.remove, self._votes[at].id)
            self.tuningfork.tell("Taken back.")
            self.reload()

    @work(group="write")
    @told
    async def action_write(self) -> None:
        """Write every preference to files that trainers read."""
        made = await self.tuningfork.bridge.call(votes.preferences)
        if not made:
            self.tuningfork.tell("No vote has a winner yet, so there is no preference to write.")
            return
        folder = self.tuningfork.store.home.exports / "preferences"
        try:
            await self.tuningfork.bridge.thread(write_preferences, made, folder)
        except OSError as error:
            self.tuningfork.tell(f"{folder} cannot be written: {error.strerror}.", severity="error")
            return
        self.tuningfork.tell(f"{say.count(len(made), 'preference')} in {folder}: trl.jsonl, sharegpt.json", timeout=10)

    def action_back(self) -> None:
        self.dismiss(None)


def figures(found: Standing, width: int) -> Content:
    """One line for each two models, then the ranking when there are more than two models."""
    lines = [Content.styled("Who wins", "bold")]
    name = max([len(title(r.b_model)) + len(title(r.a_model)) for r in found.rates], default=0) + 6
    for each in found.rates:
        pair = fit(f"{title(each.b_model)} over {title(each.a_model)}", min(name, max(20, width - 50)))
        lines.append(Content.assemble(pair, "  ") + _rate(each))
    if len(found.ranking) > 2:
        lines += [Content(""), Content.styled("Ranking (Bradley-Terry)", "bold")]
        for n, model in enumerate(found.ranking, 1):
            lines.append(Content.assemble(f"{n}. {fit(title(model.model), 30)}", (f"{model.strength:+.2f}", "bold")))
    return Content("\n").join(lines)


def _rate(each: Rate) -> Content:
    others = (f", {say.count(each.ties, 'tie')}" if each.ties else "") + (
        f", {each.both_bad} both bad" if each.both_bad else ""
    )
    if each.rate is None:
        return Content.styled(f"no winner yet{others}", "$faint")
    done = round(each.rate * _BAR)
    sure = "" if each.p < 0.05 else ", could be chance"
    return Content.assemble(
        ("━" * done, "$lane-b"), ("─" * (_BAR - done), "$hairline"), (f" {each.rate:.0%}", "bold"),
        (f" ({each.low:.0%} to {each.high:.0%}) of {each.decided}{others}{sure}", "$faint"),
    )  # fmt: skip


def row(vote: Vote, width: int) -> Content:
    """A vote on one line: what was asked, who won, when."""
    asked = next((m["content"] for m in reversed(vote.prompt) if m["role"] == "user"), "")
    won = {"a": title(vote.a_model), "b": title(vote.b_model), "tie": "tie", "both_bad": "both bad"}[vote.choice]
    note = one_line(f"{won}{' · blind' if vote.blind else ''}  {say.ago(vote.created_at)}", width // 2)
    return Content.assemble(fit(asked, max(10, width - len(note) - 2)), "  ", (note, "$faint"))


def write_preferences(made: Sequence[Preference], folder: Path) -> None:
    """trl.jsonl (prompt, chosen, rejected as messages) and sharegpt.json, each whole or not at all."""
    trl = "".join(json.dumps(_trl(p), ensure_ascii=False) + "\n" for p in made)
    sharegpt = json.dumps([_sharegpt(p) for p in made], ensure_ascii=False, indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("trl.jsonl", trl), ("sharegpt.json", sharegpt)):
        part = folder / f"{name}.part"
        part.write_text(text, "utf-8")
        part.replace(folder / name)


def _trl(p: Preference) -> dict[str, Any]:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return {"prompt": p.prompt, "chosen": said(p.chosen), "rejected": said(p.rejected)}


def _sharegpt(p: Preference) -> dict[str, Any]:
    roles = {"user": "human", "assistant": "gpt", "system": "system"}

    def gpt(text: str) -> dict[str, str]:
        return {"from": "gpt", "value": text}

    turns = [{"from": roles[m["role"]], "value": m["content"]} for m in p.prompt]
    return {"conversations": turns, "chosen": gpt(p.chosen), "rejected": gpt(p.rejected)}
