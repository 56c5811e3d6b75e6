"""The check of lanes: is each lane what its heading says, the base plain and a tuned model tuned?
The chat server measures; this decides when, and keeps what was found for the headings."""

from __future__ import annotations

from typing import Any

from textual import log

from engine.models import refs
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage


class LaneChecks:
    """Results by lane and model; None where one could not be measured."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._found: dict[tuple[str, str], dict[str, Any] | None] = {}

    def mark(self, position: int) -> str:
        """What the heading of a panel says of the check of its lane; empty when there was none."""
        name = view.lane_at(self._conversation.comparison, position).name
        side = self._found.get((name, self._conversation.answering[name]))
        if side is None:
            return ""
        if not side["honest"]:
            return "✗ not what it says"
        if view.is_file(side["model"]):
            return "✓ the file alone"
        return "✓ checked: tuned" if side["tuned"] else "✓ checked: plain"

    @property
    def due(self) -> bool:
        """A model answered in a lane for the first time, and its side may be known."""
        comparison = self._conversation.comparison
        if comparison.empty or comparison.turns[-1].hidden:
            return False
        return not self._found.keys() >= self._conversation.answering.items()

    async def measure(self) -> dict[str, Any]:
        """Measure every lane; what the server found. Raises TuningforkError when it cannot."""
        answering = self._conversation.answering
        self._found = dict.fromkeys(answering.items()) | self._found
        seen = {name: model for name, model in answering.items() if not refs.Ref.read(model).is_endpoint}
        lanes = seen or answering  # another server shows no logits: it is left out, or says so itself
        client: Any = await self._conversation.client()
        found: dict[str, Any] = await client.lane_check(lanes)
        self._found |= zip(lanes.items(), found["lanes"], strict=True)
        return found


class LaneCheckController:
    """Checks quietly after the first answers, and at the user's request with all figures."""

    def __init__(self, host: CompareHost, conversation: Conversation, page: LanesPage, checks: LaneChecks) -> None:
        self._host, self._conversation, self._page, self._checks = host, conversation, page, checks

    def check_soon(self) -> None:
        """The first time that a model has answered in a lane, check it quietly: the heading then says so."""
        if self._checks.due:
            self._host.run_soon(self._check_quietly, "lane check")

    async def _check_quietly(self) -> None:
        try:
            await self._checks.measure()
        except Exception as error:  # nobody asked for this check; the key for it says what is wrong
            log.warning(f"the lanes could not be checked: {error}")
            return
        self._page.draw()

    async def check(self) -> dict[str, Any] | None:
        """Measure every lane; what was found. None, with a note that says why, when it cannot be done now."""
        if self._conversation.comparison.busy:
            self._page.note("An answer is still coming; check the lanes when it has ended.")
            return None
        if self._page.sides_hidden():
            return None
        self._page.note("Measuring every lane …", stays=True)
        try:
            return await self._checks.measure()
        finally:
            self._page.unnote()
