"""Probes: files read line by line, answers judged by whole words, models asked one question after the other."""

from __future__ import annotations

import doctest
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.core import sample_files
from engine.evaluation import consistency, probes
from engine.evaluation.judges.contains import judgement
from engine.evaluation.probes import ProbeOutcome
from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store.errors import BadInput, ServerError
from store.records import Message, Probe


def test_the_sample_probes_can_be_read() -> None:
    for name in ("identity", "product", "retention"):
        loaded = probes.load(sample_files.path(f"probes/{name}.jsonl"))
        assert len(loaded) >= 10 and all(p.set == name for p in loaded)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", ":2"),
        ("[]", "needs a question"),
        ('{"question": " "}', "needs a question"),
        ('{"question": "q", "must": "x"}', "list of texts"),
        ('{"question": "q", "must": [""]}', "list of texts"),
        ('{"question": "q", "muts": ["x"]}', "no field 'muts'"),
        ('{"question": "q"}', "cannot fail"),
        ('{"question": "q", "must": ["x"], "system": 4}', "system must be"),
        ('{"question": "q", "must": ["x"], "same": 4}', "must be a text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"question": "q", "must": ["x"]}\n' + line + "\n")
    with pytest.raises(BadInput) as caught:
        probes.load(path)
    assert what in str(caught.value) and ":2" in str(caught.value)


def test_missing_empty_and_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with pytest.raises(BadInput, match="no such probe file"):
        probes.load(path)
    path.write_text("\n \n")
    with pytest.raises(BadInput, match="empty"):
        probes.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="UTF-8"):
        probes.load(path)


@pytest.mark.parametrize(
    ("must", "must_not", "text", "passed"),
    [
        (("Ember",), (), "I am EMBER, made by Northwind.", True),
        (("ember",), (), "I remember September.", False),
        (("radio",), (), "They are radios.", True),
        (("7", "seven"), (), "There are 7 days.", True),
        (("7", "seven"), (), "In 1789, or 70.", False),
        (("7", "seven"), (), "Seven!", True),
        (("paris",), ("london",), "Paris, not London", False),
        ((), ("smollm",), "I am Ember.", True),
        (("C++",), (), "It is written in c++.", True),
        (("strasse",), (), "Die Straße", True),
        (("x",), (), "", False),
    ],
)
def test_judging(must: tuple[str, ...], must_not: tuple[str, ...], text: str, passed: bool) -> None:
    assert judgement(Probe("s", "q", must, must_not), text).passed is passed


class Scripted:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: Done) -> None:
        self.answers, self.asked = list(answers), []

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        self.asked.append((model, list(messages), sampling, lane))
        return self.answers.pop(0)


async def test_each_probe_is_a_conversation_of_its_own() -> None:
    client, told = Scripted(Done("Ember"), Done("No idea")), []
    asked = [Probe("s", "Who?", ("ember",), system="Be brief."), Probe("s", "What?", ("x",))]
    result = await probes.run(client, "run:x", asked, Sampling(seed=3), lambda n, of: told.append((n, of)))
    assert (result.model, result.passed, result.of) == ("run:x", 1, 2)
    assert [item.passed for item in result.items] == [True, False]
    assert [len(messages) for _, messages, _, _ in client.asked] == [2, 1]
    assert all(sampling.seed == 3 and lane is None for _, _, sampling, lane in client.asked)
    assert told == [(1, 2), (2, 2)]


async def test_an_answer_that_breaks_off_is_no_failed_probe() -> None:
    with pytest.raises(ServerError, match="gone"):
        await probes.run(Scripted(Done("Emb", stop="error", error="gone")), "m", [Probe("s", "q", ("x",))], Sampling())


async def test_each_probe_is_asked_with_every_seed() -> None:
    client, told = Scripted(*(Done(text) for text in ("Ember", "Bob", "x", "y"))), []
    asked = [Probe("s", "Who?", ("ember",)), Probe("s", "What?", ("x",))]
    hot = Sampling(seed=3, temperature=0.7)
    result = await probes.run(client, "run:x", asked, hot, lambda n, of: told.append((n, of)), seeds=2)
    assert [(messages[-1]["content"], sampling.seed) for _, messages, sampling, _ in client.asked] == [
        ("Who?", 3), ("Who?", 4), ("What?", 3), ("What?", 4),
    ]  # fmt: skip
    assert all(sampling.temperature == 0.7 for _, _, sampling, _ in client.asked)
    assert (result.passed, result.of, told[-1]) == (2, 4, (4, 4))


# ---------------------------------------------------------------- the same facts


def said(*answers: str, right: str = "89") -> list[ProbeOutcome]:
    return [ProbeOutcome("Q", text, right in text, 0.0, "") for text in answers]


@pytest.mark.parametrize(
    ("answers", "share"),
    [
        (("89", "It is 89.", "89!"), 1.0),
        (("89", "95"), 0.0),
        (("89", "89", "95"), 1 / 3),
        (("95", "95", "95"), 1.0),
        (("It is 95.", "it  is 95."), 1.0),
        (("95", "96", "97"), 0.0),
        (("89", "89", "95", "95"), 1 / 3),
        (("", ""), 1.0),
    ],
)
def test_answers_agree_when_both_are_good_or_say_the_same(answers: tuple[str, ...], share: float) -> None:
    found = consistency.measure([Probe("s", "Q", ("89",))], said(*answers))
    assert found is not None and found.share == pytest.approx(share)
    assert found.always == (share == 1) and found.groups[0].answers == len(answers)


def test_wordings_of_the_same_group_are_measured_together(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = [("Price?", "price"), ("Cost?", " price "), ("Weight?", ""), ("How much?", "price")]
    rows = [{"question": question, "must": ["89"], "same": same} for question, same in lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    asked = probes.load(path)
    found = consistency.measure(asked, said("89", "95", "89", "89"))
    assert found is not None and [(g.name, g.answers, g.passed) for g in found.groups] == [("price", 3, 2)]
    assert found.share == pytest.approx(1 / 3), "of three pairs one agrees; a lone answer is no group"
    twice = consistency.measure(asked, said("89", "89", "95", "95", "89", "89", "89", "89"))
    assert twice is not None and [g.name for g in twice.groups] == ["price", "Weight?"]
    assert twice.groups[0].agreement == pytest.approx((4 * 3 + 2 * 1) / (6 * 5)) and twice.groups[1].agreement == 1
    assert twice.share == pytest.approx((twice.groups[0].agreement + 1) / 2) and twice.always == 1


def test_the_same_question_twice_without_a_group_is_two_groups() -> None:
    asked = [Probe("s", "Q", ("89",)), Probe("s", "Q", ("95",))]
    found = consistency.measure(asked, said("89", "89", "95", "95"))
    assert found is not None and len(found.groups) == 2 and found.share == 1


def test_single_answers_have_no_consistency() -> None:
    assert consistency.measure([Probe("s", "Q", ("89",))], said("89")) is None
    assert consistency.measure([], []) is None
    assert doctest.testmod(consistency).failed == 0
