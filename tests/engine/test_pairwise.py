"""A model as judge of two answers, against scripted judges and scikit-learn."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from engine.evaluation import pairwise
from engine.evaluation.pairwise import JudgedVote, Verdict, agreement
from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store.errors import BadInput, ServerError, Unsupported
from store.records import Choice, Message, Vote

GOOD, BAD = "Northwind Labs {made} me.", "I do not know."


def vote(id: int, choice: Choice) -> Vote:
    """A vote between two answers; the one that won is GOOD, wherever it stands."""
    a, b = (BAD, GOOD) if choice == "b" else (GOOD, BAD)
    prompt: list[Message] = [{"role": "user", "content": "Who made you?"}]
    return Vote(**dict.fromkeys(Vote.__dataclass_fields__) | {
        "id": id, "prompt": prompt, "a_model": "x", "b_model": "y", "a_text": a, "b_text": b, "choice": choice,
    })  # fmt: skip


VOTES = [vote(n, "ab"[n % 2]) for n in range(12)]  # type: ignore[arg-type]


@dataclass
class ScriptedJudge:
    """Replies to a prompt by rule; `refuses` says of a sampling whether the model takes it."""

    rule: Callable[[str], str]
    refuses: Callable[[Sampling], bool] = lambda sampling: False
    stop: Any = "end"
    asked: list[Sampling] = field(default_factory=list)

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        self.asked.append(sampling)
        if self.refuses(sampling):
            raise Unsupported("This endpoint knows no response_format.", todo="Leave it out.")
        return Done(self.rule(messages[-1]["content"]), stop=self.stop)


def good_first(prompt: str) -> bool:
    return prompt.index(GOOD) < prompt.index(BAD)


def choosing(good: bool) -> Callable[[str], str]:
    return lambda prompt: json.dumps({"better": "A" if good_first(prompt) == good else "B"})


async def test_a_judge_that_always_says_a_gives_only_ties() -> None:
    items = await pairwise.judge(ScriptedJudge(lambda _: '{"better": "A"}'), "m", VOTES)
    found = agreement(items)
    assert {item.verdict for item in items} == {"tie"} and found.judged == found.flipped == 12
    assert (found.first, found.chosen, found.agreed) == (24, 24, 0) and not found.usable


async def test_a_judge_that_always_agrees() -> None:
    seen: list[int] = []
    script = ScriptedJudge(choosing(good=True))
    found = agreement(await pairwise.judge(script, "m", VOTES, seen.append))
    assert (found.agreed, found.judged, found.kappa.value, found.flipped) == (12, 12, 1.0, 0)
    assert (found.first, found.chosen) == (12, 24) and found.usable and seen == list(range(1, 13))
    assert len(script.asked) == 24 and all(each.temperature == 0 and each.json_schema for each in script.asked)


async def test_a_judge_that_never_agrees() -> None:
    found = agreement(await pairwise.judge(ScriptedJudge(choosing(good=False)), "m", VOTES))
    assert (found.agreed, found.kappa.value, found.usable) == (0, -1.0, False)


async def test_both_bad_is_a_tie_of_the_user() -> None:
    items = await pairwise.judge(ScriptedJudge(lambda _: "tie"), "m", [vote(1, "both_bad"), vote(2, "tie")])
    assert [(item.user, item.verdict) for item in items] == [("tie", "tie")] * 2
    found = agreement(items)
    assert found.agreed == 2 and found.kappa.value is None and not found.usable


async def test_few_votes_that_all_agree_are_no_proof() -> None:
    found = agreement(await pairwise.judge(ScriptedJudge(choosing(good=True)), "m", VOTES[:2]))
    assert found.kappa.value == 1.0 and found.kappa.low == 0.0 and not found.usable


@pytest.mark.parametrize("reply", ["", "A is good but B is better", '{"better": "C"}', '["A"]', '{"better": 1}',
                                   "[" * 9999, "null", '{"score": "A"}'])  # fmt: skip
async def test_what_cannot_be_read_is_not_judged(reply: str) -> None:
    items = await pairwise.judge(ScriptedJudge(lambda _: reply), "m", VOTES)
    found = agreement(items)
    assert {item.verdict for item in items} == {None} and (found.judged, found.not_judged) == (0, 12)
    assert found.kappa.value is None and not found.usable


async def test_one_order_that_cannot_be_read_leaves_the_vote_not_judged() -> None:
    script = ScriptedJudge(lambda prompt: "A" if good_first(prompt) else "well")
    found = agreement(await pairwise.judge(script, "m", VOTES))
    assert (found.judged, found.not_judged, found.first, found.chosen) == (0, 12, 12, 12)


async def test_a_model_that_refuses_a_schema_is_asked_without_from_then_on() -> None:
    script = ScriptedJudge(lambda prompt: "**A**" if good_first(prompt) else "B.", lambda s: s.json_schema is not None)
    found = agreement(await pairwise.judge(script, "m", VOTES))
    assert found.agreed == 12 and [each.json_schema is None for each in script.asked] == [False] + [True] * 24


async def test_a_model_that_refuses_everything_is_an_error() -> None:
    with pytest.raises(Unsupported, match="response_format"):
        await pairwise.judge(ScriptedJudge(str, lambda _: True), "m", VOTES)


async def test_a_vote_that_does_not_fit_costs_no_other() -> None:
    def rule(prompt: str) -> str:
        if "very long" in prompt:
            raise BadInput("The question is too long.", where="messages", todo="Shorten it.")
        return choosing(good=True)(prompt)

    long = replace(VOTES[3], prompt=[{"role": "user", "content": "A very long one."}])
    script = ScriptedJudge(rule)
    items = await pairwise.judge(script, "m", [*VOTES[:3], long, *VOTES[4:]])
    found = agreement(items)
    assert (found.judged, found.not_judged, found.too_long, found.agreed) == (11, 1, 1, 11)
    assert items[3].too_long and items[3].verdict is None and all(each.json_schema for each in script.asked)


async def test_a_reply_that_breaks_off_is_an_error() -> None:
    with pytest.raises(ServerError, match="broke off"):
        await pairwise.judge(ScriptedJudge(lambda _: "A", stop="error"), "m", VOTES)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import cohen_kappa_score

    draw = random.Random(seed)
    options: list[Verdict] = ["a", "b", "tie"]
    user = draw.choices(options, (4, 3, 1), k=60)
    judge = [each if draw.random() < 0.5 else draw.choice(options) for each in user]
    found = pairwise.kappa(list(zip(user, judge, strict=True)))
    assert found.value == pytest.approx(cohen_kappa_score(user, judge))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high  # type: ignore[operator]


def test_the_verdict_follows_the_answer_and_not_the_place() -> None:
    assert JudgedVote(1, "a", "first", "second").verdict == "a" and JudgedVote(1, "a", "second", "first").verdict == "b"
    assert JudgedVote(1, "a", "first", "tie").verdict == "tie"
