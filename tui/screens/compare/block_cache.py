"""The blocks of one panel, kept turn by turn: while an answer streams, only its turn is built again.
Turns are built in tui.screens.compare.rendering, blocks drawn in tui.screens.compare.lane."""

from __future__ import annotations

from collections.abc import Collection
from itertools import zip_longest

from engine.comparison.session import Comparison
from tui.screens.compare import rendering
from tui.screens.compare.lane import Block


class BlockCache:
    """What a panel shows, built only where it changed. Blocks that say the same stay the same objects, so that a lane
    sees at once that there is nothing to lay out."""

    def __init__(self) -> None:
        self._comparison: Comparison | None = None
        self._shape: tuple[object, ...] = ()
        self._turns: list[list[Block]] = []

    def blocks(
        self, comparison: Comparison, position: int, *, markdown: bool = False, changed: Collection[int] | None = None
    ) -> list[Block]:
        """All blocks of the panel at `position`. `changed` are the turns to build again; None builds every turn.

        Another comparison, other lanes, another number of turns or another way to show them build every turn too.
        """
        shape = (position, markdown, len(comparison.turns), tuple(comparison.lanes))
        if changed is None or comparison is not self._comparison or shape != self._shape:
            changed = range(len(comparison.turns))
            del self._turns[len(comparison.turns) :]
            self._turns += [[] for _ in range(len(comparison.turns) - len(self._turns))]
            self._comparison, self._shape = comparison, shape
        for n in changed:
            if n >= len(comparison.turns):
                continue  # it belongs to the conversation before, which was left while its answer streamed
            built = rendering.turn_blocks(comparison, position, n, markdown=markdown)
            known = zip_longest(built, self._turns[n][: len(built)])
            self._turns[n] = [old if old == new else new for new, old in known]
        return [block for turn in self._turns for block in turn]
