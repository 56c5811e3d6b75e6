"""Which pairs taught this? Finds the pairs of a run's data that taught it the last answer of a lane.
Gradients are compared in a process of their own (engine.training.teachers), after the key is pressed."""

from __future__ import annotations

from engine.models.refs import Ref
from store.records import Message
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage


class TaughtController:
    """What taught an answer."""

    def __init__(self, host: CompareHost, conversation: Conversation, page: LanesPage) -> None:
        self._host, self._conversation, self._page = host, conversation, page

    async def show(self) -> None:
        """Show the pairs that taught the last answer of the lane in front."""
        from tui.screens.compare.taught_view import TaughtView

        found = self._page.answer_in_front("ask what taught it")
        if found is None:
            return
        name, turn, answer = found
        ref = Ref.read(answer.model)
        if not ref.is_run:
            self._page.note(f"{view.title(answer.model)} is no run: no pairs of yours taught it. Go to a tuned lane.")
            return
        last: Message = {"role": "assistant", "content": answer.text}
        said = [*self._conversation.comparison.history(name, turn), last]
        await self._host.tuningfork.push_screen_wait(TaughtView(ref.value, said))
