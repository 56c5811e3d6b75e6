"""Lanes that follow runs: while one goes on, each prompt is answered by its newest checkpoint, and a person is told
when that moved on; the first that ends joins a lonely base. Which checkpoint answers is the server's to find."""

from __future__ import annotations

from textual import work

from engine.models import refs
from tui.screens.compare.rendering import title
from tui.screens.compare.talk import CompareTalk


class LiveActs(CompareTalk):
    """Keeps `followed` up with the store."""

    def on_mount(self) -> None:
        self.tuningfork.runs_changed.subscribe(self, lambda _: self._runs_moved())

    def _runs_moved(self) -> None:
        if any(refs.Ref.read(lane.model).is_run for lane in self.talk.lanes.values()):
            self._look_at_runs()
        elif not (self.lanes_chosen or self.talk.empty) and len(self.talk.lanes) == 1:
            self._join()

    @work(group="lanes", exclusive=True)
    async def _join(self) -> None:
        """A base that stands alone because there was no run gets the first one beside it; it answers what was asked."""
        known = await self.tuningfork.bridge.call(refs.known)
        tuned = next((ref for ref in known if refs.Ref.read(ref).is_run), None)
        if tuned is None or await self.base_of(tuned, "") != next(iter(self.talk.lanes.values())).model:
            return
        if self.lanes_chosen or len(self.talk.lanes) > 1:  # somebody was quicker
            return
        self.talk.add_lane(tuned)
        await self.match_panels()
        self.sync()
        self.describe()
        self.note(f"{title(tuned)} is here now, as lane B." + (" F6 shows it." if self.has_class("-tabbed") else ""))

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
