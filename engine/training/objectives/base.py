"""What an objective is: what a run trains towards, from what data.
Light: the trainer of an objective is in the worker, registered there under the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate
    from engine.training.preflight import Preflight, RowLimits
    from store.records import SnapshotRow

Data = Literal["pairs"]


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to train towards.

    `needs` says what a dataset must hold. `preflight` checks the rows of a snapshot before a run and counts what
    will be trained; the worker calls it too, and refuses to start on problems. `metrics` are the numbers that a run
    records besides its learning rate and speed: name in the store -> label on the Train screen.
    """

    name: str
    title: str
    summary: str
    needs: Data
    preflight: Callable[[Sequence[SnapshotRow], ChatTemplate, RowLimits], Preflight]
    metrics: Mapping[str, str]
