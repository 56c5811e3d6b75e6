"""Few-shot lanes: the plain base with examples of a dataset before the conversation - would prompting have done?
Chooses the examples and renders them as earlier turns; which lane reads them is engine.comparison.session's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store import datasets
from store.db import Store
from store.errors import BadInput, UserError
from store.records import Message, Pair

SHOTS = 4
MOST = 32
ROOM = 6000
"""Characters of all examples together, about 1,500 tokens: a longer pair is passed over, so that the conversation
itself still fits. When it grows out of the context all the same, the examples are the first to go."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """Examples of `dataset`: whole turns, user and assistant in turn. `system` is the system text that all of them
    share; it stands where the conversation has none of its own."""

    dataset: str
    shots: int
    system: str
    messages: tuple[Message, ...]

    def of(self, model: str) -> str:
        """What answers: the model is only half of it."""
        return f"{model} with {self.shots} example{'s'[: self.shots != 1]} of {self.dataset}"

    def before(self, messages: Sequence[Message]) -> list[Message]:
        """The examples put before a conversation, whose own system text wins."""
        own = [m for m in messages[:1] if m["role"] == "system"]
        shared: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*(own or shared), *self.messages, *messages[len(own) :]]

    def to_json(self) -> dict[str, Any]:
        """For the store; the examples themselves, because pairs change."""
        return {"dataset": self.dataset, "shots": self.shots, "system": self.system, "messages": list(self.messages)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> FewShot:
        """What `to_json` wrote."""
        return cls(kept["dataset"], kept["shots"], kept["system"], tuple(kept["messages"]))


def choose(pairs: Sequence[Pair], shots: int, room: int = ROOM) -> list[Pair]:
    """At most `shots` pairs that share their system text, together at most `room` characters.

    The choice follows from the contents alone: neither the order in which pairs were written nor an edit of another
    pair's status moves it. The order by hash mixes what was written together.
    """
    if not pairs:
        return []
    systems = Counter(pair.system for pair in pairs)
    common = max(sorted(systems), key=lambda system: systems[system])
    chosen: list[Pair] = []
    for pair in sorted((pair for pair in pairs if pair.system == common), key=lambda pair: pair.content_hash):
        size = sum(len(message["content"]) for message in turns(pair))
        if len(chosen) < shots and size <= room:
            chosen.append(pair)
            room -= size
    return chosen


def turns(pair: Pair) -> list[Message]:
    """A pair as earlier turns, its system text left out: that may only come first."""
    return [message for message in pair.messages() if message["role"] != "system"]


def of(store: Store, dataset: str, shots: int = SHOTS) -> FewShot:
    """Examples from the ready training pairs of a dataset.

    NotFound when there is no such dataset, UserError when it has no pair that could be one.
    """
    if not 1 <= shots <= MOST:
        raise BadInput(f"From 1 to {MOST} examples can be given, not {shots}.", where="shots")
    name = datasets.get(store, dataset).name
    chosen = choose([pair for pair, _ in datasets.members(store, name, split="train")], shots)
    if not chosen:
        raise UserError(
            f"The dataset {name} has no ready training pair of at most {ROOM:,} characters.",
            todo="Mark some pairs as ready, or name another dataset.",
        )
    messages = tuple(message for pair in chosen for message in turns(pair))
    return FewShot(name, len(chosen), chosen[0].system, messages)
