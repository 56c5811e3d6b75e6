"""Lanes that follow a run: while it goes on, each prompt is answered by its newest checkpoint, and a person is told
when that moved on. Which checkpoint answers is the server's to find; here it is only said."""

from __future__ import annotations

from textual import work

from engine import refs
from tui.screens.compare_talk import CompareTalk
from tui.screens.compare_view import title


class LiveActs(CompareTalk):
    """Keeps `followed` up with the store."""

    def on_mount(self) -> None:
        self.tuningfork.runs_changed.subscribe(self, lambda _: self._runs_moved())

    def _runs_moved(self) -> None:
        if any(lane.model.startswith("run:") for lane in self.talk.lanes.values()):
            self._look_at_runs()

    @work(group="live", exclusive=True)
    async def _look_at_runs(self) -> None:
        models = {lane.model: lane.name.upper() for lane in self.talk.lanes.values()}
        now = await self.tuningfork.bridge.call(refs.followed, list(models))
        before, self.followed = self.followed, now
        for ref, name in models.items():
            if ref in now and ref in before and now[ref] != before[ref]:
                self.note(f"Lane {name}: {title(ref)} is at step {now[ref]:,}; it answers the next prompt.")
            elif ref in before and ref not in now:
                self.note(f"Lane {name}: {title(ref)} has ended; its last state answers from now on.")
                self.describe()
        if now != before:
            self.draw()
