"""What an objective is: what a run trains towards, from what data.
Light: the trainer of an objective is in the worker, registered there under the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from store.records import SnapshotRow

Data = Literal["pairs", "preferences", "feedback"]


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to train towards.

    `needs` says what a dataset must hold. `preflight` checks the rows of a snapshot before a run and counts what
    will be trained; the worker calls it too, and refuses to start on problems. `metrics` are the numbers that a run
    records besides its learning rate and speed: name in the store -> label on the Train screen.

    `fields` are the TrainConfig fields that only some objectives use and this one does; `unused` those that it does not
    use though others do, each with the reason in a sentence: a configuration that sets one of them is refused.
    `recipe` is what is taken where only the objective is named. `passes` is the work on a token of the data, in forward
    and backward passes of training on it once, for estimates. `answers` says whether the trained model writes answers;
    a reward model only scores them. `check` raises BadInput for a TrainConfig whose values the objective cannot train
    together.
    """

    name: str
    title: str
    summary: str
    needs: Data
    preflight: Callable[[Sequence[SnapshotRow], ChatTemplate, RowLimits], Preflight]
    metrics: Mapping[str, str]
    fields: frozenset[str] = frozenset()
    unused: Mapping[str, str] = field(default_factory=dict)
    recipe: str = "identity"
    passes: float = 1.0
    answers: bool = True
    check: Callable[[Any], None] = lambda config: None
