"""The lane check: does each lane run the model in its heading, the base plain and a tuned model tuned?
The chat server measures; this decides when, and keeps the results for the headings."""

from __future__ import annotations

from typing import Any

from textual import log

from engine.models import refs
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage


class LaneChecks:
    """The results, by lane and model; None where a lane could not be measured."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._found: dict[tuple[str, str], dict[str, Any] | None] = {}

    def result(self, position: int) -> str:
        """The result of a lane's check for the heading of its panel; empty when there was none."""
        name = view.lane_at(self._conversation.comparison, position).name
        side = self._found.get((name, self._conversation.answering[name]))
        if side is None:
            return ""
        if not side["honest"]:
            return "✗ check failed"
        if view.is_file(side["model"]):
            return "✓ the file alone"
        return "✓ checked: tuned" if side["tuned"] else "✓ checked: plain"

    @property
    def due(self) -> bool:
        """True when a model has answered in a lane for the first time, and its side may be shown."""
        comparison = self._conversation.comparison
        if comparison.empty or comparison.turns[-1].hidden:
            return False
        return not self._found.keys() >= self._conversation.answering.items()

    async def measure(self) -> dict[str, Any]:
        """Measure every lane; the results of the server. Raises TuningforkError when it cannot."""
        answering = self._conversation.answering
        self._found = dict.fromkeys(answering.items()) | self._found
        seen = {name: model for name, model in answering.items() if not refs.Ref.read(model).is_endpoint}
        lanes = seen or answering  # another server shows no logits: left out, or refused when there is no other lane
        client: Any = await self._conversation.client()
        found: dict[str, Any] = await client.lane_check(lanes)
        self._found |= zip(lanes.items(), found["lanes"], strict=True)
        return found


class LaneCheckController:
    """Checks quietly after the first answers, and at the user's request with all figures."""

    def __init__(self, host: CompareHost, conversation: Conversation, page: LanesPage, checks: LaneChecks) -> None:
        self._host, self._conversation, self._page, self._checks = host, conversation, page, checks

    def check_soon(self) -> None:
        """Check lanes in the background when a model has answered for the first time; headings show the result."""
        if self._checks.due:
            self._host.run_soon(self._check_quietly, "lane check")

    async def _check_quietly(self) -> None:
        try:
            await self._checks.measure()
        except Exception as error:  # the user did not ask for this check; the key for it shows what is wrong
            log.warning(f"the lanes could not be checked: {error}")
            return
        self._page.draw()

    async def check(self) -> dict[str, Any] | None:
        """Measure every lane; the results. None, with a note, when it cannot be done now."""
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
