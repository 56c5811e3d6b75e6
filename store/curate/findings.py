"""What lint and its siblings report, and what they need to know of a pair.
Data only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one row that you should look at.

    `code` is the short stable name of the rule, `what` the rest of a sentence that begins with the field.
    Characters `start` to `end` of the field are meant; both are None where it is the whole row. `fixable`: the rule can
    correct it.
    """

    uid: str
    code: str
    field: str
    what: str
    level: Level = "warning"
    start: int | None = None
    end: int | None = None
    fixable: bool = False


class TurnLike(Protocol):
    """An earlier turn of a pair; `store.records.Turn` is one."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class PairLike(Protocol):
    """The parts of a pair that lint and its siblings read; `store.records.Pair` has them."""

    @property
    def uid(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def history(self) -> Sequence[TurnLike]: ...
    @property
    def question(self) -> str: ...
    @property
    def answer(self) -> str: ...


def texts(pair: PairLike) -> Iterator[tuple[str, str]]:
    """Every text of a pair with the name of its field: system, history[0] …, question, answer."""
    yield "system", pair.system
    for n, turn in enumerate(pair.history):
        yield f"history[{n}]", turn.content
    yield "question", pair.question
    yield "answer", pair.answer
