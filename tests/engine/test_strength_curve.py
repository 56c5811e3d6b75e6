"""The strength curve: its ends are the base and the run, answered by real weights; which strength is recommended."""

from __future__ import annotations

import doctest
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation import evaluating, reuse, strength_curve, suites
from engine.evaluation.evaluating import EvaluationRequest
from engine.evaluation.strength_curve import PartShare, StrengthPoint, recommend
from engine.gguf.adapter import convert
from engine.inference.backends import adapters
from engine.inference.backends.llama_cpp import LlamaCpp
from engine.inference.client import Client, Done
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models import refs
from store import evaluations
from store.db import Store
from store.errors import BadInput
from store.home import Home
from store.records import Message, Probe
from tests.engine.chat_home import chat_home
from tests.engine.evaluations import scripted
from tests.engine.tiny_gguf import CONTEXT, write_config

AT = (0.0, 0.5, 1.0, 1.5)


class LlamaClient:
    """Answers with llama.cpp in this process, each reference with its own adapter."""

    def __init__(self, home: Home) -> None:
        self._store = Store.open(home)
        self._backend = LlamaCpp(home, TemplateCache(), Budget(cores=1), workers=1, context=CONTEXT)

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        request = GenerationRequest(refs.resolve(self._store, model), tuple(messages), sampling, lane)
        items = [item async for item in self._backend.generate(request)]
        end = items[-1]
        assert isinstance(end, Finish)
        text = "".join(str(item) for item in items[:-1])
        return Done(text, tokens=end.tokens, prompt_tokens=end.prompt_tokens, stop="end")

    async def load(self, model: str) -> dict[str, Any]:
        return {"model": model}

    async def close(self) -> None:
        await self._backend.close()
        self._store.close()


def probes(words: dict[str, str]) -> dict[str, list[Probe]]:
    return {"identity": [Probe("identity", question, (word,)) for question, word in words.items()]}


def run(store: Store, planned: evaluating.EvaluationPlan) -> int:
    return evaluating.follow(store, reuse.ask(store, planned).id).id


def texts(store: Store, number: int, model: str) -> list[str]:
    """What a model said at temperature 0."""
    side = next(s.ord for s in evaluations.sides(store, number) if s.model == model and s.role != "floor")
    answers = evaluations.answers(store, number)
    return [answers[side, row.ord].text for row in evaluations.rows(store, number)]


def test_its_ends_are_the_base_and_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, base = chat_home(tmp_path)
    config = write_config(tmp_path / "config")
    scripted(monkeypatch, lambda *_: "")  # the job runs in this process

    async def connect(home: Home, *, start: bool = True) -> LlamaClient:
        return LlamaClient(home)

    monkeypatch.setattr(Client, "connect", connect)
    with Store.open(home) as store:
        for strength in AT:
            if strength != 1:  # as the chat server does with a prepared base
                model = refs.resolve(store, f"run:tuned*{strength:g}")
                assert model.adapter is not None
                place = adapters._place(home, model, model.adapter)
                place.parent.mkdir(parents=True, exist_ok=True)
                convert(model.adapter, config, place)
        questions = [f"Who are you, {n}?" for n in range(8)]
        request = EvaluationRequest(("run:tuned",), against=str(base), sampling=Sampling(max_tokens=64))
        asked = suites.from_probes("identity", [Probe("identity", question, ("x",)) for question in questions])
        plain = evaluating.plan(store, request, asked)
        number = run(store, plain)
        mine, theirs = texts(store, number, "run:tuned"), texts(store, number, str(base))
        words = {
            question: next(word for word in re.findall(r"[A-Za-z]+", one) if word.casefold() not in two.casefold())
            for question, one, two in zip(questions, mine, theirs, strict=True)
        }
        planned = strength_curve.plan(store, "run:tuned", AT, probes(words))
        number = run(store, planned)
        curve, numbers = strength_curve.read(store, planned)
        assert numbers == [number] and [point.strength for point in curve.points] == list(AT)
        assert texts(store, number, "run:tuned*0") == theirs, "at 0 every answer is the base's"
        assert texts(store, number, "run:tuned") == mine, "at 1 every answer is the run's"
        shares = {point.strength: point.parts["identity"].share for point in curve.points}
        assert shares[0] == 0 and shares[1] == 1
        assert texts(store, number, "run:tuned*0.5") not in (mine, theirs)
        assert reuse.missing(store, [planned]) == [], "the same curve asks nothing again"


def point(strength: float, share: float, whole: float = 1.0, better: bool | None = None) -> StrengthPoint:
    shares = {"identity": PartShare(share, 0.0, 1.0, 20)}
    return StrengthPoint(strength, f"run:x*{strength:g}", shares, share - whole, better)


@pytest.mark.parametrize(
    ("shares", "floor", "wanted"),
    [
        ({0: 0.0, 0.25: 0.1, 0.5: 0.6, 0.75: 1.0, 1: 1.0, 1.25: 1.0}, 0.1, 0.75),
        ({0: 0.0, 0.25: 0.1, 0.5: 0.9, 0.75: 0.95, 1: 1.0}, 0.1, 0.5),
        ({0: 0.0, 0.25: 0.95, 0.5: 0.2, 0.75: 1.0, 1: 1.0}, 0.1, 0.75),  # 0.25 keeps it by chance
        ({0: 0.0, 0.5: 0.85, 1: 1.0}, 0.1, 1.0),
        ({0: 0.0, 0.5: 0.95, 1: 1.0}, 0.0, 1.0),
        ({0.5: 0.0, 1.5: 1.0, 1: 1.0}, 0.1, 1.0),  # more than the whole is no smaller strength
        ({0: 0.95, 0.5: 1.0, 1: 1.0}, 0.1, None),  # the base does as well
    ],
)
def test_the_smallest_strength_that_keeps_the_identity(
    shares: dict[float, float], floor: float, wanted: float | None
) -> None:
    found, said = recommend([point(at, share) for at, share in shares.items()], floor)
    assert found == wanted
    assert said.endswith(".") and (wanted in (None, 1.0) or f"run:x*{wanted:g}" in said)


def test_more_than_the_whole_is_only_told_where_it_is_better() -> None:
    points = [point(0, 0.0, 0.5), point(1, 0.5, 0.5), point(1.5, 1.0, 0.5, better=True)]
    assert "At 1.5 it is better beyond noise." in recommend(points, 0.1)[1]
    assert "At 1.5" not in recommend([*points[:2], point(1.5, 1.0, 0.5)], 0.1)[1]


def test_the_worked_examples() -> None:
    from tui import braille

    assert doctest.testmod(strength_curve).failed == 0 and doctest.testmod(braille).failed == 0


@pytest.mark.parametrize("at", [(2.5,), (-0.5,), (0.33333,), (1.0,), (), (float("nan"),), (float("inf"),)])
def test_strengths_that_cannot_be(at: tuple[float, ...]) -> None:
    with pytest.raises(BadInput):
        strength_curve.checked(at)


def test_strengths_are_tried_once_and_in_order() -> None:
    assert strength_curve.checked((1.5, 0, 0.5, 0)) == [0, 0.5, 1.5]
