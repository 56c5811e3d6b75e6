"""Lanes that follow runs: while a run is being tuned, its newest checkpoint answers each prompt, with a note when there
is a newer one; the first tuned run joins a base that is alone. The server finds the checkpoint."""

from __future__ import annotations

from engine.models import refs
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lane_controller import LaneController
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.compare.rendering import title


class LiveController:
    """Keeps what the page knows of live runs up with the store."""

    def __init__(
        self,
        host: CompareHost,
        conversation: Conversation,
        page: LanesPage,
        lanes: LaneController,
    ) -> None:
        self._host, self._conversation, self._page, self._lanes = host, conversation, page, lanes

    def runs_changed(self) -> None:
        """Look at the runs of the lanes, or for a first run to add beside the base."""
        if any(refs.Ref.read(model).is_run for model in self._conversation.models):
            self._host.run_soon(self._look, "live")
        elif self._waits_for_a_run:
            self._host.run_soon(self._join, "lanes")

    @property
    def _waits_for_a_run(self) -> bool:
        comparison = self._conversation.comparison
        return not (self._lanes.chosen or comparison.empty) and len(comparison.lanes) == 1

    async def _join(self) -> None:
        """Add the first run beside a base that is alone because there was none; it answers the prompts so far."""
        known = await self._host.tuningfork.bridge.call(refs.known)
        tuned = next((ref for ref in known if refs.Ref.read(ref).is_run), None)
        if tuned is None or await self._lanes.base_of(tuned, "") != self._conversation.models[0]:
            return
        if not self._waits_for_a_run:  # the user may have been faster
            return
        await self._lanes.join(tuned)
        more = " ^T shows it." if self._page.has_class("-tabbed") else ""
        self._page.note(f"{title(tuned)} was added as lane B.{more}")

    async def _look(self) -> None:
        models = {lane.model: lane.name.upper() for lane in self._conversation.comparison.lanes.values()}
        now = await self._host.tuningfork.bridge.call(refs.followed, list(models))
        before, self._page.followed = self._page.followed, now
        for ref, name in models.items():
            if ref in now and ref in before and now[ref] != before[ref]:
                self._page.note(f"Lane {name}: {title(ref)} is at step {now[ref]:,}; it answers the next prompt.")
            elif ref in before and ref not in now:
                self._page.note(f"Lane {name}: {title(ref)} has ended; its final weights answer from now on.")
                self._lanes.describe()
        if now != before:
            self._page.draw()
