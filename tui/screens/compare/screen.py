"""Compare: two models answer the same prompt side by side, and a person says which was better.
Puts the parts together; each part has a module of its own."""

from __future__ import annotations

from tui.screens.compare.keeping import KeepActs
from tui.screens.compare.lanes import LaneActs
from tui.screens.compare.live import LiveActs
from tui.screens.compare.prompt_sets import PromptActs
from tui.screens.compare.voting import VoteActs


class CompareScreen(LaneActs, LiveActs, PromptActs, VoteActs, KeepActs):
    """Talking, lanes, the runs they follow, sets of prompts, votes and keeping."""

    CSS_PATH = "screen.tcss"
