"""Which conversation Compare shows: a new one, an earlier one, or one that continues from an earlier turn.
Conversations are kept and opened again by engine.comparison.transcripts."""

from __future__ import annotations

from engine.comparison import transcripts
from store import chats
from store.errors import TuningforkError
from tui import file_errors
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lane_controller import LaneController
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import one_line


class HistoryController:
    """New, open, fork, and the conversation as files."""

    def __init__(self, host: CompareHost, conversation: Conversation, page: LanesPage, lanes: LaneController) -> None:
        self._host, self._conversation, self._page, self._lanes = host, conversation, page, lanes

    async def new(self) -> None:
        """An empty conversation with the same lanes; the one before stays in the store."""
        await self._lanes.begin_empty()
        self._page.prompt.focus()

    async def open(self) -> None:
        """Open an earlier conversation."""
        from tui.screens.compare.conversations import Chats

        await self._conversation.save()
        chosen = await self._host.tuningfork.push_screen_wait(Chats())
        if chosen is None:
            await self._leave_if_removed(self._conversation.transcript.chat_id)
            return
        comparison, transcript = await self._host.tuningfork.bridge.call(transcripts.reopen, chosen)
        self._lanes.chosen = True
        await self._lanes.begin(comparison, transcript)

    async def _leave_if_removed(self, chat_id: int | None) -> None:
        """The open conversation may have been removed in the list: then it must not be written to again."""
        if chat_id is None:
            return
        known = await self._host.tuningfork.bridge.call(chats.all_chats)
        if all(chat.id != chat_id for chat in known):
            await self._lanes.begin_empty()

    async def fork(self) -> None:
        """Continue from an earlier turn, in a new conversation."""
        comparison = self._conversation.comparison
        if comparison.empty:
            self._page.note("There is no turn to fork from yet.")
            return
        turns = [Entry(str(n + 1), f"{n + 1}  {one_line(t.prompt, 60)}") for n, t in enumerate(comparison.turns)]
        picked = await self._host.tuningfork.push_screen_wait(
            Pick("Continue after which turn?", turns, current=str(len(turns)))
        )
        if picked is not None:
            await self._lanes.begin(self._conversation.comparison.fork(int(picked.value)))
            self._page.note("This is a new conversation; the one before is kept.")

    async def write_transcript(self) -> None:
        """Write the conversation as Markdown and as JSON lines."""
        comparison = self._conversation.comparison
        if comparison.empty:
            self._page.note("There is nothing to write yet.")
            return
        if self._page.sides_hidden():
            return
        frozen = comparison.fork(len(comparison.turns))
        chat_id = await self._conversation.save()
        heading = one_line(frozen.turns[0].prompt, 60)
        folder = self._host.tuningfork.store.home.exports / "chats"
        try:
            folder = self._host.tuningfork.store.home.export_folder("chats")
            made = await self._host.tuningfork.bridge.thread(
                transcripts.export, frozen, folder, f"chat-{chat_id}", heading
            )
        except TuningforkError as error:
            self._host.tuningfork.show_error(error, "Nothing was written")
            return
        except OSError as error:
            self._host.tuningfork.notify(file_errors.sentence(error, "written", folder), severity="error")
            return
        self._host.tuningfork.notify(f"Written: {made[0]} and .jsonl", timeout=10)
