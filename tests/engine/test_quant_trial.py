"""Which of the quants that were tried is recommended, and what is refused before any is made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.export import planning, quant_trial, targets
from engine.export.quant_trial import TriedQuant
from engine.export.request import AUTO, Request, Target
from store.db import Store
from store.errors import BadInput
from tests.tui.fake_exports import a_run


def tried(
    quant: str, size: int, kl: float | None, *, weighed: bool = False, failed: tuple[str, ...] = ()
) -> TriedQuant:
    return TriedQuant(quant, weighed, size, kl, not failed, failed, 100.0, "")


def test_the_smallest_that_is_close_to_the_run() -> None:
    found = [tried("q8_0", 145, 0.004), tried("q4_k_m", 105, 0.06), tried("q4_0", 92, 0.4), tried("iq2_m", 80, 0.9)]
    assert quant_trial.recommended(found) == found[1]


def test_a_matrix_costs_no_bytes_so_the_nearer_of_two_wins() -> None:
    plain, weighed = tried("q4_k_m", 105, 0.06), tried("q4_k_m", 105, 0.04, weighed=True)
    assert quant_trial.recommended([plain, weighed]) is weighed
    assert quant_trial.recommended([tried("q4_k_m", 105, 0.01), weighed]).importance is False  # type: ignore[union-attr]


def test_what_fails_is_never_recommended_and_what_only_passes_is_the_second_choice() -> None:
    lost = tried("q4_1", 50, 0.05, failed=("answers",))
    far = tried("q4_0", 92, 0.3)
    assert quant_trial.recommended([tried("q8_0", 145, 0.2), lost, far]) is far
    assert quant_trial.recommended([lost]) is None


def test_one_that_lost_probes_is_not_close_though_chance_may_explain_it() -> None:
    unsure = replace(tried("q4_k_m", 105, 0.06), lost_probes=True)
    assert quant_trial.recommended([tried("q8_0", 145, 0.004), unsure]) == tried("q8_0", 145, 0.004)
    assert quant_trial.recommended([unsure]) is unsure


def test_every_quant_is_tried_and_what_a_matrix_cannot_change_only_once() -> None:
    found = quant_trial._candidates()
    assert ("q8_0", False) in found and ("q8_0", True) not in found
    assert ("q4_k_m", False) in found and ("q4_k_m", True) in found
    assert ("iq2_m", True) in found and ("iq2_m", False) not in found
    assert not {"f32", "f16", "bf16"} & {quant for quant, _ in found}


def test_auto_needs_the_verification(store: Store) -> None:
    a_run(store)
    asked: dict[str, Any] = {"run": "ember-1", "targets": (Target("gguf", AUTO),)}
    assert planning.plan(store, Request(**asked))[0].target.quant == AUTO
    with pytest.raises(BadInput, match="chosen by verifying"):
        planning.plan(store, Request(**asked, verify=False))


def test_a_matrix_is_for_what_llama_cpp_quantises() -> None:
    assert targets.takes_matrix("q4_k_m") and not targets.takes_matrix("q8_0") and not targets.takes_matrix(AUTO)
