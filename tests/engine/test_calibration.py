"""The estimate corrected by earlier runs, and what it counts besides the steps."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from engine.training.calibration import COST, RunCost, calibrated, place_of
from engine.training.config import TrainConfig
from engine.training.estimate import Gpu, Machine, estimate
from engine.training.model_facts import ModelFacts
from engine.training.preflight import Preflight
from store import runs
from store.db import Store
from tests.engine.test_estimate import CPU, ROWS, SMOL
from tests.engine.test_jobs import Submit

CONFIG = TrainConfig(model="m", method="lora")


def cost(slower: float, **changes: object) -> RunCost:
    """A run that was estimated at 10 s to start and 20 s of work, and took so many times as long."""
    made = RunCost(place_of(CPU), "m", "lora", 10.0, 20.0, 10**9, 10.0 * slower, 20.0 * slower, int(0.8 * 10**9))
    return replace(made, **changes)


def keep(store: Store, submit: Submit, *costs: RunCost) -> None:
    """Finished runs whose last message says what they took."""
    for each in costs:
        run = submit("quick")
        with store.write() as conn:
            runs.add_event(conn, run.id, "It took …", kind="log", level="info", body={COST: asdict(each)})


def test_the_median_of_like_runs_corrects_the_estimate(store: Store, submit: Submit) -> None:
    guess = estimate(CONFIG, ROWS, SMOL, CPU)
    assert calibrated(store, guess, CONFIG, CPU) == guess, "nothing is known yet"
    keep(store, submit, cost(1.5), cost(2.0), cost(9.0), cost(3.0, method="qlora"), cost(4.0, model="other"))
    found = calibrated(store, guess, CONFIG, CPU)
    assert found.seconds == pytest.approx(2 * guess.seconds) and found.start_s == pytest.approx(2 * guess.start_s)
    assert found.memory_bytes == int(guess.memory_bytes * 0.8)
    assert found.note.endswith("Corrected by 3 earlier runs on this machine.")


def test_other_methods_and_models_serve_where_nothing_is_nearer(store: Store, submit: Submit) -> None:
    keep(store, submit, cost(3.0, method="qlora"), cost(4.0, model="other"))
    guess = estimate(CONFIG, ROWS, SMOL, CPU)
    assert calibrated(store, guess, CONFIG, CPU).seconds == pytest.approx(3 * guess.seconds)
    unknown = TrainConfig(model="third", method="lora")
    assert calibrated(store, guess, unknown, CPU).seconds == pytest.approx(3.5 * guess.seconds)


def test_another_machine_and_runs_that_were_over_at_once_say_nothing(store: Store, submit: Submit) -> None:
    card = Machine(2, 16 * 10**9, [Gpu("Card", 10**10, 10**10)], True)
    keep(store, submit, cost(3.0, where=place_of(card)), cost(5.0, work_s=0.5))
    guess = estimate(CONFIG, ROWS, SMOL, CPU)
    assert calibrated(store, guess, CONFIG, CPU) == guess


def test_measuring_rehearsal_and_a_rate_trial_take_time() -> None:
    plain = estimate(CONFIG, ROWS, SMOL, CPU)
    watched = estimate(CONFIG.replace(watch="identity,general", drift=True), ROWS, SMOL, CPU)
    assert watched.seconds > plain.seconds + watched.measuring_s > plain.seconds, "asking the base counts, too"
    often = estimate(CONFIG.replace(watch="identity,general", drift=True, measure_every=1), ROWS, SMOL, CPU)
    assert often.measuring_s == pytest.approx(watched.measuring_s * plain.steps / (plain.steps // (plain.steps // 5)))
    assert estimate(CONFIG.replace(watch="none"), ROWS, SMOL, CPU).measuring_s == 0
    trial = estimate(CONFIG.replace(lr_trial=True), ROWS, SMOL, CPU)
    steps_s = plain.seconds - plain.start_s
    assert trial.seconds == pytest.approx(plain.seconds + steps_s * 30 / plain.steps)


LARGE = ModelFacts(weights=1_700_000_000, linear_weights=1_600_000_000, layers=24, hidden=2048, vocabulary=49_152)
LONG = Preflight(
    rows=100, val_rows=0, tokens=90_000, trained_tokens=40_000, truncated=[], masked=[], empty=[], longest=1000,
    prefix_tokens=30, eot_trained=True, samples=[],
)  # fmt: skip


def test_the_one_change_that_makes_a_run_fit_is_named() -> None:
    config = TrainConfig(model="m", method="lora", batch_size=8)

    def note(settings: TrainConfig, bytes: float) -> str:
        return estimate(settings, LONG, LARGE, Machine(2, 1, [Gpu("Card", int(bytes), int(bytes))], True)).note

    assert note(config, 80e9) == ""
    whole, single = (
        estimate(each, LONG, LARGE, Machine(2, 1, [Gpu("Card", 1, 1)], True)).memory_bytes
        for each in (config, config.replace(batch_size=1))
    )
    assert "With batch size 2 it would take about" in note(config, whole * 0.75)
    assert "With method qlora it would take about" in note(config.replace(batch_size=1), single * 0.85)
    assert "a smaller model" in note(config, 2e9), "no single change is enough"
