"""What is taken out of a comparison: pairs, preferences, corrections, questions, copies.
The store's part runs in threads of the bridge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.comparison import transcripts
from engine.comparison.answer import LaneAnswer
from engine.comparison.session import Comparison
from store import datasets, pairs, votes
from store.records import PairDraft, Turn
from tui import formatting
from tui.screens.compare import masking, rendering
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import clean, one_line


class KeepController:
    """Saves answers as training data, or copies them."""

    def __init__(
        self, host: CompareHost, conversation: Conversation, page: LanesPage, to_clipboard: Callable[[str], None]
    ) -> None:
        self._host, self._conversation, self._page, self._to_clipboard = host, conversation, page, to_clipboard

    # -- pairs --------------------------------------------------------------------------------------------------------

    def draft(self) -> PairDraft | None:
        """The last answer of the lane in front as a pair; None, with a note, when there is none."""
        found = self._last_answer()
        if found is None:
            self._page.note("This lane has not answered yet.")
            return None
        lane, turn, answer = found
        comparison = self._conversation.comparison
        earlier = comparison.history(lane, turn, examples=False)[:-1]
        return PairDraft(
            comparison.turns[turn].prompt,
            answer.text.strip(),
            system=comparison.system,
            # Earlier answers are context: only the last one was chosen, and only it is to be trained.
            history=tuple(Turn(m["role"], m["content"], train=False) for m in earlier if m["role"] != "system"),  # type: ignore[arg-type]
            tags=("compare",),
            status="ready" if answer.whole else "draft",
            source=self._source(
                model=answer.model,
                seed=answer.sampling.seed,
                lane=lane,
                turn=turn,
                **({"forked": answer.fork.token} if answer.fork else {}),
            ),
        )

    def _source(self, **where: Any) -> dict[str, Any]:
        """Where a pair comes from, with the conversation when it is in the store."""
        chat_id = self._conversation.transcript.chat_id
        return where if chat_id is None else {**where, "chat": chat_id}

    def _last_answer(self) -> tuple[str, int, LaneAnswer] | None:
        """(lane, turn, answer) of the last thing that the front panel shows."""
        return rendering.last_answer(self._conversation.comparison, self._page.position)

    async def keep(self) -> None:
        """Save the answer as it is, as a pair of a dataset."""
        await self._conversation.save()
        draft = self.draft()
        if draft is None:
            return
        name = await self._dataset("Save this answer to a dataset")
        if name is None:
            return
        made = await self._host.tuningfork.bridge.call(pairs.create_many, [draft], dataset=name, label="add")
        self._host.tuningfork.remember(dataset=name)
        if made.duplicates:
            self._page.note(f"This pair exists already; it is in {name} now.")
        elif draft.status == "ready":
            self._page.note(f"Saved as a ready pair of {name}. F2 shows it.")
        else:
            self._page.note(f"This answer did not end by itself: saved as a draft of {name}.")

    async def keep_over(self) -> None:
        """Save the answer as a pair, and the other lane's as one that is worse."""
        await self._conversation.save()
        found, draft = self._last_answer(), self.draft()
        if found is None or draft is None:
            return
        comparison = self._conversation.comparison
        if len(comparison.lanes) != 2:
            self._page.note("This works with exactly two lanes; - closes a lane.")
            return
        lane, turn, answer = found
        if not answer.whole:
            self._page.note("An incomplete answer cannot be preferred. c corrects it.")
            return
        other = next(answer for each, answer in comparison.shown(turn) if each.name != lane)
        if not other.ended or other.state == "failed" or other.text.strip() in ("", draft.answer):
            self._page.note("The other lane has no different answer to reject.")
            return
        name = await self._dataset("Save this answer, the other one as rejected")
        if name is None:
            return
        known = await self._host.tuningfork.bridge.call(
            votes.keep_over, draft, rejected=other.text.strip(), rejected_model=other.model, dataset=name
        )
        self._host.tuningfork.remember(dataset=name)
        kept = f"This pair exists already; it is in {name} now" if known else f"Saved as a ready pair of {name}"
        self._page.note(f"{kept}; the other answer is kept as rejected.")

    async def keep_question(self) -> None:
        """Send the last question to a dataset, as a draft that waits for its answer."""
        await self._conversation.save()
        comparison = self._conversation.comparison
        if comparison.empty:
            self._page.note("There is no question yet.")
            return
        name = await self._dataset("Save this question to a dataset")
        if name is None:
            return
        source = self._source(turn=len(comparison.turns) - 1)
        question, system = comparison.turns[-1].prompt, comparison.system
        draft = PairDraft(question, "", system=system, status="draft", tags=("compare",), source=source)
        await self._host.tuningfork.bridge.call(pairs.create, draft, dataset=name)
        self._host.tuningfork.remember(dataset=name)
        self._page.note(f"Saved to {name} as a draft without an answer. F2 shows it.")

    async def correct(self) -> None:
        """Correct the answer in the editor; what is saved is preferred to the model's answer."""
        from tui.screens.data.pair_editor import PairEditor

        comparison = self._conversation.comparison
        if comparison.turns and comparison.turns[-1].masked and self._page.sides_hidden():
            return  # the editor shows the names
        await self._conversation.save()
        draft = self.draft()
        if draft is None:
            return
        name = await self._dataset("Save the corrected answer to a dataset")
        if name is None:
            return
        seed = replace(draft, status="ready")  # corrected, it is whole
        saved = await self._host.tuningfork.push_screen_wait(PairEditor(seed=seed, dataset=name))
        if saved is None:
            return
        self._host.tuningfork.remember(dataset=name)
        if saved.question == draft.question and saved.answer.strip() != draft.answer:
            await self._host.tuningfork.bridge.call(
                votes.prefer, draft, better=saved.answer, worse=draft.answer,
                source={**draft.source, "corrected": True}, dataset=name,
            )  # fmt: skip
            self._page.note(f"Saved to {name}, and kept as better than the model's answer.")
        else:
            self._page.note(f"Saved to {name}.")

    async def _dataset(self, title: str) -> str | None:
        known = await self._host.tuningfork.bridge.call(datasets.all_datasets)
        entries = [Entry(d.name, d.name, formatting.count(d.pairs, "pair")) for d in known]
        current = self._host.tuningfork.settings.dataset or (known[0].name if known else "")
        picked = await self._host.tuningfork.push_screen_wait(
            Pick(title, entries, current=current, create="New dataset")
        )
        return picked.value if picked else None

    # -- copies -------------------------------------------------------------------------------------------------------

    async def copy(self, selected: str | None) -> None:
        """Copy the selected text, else the last answer; a terminal that takes no copies finds it in a file."""
        found = self._last_answer()
        turns = self._conversation.comparison.turns
        text = selected or (masking.shown(turns[found[1]], found[2]).strip() if found else "")
        if not text:
            self._page.note("This lane has not answered yet.")
            return
        await self._copy(text)

    async def copy_more(self) -> None:
        """Copy the last turn, this lane, or all lanes, as Markdown."""
        comparison, page = self._conversation.comparison, self._page
        if comparison.empty:
            page.note("There is nothing to copy yet.")
            return
        if page.sides_hidden():
            return
        lane = rendering.lane_at(comparison, page.position)
        entries = [
            Entry("turn", "The last turn", "prompt and every answer"),
            Entry("lane", f"Lane {lane.name.upper()}", formatting.count(len(comparison.turns), "turn")),
            Entry("all", "The whole conversation", formatting.count(len(comparison.lanes), "lane")),
        ]
        picked = await self._host.tuningfork.push_screen_wait(Pick("Copy what?", entries, current="turn"))
        if picked is None:
            return
        if picked.value == "all":
            title = one_line(comparison.turns[0].prompt, 60)
            await self._copy(transcripts.to_markdown(comparison.fork(len(comparison.turns)), title))
            return
        lanes = [lane.name] if picked.value == "lane" else list(comparison.lanes)
        turns = range(len(comparison.turns)) if picked.value == "lane" else [len(comparison.turns) - 1]
        await self._copy("\n\n".join(_turn(comparison, turn, lanes) for turn in turns))

    async def _copy(self, text: str) -> None:
        """Give a text to the terminal, and to a file for terminals that take no copies."""
        self._to_clipboard(clean(text))
        target = self._host.tuningfork.store.home.cache / "copied.txt"
        try:
            await self._host.tuningfork.bridge.thread(_write, target, text)
        except OSError:
            self._page.note("Copied.")
            return
        self._page.note("Copied; also in cache/copied.txt of the home.")


def _turn(comparison: Comparison, turn: int, lanes: Sequence[str]) -> str:
    """A prompt and the answers of these lanes; each answer under its model where there are several."""
    parts = [f"> {line}" for line in comparison.turns[turn].prompt.split("\n")]
    for name in lanes:
        answer = comparison.answer(name, turn)
        head = [f"**{rendering.title(answer.model)}**", ""] if len(lanes) > 1 else []
        parts += ["", *head, answer.text.strip() or "(no answer)"]
    return "\n".join(parts)


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
