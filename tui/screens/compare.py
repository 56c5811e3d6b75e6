"""Compare: two models answer the same prompt side by side, and a person says which was better.
Puts the parts together; each part has a module of its own."""

from __future__ import annotations

from tui.screens.compare_keep import KeepActs
from tui.screens.compare_lanes import LaneActs
from tui.screens.compare_live import LiveActs
from tui.screens.compare_prompts import PromptActs
from tui.screens.compare_votes import VoteActs


class CompareScreen(LaneActs, LiveActs, PromptActs, VoteActs, KeepActs):
    """Talking, lanes, the runs they follow, sets of prompts, votes and keeping."""

    CSS_PATH = "compare.tcss"
