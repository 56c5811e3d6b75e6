"""One answer of one lane: its text as it grows, how it ended, what it cost, and how it began if that was chosen.
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
    sentence on what could not be done as asked, `reasoning` what the model thought before it answered. `token_ids` are
    the answer's tokens, with the one that ended it; none where they are not known, or a stop text cut the answer.
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
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenFork:
    """Where another answer was left: its tokens up to there and the one that was chosen, `prefix`, are how the new
    answer begins.

    `token` counts the answer's tokens from 1; `chosen` and `instead_of` are the texts of the token and of the one that
    it took the place of.
    """

    prefix: tuple[int, ...]
    token: int
    chosen: str
    instead_of: str


@dataclass(slots=True)
class LaneAnswer:
    """One lane's answer to one prompt. `text` grows while it streams and stays whatever happens.

    An answer with a `fork` is not the model's own from its first token on.
    """

    model: str
    sampling: Sampling
    state: AnswerState = "waiting"
    text: str = ""
    stats: Stats | None = None
    error: str = ""
    fork: TokenFork | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("done", "stopped", "failed")

    @property
    def whole(self) -> bool:
        """It ended by itself: neither stopped, nor cut at the limit, nor broken off."""
        return self.state == "done" and (self.stats is None or self.stats.stop == "end")
