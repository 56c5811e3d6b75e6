"""What the judges of data say, and what they need to know of a pair.
Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one pair that a person should look at. `code` is a stable short name, `what` a sentence."""

    uid: str
    code: str
    field: str
    what: str
    level: Level = "warning"


class Judged(Protocol):
    """The parts of a pair that the judges read; `store.records.Pair` has them."""

    @property
    def uid(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def answer(self) -> str: ...
