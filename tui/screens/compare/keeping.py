"""What a person takes out of a comparison: pairs, corrections, copies, files, earlier conversations, the difference.
The store's part runs in threads of the bridge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from textual import work

from engine.comparison import transcripts
from engine.comparison.answer import Answer
from store import chats, datasets, pairs, votes
from store.db import Store
from store.records import PairDraft, PreferenceDraft, Turn
from tui import formatting
from tui.screens.base import told
from tui.screens.compare import rendering as view
from tui.screens.compare.talk import CompareTalk
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import clean, one_line


class KeepActs(CompareTalk):
    """Nothing that was said well need be lost."""

    # -- pairs --------------------------------------------------------------------------------------------------------

    def draft(self) -> PairDraft | None:
        """The last answer of the lane in front as a pair; None, and said so, when there is none."""
        found = self._last_answer()
        if found is None:
            self.note("This lane has said nothing yet.")
            return None
        lane, turn, answer = found
        earlier = self.talk.history(lane, turn, examples=False)[:-1]
        source: dict[str, Any] = {"model": answer.model, "seed": answer.sampling.seed, "lane": lane, "turn": turn}
        if self.transcript.chat_id is not None:
            source["chat"] = self.transcript.chat_id
        return PairDraft(
            self.talk.turns[turn].prompt,
            answer.text.strip(),
            system=self.talk.system,
            history=tuple(Turn(m["role"], m["content"]) for m in earlier if m["role"] != "system"),  # type: ignore[arg-type]
            tags=("compare",),
            status="ready" if answer.whole else "draft",
            source=source,
        )

    def _last_answer(self) -> tuple[str, int, Answer] | None:
        """(lane, turn, answer) of the last thing that the front panel shows."""
        for turn in reversed(range(len(self.talk.turns))):
            lane, answer = list(self.talk.shown(turn))[self.position]
            if answer.ended and answer.text.strip():
                return lane.name, turn, answer
        return None

    @work(group="dialog", exclusive=True)
    @told
    async def action_keep(self) -> None:
        """Save the answer as it is, as a pair of a dataset."""
        await self.kept()
        draft = self.draft()
        if draft is None:
            return
        name = await self._dataset("Save this answer as a pair of")
        if name is None:
            return
        made = await self.tuningfork.bridge.call(pairs.create_many, [draft], dataset=name, label="add")
        self.tuningfork.remember(dataset=name)
        if made.duplicates:
            self.note(f"It is a pair already, and in {name} now.")
        elif draft.status == "ready":
            self.note(f"Saved as a ready pair of {name}. F2 shows it.")
        else:
            self.note(f"This answer did not end by itself: saved as a draft of {name}.")

    @work(group="dialog", exclusive=True)
    @told
    async def action_keep_over(self) -> None:
        """Save the answer as a pair, and the other lane's as one that is worse."""
        await self.kept()
        found, draft = self._last_answer(), self.draft()
        if found is None or draft is None:
            return
        if len(self.talk.lanes) != 2:
            self.note("Which other one? This is between two lanes: - closes a lane.")
            return
        lane, turn, answer = found
        if not answer.whole:
            self.note("This answer did not end by itself: nothing to prefer. c mends it.")
            return
        other = next(answer for each, answer in self.talk.shown(turn) if each.name != lane)
        if not other.ended or other.state == "failed" or other.text.strip() in ("", draft.answer):
            self.note("The other lane has no answer that is worse.")
            return
        name = await self._dataset("Save this answer, the other as rejected, in")
        if name is None:
            return
        known = await self.tuningfork.bridge.call(_keep_over, draft, other.text.strip(), other.model, name)
        self.tuningfork.remember(dataset=name)
        kept = f"It is a pair already, and in {name} now" if known else f"Saved as a ready pair of {name}"
        self.note(f"{kept}; the other answer is kept as rejected.")

    @work(group="dialog", exclusive=True)
    @told
    async def action_question(self) -> None:
        """Send the last question to a dataset, as a draft that waits for its answer."""
        await self.kept()
        if self.talk.empty:
            self.note("There is no question yet.")
            return
        name = await self._dataset("Send this question to")
        if name is None:
            return
        source: dict[str, Any] = {"turn": len(self.talk.turns) - 1}
        if self.transcript.chat_id is not None:
            source["chat"] = self.transcript.chat_id
        question = self.talk.turns[-1].prompt
        draft = PairDraft(question, "", system=self.talk.system, status="draft", tags=("compare",), source=source)
        await self.tuningfork.bridge.call(pairs.create, draft, dataset=name)
        self.tuningfork.remember(dataset=name)
        self.note(f"Sent to {name} as a draft without an answer. F2 shows it.")

    @work(group="dialog", exclusive=True)
    @told
    async def action_correct(self) -> None:
        """Mend the answer in the editor; what is saved is preferred to what the model said."""
        from tui.screens.data.pair_editor import PairEditor

        await self.kept()
        draft = self.draft()
        if draft is None:
            return
        name = await self._dataset("Save the corrected answer as a pair of")
        if name is None:
            return
        seed = replace(draft, status="ready")  # mended, it is whole
        saved = await self.app.push_screen_wait(PairEditor(seed=seed, dataset=name))
        if saved is None:
            return
        self.tuningfork.remember(dataset=name)
        if saved.question == draft.question and saved.answer.strip() != draft.answer:
            source = {**draft.source, "corrected": True}
            await self.tuningfork.bridge.call(_prefer, draft, saved.answer, draft.answer, source, name)
            self.note(f"Saved to {name}, and kept as better than what the model said.")
        else:
            self.note(f"Saved to {name}.")

    async def _dataset(self, title: str) -> str | None:
        known = await self.tuningfork.bridge.call(datasets.all_datasets)
        entries = [Entry(d.name, d.name, formatting.count(d.pairs, "pair")) for d in known]
        current = self.tuningfork.settings.dataset or (known[0].name if known else "")
        picked = await self.app.push_screen_wait(Pick(title, entries, current=current, create="New dataset"))
        return picked.value if picked else None

    # -- copies and files ---------------------------------------------------------------------------------------------

    @work(group="copy")
    async def action_copy(self) -> None:
        """Copy the answer; a terminal that cannot do that finds it in a file."""
        found = self._last_answer()
        selected = self.get_selected_text()
        text = selected or (found[2].text.strip() if found else "")
        if not text:
            self.note("This lane has said nothing yet.")
            return
        self.app.copy_to_clipboard(clean(text))
        target = self.tuningfork.store.home.cache / "copied.txt"
        try:
            await self.tuningfork.bridge.thread(_write, target, text)
        except OSError:
            self.note("Copied.")
            return
        self.note("Copied; also in cache/copied.txt of the home.")

    @work(group="copy")
    @told
    async def action_transcript(self) -> None:
        """Write the conversation as Markdown and as JSON lines."""
        if self.talk.empty:
            self.note("There is nothing to write yet.")
            return
        if self.sides_hidden:
            return
        talk, folder = self.talk.fork(len(self.talk.turns)), self.tuningfork.store.home.exports / "chats"
        chat_id = await self.kept()
        heading = one_line(talk.turns[0].prompt, 60)
        try:
            made = await self.tuningfork.bridge.thread(transcripts.export, talk, folder, f"chat-{chat_id}", heading)
        except OSError as error:
            self.tuningfork.tell(f"{folder} cannot be written: {error.strerror}.", severity="error")
            return
        self.tuningfork.tell(f"Written: {made[0]} and .jsonl", timeout=10)

    # -- other conversations ------------------------------------------------------------------------------------------

    @work(group="dialog", exclusive=True)
    @told
    async def action_chats(self) -> None:
        """Open an earlier conversation."""
        from tui.screens.compare.conversations import Chats

        await self.kept()
        chosen = await self.app.push_screen_wait(Chats())
        if chosen is None:
            if self.transcript.chat_id is not None:
                await self._reopen_or_begin_anew(self.transcript.chat_id)
            return
        talk, transcript = await self.tuningfork.bridge.call(transcripts.reopen, chosen)
        self.lanes_chosen = True
        await self.begin(talk, transcript)

    async def _reopen_or_begin_anew(self, chat_id: int) -> None:
        """The open conversation may have been removed in the list: then it must not be written to again."""
        known = await self.tuningfork.bridge.call(chats.all_chats)
        if all(chat.id != chat_id for chat in known):
            await self.begin_anew()

    @work(group="dialog", exclusive=True)
    @told
    async def action_fork(self) -> None:
        """Go on from an earlier turn, in a conversation of its own."""
        if self.talk.empty:
            self.note("There is no turn to fork from yet.")
            return
        turns = [Entry(str(n + 1), f"{n + 1}  {one_line(t.prompt, 60)}") for n, t in enumerate(self.talk.turns)]
        picked = await self.app.push_screen_wait(Pick("Go on after which turn?", turns, current=str(len(turns))))
        if picked is not None:
            await self.begin(self.talk.fork(int(picked.value)))
            self.note("A conversation of its own; the one before is kept.")

    @work(group="dialog", exclusive=True)
    async def action_diff(self) -> None:
        """What differs between the two answers of the last turn."""
        from tui.screens.compare.diff import Diff

        if self.talk.empty or len(self.talk.lanes) < 2:
            self.note("There are no two answers to compare yet.")
            return
        turn = len(self.talk.turns) - 1
        sides = list(self.talk.shown(turn))
        here = max(1, self.position)  # the lane in front beside the first, which is mostly the base
        (one, a), (two, b) = sides[0], sides[here]
        hidden = self.talk.turns[turn].hidden
        names = ("Left", "Right") if hidden else (f"{one.name.upper()} · {view.title(one.model)}",
                                                 f"{two.name.upper()} · {view.title(two.model)}")  # fmt: skip
        colours = ("a", "b") if hidden else (one.name, two.name)
        await self.app.push_screen_wait(Diff(names, (a.text, b.text), colours))


def _keep_over(store: Store, draft: PairDraft, rejected: str, model: str, dataset: str) -> bool:
    """Whether the pair was there already."""
    with store.write():
        made = pairs.create_many(store, [draft], dataset=dataset, label="add")
        _prefer(store, draft, draft.answer, rejected, {**draft.source, "rejected_model": model}, dataset)
        return bool(made.duplicates)


def _prefer(store: Store, draft: PairDraft, better: str, worse: str, source: dict[str, Any], dataset: str) -> None:
    system = (Turn("system", draft.system),) if draft.system else ()
    prompt = (*system, *draft.history, Turn("user", draft.question))
    made = PreferenceDraft(prompt=prompt, chosen=better, rejected=worse, source=source)
    votes.import_preferences(store, [made], dataset=dataset)


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
