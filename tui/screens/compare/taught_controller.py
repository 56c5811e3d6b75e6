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

        comparison = self._conversation.comparison
        if comparison.busy:
            self._page.note("An answer is still coming; ask what taught it when it has ended.")
            return
        if self._page.sides_hidden():
            return
        found = view.last_answer(comparison, self._page.position)
        if found is None:
            self._page.note("This lane has not answered yet.")
            return
        name, turn, answer = found
        ref = Ref.read(answer.model)
        if not ref.is_run:
            self._page.note(f"{view.title(answer.model)} is no run: no pairs of yours taught it. Go to a tuned lane.")
            return
        last: Message = {"role": "assistant", "content": answer.text}
        said = [*comparison.history(name, turn), last]
        await self._host.tuningfork.push_screen_wait(TaughtView(ref.value, said))
