"""One answer of one lane: its text as it grows, how it ended and what it cost.
Plain records; engine.comparison.session knows which answer belongs to which prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.inference.sampling import Sampling

AnswerState = Literal["waiting", "streaming", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Stats:
    """What an answer cost: times in milliseconds (None where unknown), the context in tokens.

    `stop` is end, length or cancelled; `dropped_turns` earlier messages did not fit into the context. `note` is a
    sentence on what could not be done as asked, `reasoning` what the model thought before it answered.
    """

    tokens: int = 0
    prompt_tokens: int = 0
    stop: str = "end"
    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    context_used: int = 0
    context_size: int = 0
    dropped_turns: int = 0
    note: str = ""
    reasoning: str = ""


@dataclass(slots=True)
class LaneAnswer:
    """One lane's answer to one prompt. `text` grows while it streams and stays whatever happens."""

    model: str
    sampling: Sampling
    state: AnswerState = "waiting"
    text: str = ""
    stats: Stats | None = None
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ("done", "stopped", "failed")

    @property
    def whole(self) -> bool:
        """It ended by itself: neither stopped, nor cut at the limit, nor broken off."""
        return self.state == "done" and (self.stats is None or self.stats.stop == "end")
