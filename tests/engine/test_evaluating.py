"""Evaluations: frozen, asked once, continued, measured and advised; and what is refused before anything is asked."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.evaluation import evaluating, report_files, summary, ways
from engine.evaluation.contexts import TrainingPairs
from engine.evaluation.evaluating import EvaluationRequest
from engine.inference.sampling import Sampling
from store import evaluations, pairs
from store.db import Store
from store.errors import BadInput, Conflict, ServerError, UserError
from store.evaluations import Evaluation
from store.records import Message, PairDraft
from tests.engine.evaluations import ScriptedClient, model_folder, scripted

STARS = {"great": "5", "fine": "3", "awful": "1", "good": "4"}


@pytest.fixture
def reviews(store: Store) -> str:
    """Ten training pairs and forty test ones, rated by their first word."""
    words = list(STARS.items())
    for split, many in (("train", 10), ("test", 40)):
        drafts = [PairDraft(f"{words[n % 4][0]} thing, {split} {n}", words[n % 4][1]) for n in range(many)]
        pairs.create_many(store, drafts, dataset="reviews", split=split)  # type: ignore[arg-type]
    return "reviews"


@pytest.fixture
def base(tmp_path: Path) -> str:
    return model_folder(tmp_path / "base")


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    return model_folder(tmp_path / "tuned")


def rate(model: str, messages: list[Message], sampling: Sampling) -> str:
    """The tuned model is right; the base always says three stars, and right where it was shown pairs."""
    question = messages[-1]["content"].rpartition("answer: ")[2]
    right = STARS[question.split()[0]]
    if sampling.temperature > 0:
        return str(1 + (len(question) + sampling.seed) % 5)
    return right if "tuned" in model or len(messages) > 1 else "3"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    return scripted(monkeypatch, rate)


def run(store: Store, request: EvaluationRequest) -> Evaluation:
    return evaluating.follow(store, evaluating.submit(store, evaluating.plan(store, request)).id)


def metric(found: Evaluation, name: str, part: str = "test") -> dict[str, float]:
    """Values by side."""
    assert found.report is not None
    own = next(each for each in found.report["parts"] if each["part"] == part)
    return {each["side"]: each["value"] for each in next(m for m in own["metrics"] if m["name"] == name)["values"]}


def test_every_answer_is_asked_once_and_measured(
    store: Store, reviews: str, base: str, tuned: str, client: ScriptedClient
) -> None:
    found = run(store, EvaluationRequest((tuned,), against=base, dataset=reviews, floor=True))
    assert found.report is not None and found.done == found.total == 160
    assert (
        len(client.asked) == 160
        and len({(m, q[-1]["content"], s.seed, s.temperature) for m, q, s in client.asked}) == 160
    )
    assert found.plan["type"] == "rating"
    assert metric(found, "accuracy")[tuned] == 1 and metric(found, "accuracy")[base] == 0.25
    assert metric(found, "mae")[base] == pytest.approx((2 + 0 + 2 + 1) / 4)
    assert metric(found, "loss")[tuned] == pytest.approx(1) and metric(found, "loss")[base] == pytest.approx(2)
    assert metric(found, "perplexity")[base] == pytest.approx(7.389, abs=0.001)
    part = found.report["parts"][0]
    mae = next(each for each in part["metrics"] if each["name"] == "mae")
    assert mae["differences"][0]["better"] is True and mae["floor"] > 0
    assert part["confusion"][base]["5"] == {"3": 10}
    rows = summary.row_scores(store, found.id)
    assert len(rows) == 40 and rows[0]["difference"] == 0 and rows[-1]["difference"] == 2
    assert [answer["side"] for answer in rows[0]["answers"]] == [tuned, base], "the floor is no answer to read"


def test_a_broken_evaluation_continues_where_it_was(
    store: Store, reviews: str, base: str, client: ScriptedClient
) -> None:
    client.fails_at = 7
    made = evaluating.submit(store, evaluating.plan(store, EvaluationRequest((base,), dataset=reviews)))
    with pytest.raises(ServerError, match="went away"):
        evaluating.follow(store, made.id)
    half = evaluations.get(store, made.id)
    assert half.done == 7 and half.report is None and evaluating.state(store, half) == "failed"
    with pytest.raises(Conflict, match="7 of 40"):
        summary.report(store, made.id)
    evaluating.resume(store, made.id)
    found = evaluating.follow(store, made.id)
    assert found.done == 40 and len(client.asked) == 41, "the seven are not asked again"
    with pytest.raises(Conflict, match="is complete"):
        evaluating.resume(store, made.id)


def test_a_model_that_changed_is_not_mixed_with_what_it_was(
    store: Store, reviews: str, base: str, client: ScriptedClient
) -> None:
    client.fails_at = 3
    made = evaluating.submit(store, evaluating.plan(store, EvaluationRequest((base,), dataset=reviews)))
    weights = next(Path(base).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(Conflict, match="has changed since"):
        evaluating.resume(store, made.id)


def test_what_cannot_be_a_test_is_refused_or_told(
    store: Store, reviews: str, base: str, client: ScriptedClient
) -> None:
    with pytest.raises(UserError, match="No ready pair"):
        evaluating.plan(store, EvaluationRequest((base,), dataset=reviews, split="val"))
    with pytest.raises(BadInput, match="nothing to ask"):
        evaluating.plan(store, EvaluationRequest((base,)))
    with pytest.raises(BadInput, match="no metric"):
        evaluating.plan(store, EvaluationRequest((base,), dataset=reviews, metrics=("blue",)))
    pairs.create_many(store, [PairDraft("great thing, train 0", "4")], dataset=reviews, split="test")
    planned = evaluating.plan(store, EvaluationRequest((base,), dataset=reviews))
    assert any("1 of 41 questions are also in the training split" in note for note in planned.notes)
    fewer = evaluating.plan(store, EvaluationRequest((base,), dataset=reviews, limit=5))
    assert len(fewer.rows) == 5 and any("5 of 41 rows" in note for note in fewer.notes)
    assert not client.asked


def test_an_endpoint_is_named_before_texts_leave(store: Store, reviews: str, base: str) -> None:
    planned = evaluating.plan(store, EvaluationRequest((base, "http://host:1/v1#big"), dataset=reviews))
    assert planned.leaves == ["http://host:1/v1#big"]


def test_what_could_not_be_measured_is_counted(
    store: Store, reviews: str, tmp_path: Path, client: ScriptedClient
) -> None:
    unseen = model_folder(tmp_path / "unseen")
    found = run(store, EvaluationRequest((unseen,), dataset=reviews))
    assert found.report is not None and metric(found, "loss")[unseen] is None
    assert any("the loss of 40 references" in note for note in found.report["notes"])


def test_the_five_ways_end_in_advice(store: Store, reviews: str, base: str, tuned: str, client: ScriptedClient) -> None:
    request = EvaluationRequest((tuned,), against=base, dataset=reviews)
    request = replace(request, contexts=ways.contexts(request, 2))
    found = run(store, request)
    assert found.report is not None
    listed = ways.table(found.report, price_in=1.0, price_out=2.0)
    assert len(listed) == 5 and {way.side for way in listed if not way.plain} == {
        f"{base} + 2 examples", f"{base} + 2 found", f"{tuned} + 2 found",
    }  # fmt: skip
    plain = next(way for way in listed if way.side == tuned)
    shown = next(way for way in listed if way.side == f"{base} + 2 examples")
    assert shown.prompt_tokens > plain.prompt_tokens
    assert plain.cost_per_1000 == pytest.approx((plain.prompt_tokens + 2 * plain.tokens) / 1000)
    assert "Prompting does as well" in ways.advice(found.report), "two shown pairs are enough for the scripted base"


def test_before_a_run_it_says_try_prompting_first(
    store: Store, reviews: str, base: str, client: ScriptedClient
) -> None:
    request = EvaluationRequest((base,), dataset=reviews)
    request = replace(request, contexts=ways.contexts(request, 2))
    found = run(store, request)
    assert found.report is not None and ways.advice(found.report).startswith("Try prompting first")


def test_where_only_tuning_helps_it_pays(
    store: Store, reviews: str, base: str, tuned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, lambda model, messages, sampling: rate(model, messages[-1:], sampling))
    request = EvaluationRequest((tuned,), against=base, dataset=reviews)
    request = replace(request, contexts=ways.contexts(request, 2))
    found = run(store, request)
    assert found.report is not None and ways.advice(found.report).startswith("Tuning pays")


def test_similar_pairs_and_found_ones_stand_before_the_question() -> None:
    known = TrainingPairs(
        [("How is the radio charged?", "By its crank."), ("What colour is it?", "Red."), ("怎么充电？", "摇手柄。")]
    )
    asked: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How is it charged?"},
    ]
    few = known.before(asked, {"kind": "few_shot", "k": 1})
    assert [m["role"] for m in few] == ["system", "user", "assistant", "user"] and few[2]["content"] == "By its crank."
    noted = known.before(asked, {"kind": "retrieval", "k": 1})
    assert len(noted) == 2 and "A: By its crank." in noted[1]["content"]
    assert known.found("充电", 1) == [("怎么充电？", "摇手柄。")]
    assert known.found('"?', 1) == [] and known.before(asked[1:], {}) == asked[1:]


def test_reports_are_files_that_escape_what_models_say(
    store: Store, reviews: str, base: str, tuned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(
        monkeypatch,
        lambda model, messages, sampling: '=1+1 <script>alert("x")</script> | 3' if "tuned" in model else "1",
    )
    found = run(store, EvaluationRequest((tuned,), against=base, dataset=reviews))
    texts = {}
    for ending in (".md", ".html", ".csv", ".json"):
        texts[ending] = report_files.write(store, found.id, tmp_path / f"report{ending}").read_text("utf-8")
    assert "<script>alert" not in texts[".html"] and "&lt;script&gt;" in texts[".html"] and "<svg" in texts[".html"]
    assert "| Mean absolute error |" in texts[".md"] and "rows that got worse" in texts[".md"]
    lines = list(csv.DictReader(io.StringIO(texts[".csv"])))
    assert len(lines) == 80 and lines[0]["answer"].startswith("'=1+1")
    assert len(json.loads(texts[".json"])["row_scores"]) == 40
    with pytest.raises(Conflict, match="there already"):
        report_files.write(store, found.id, tmp_path / "report.md")
    with pytest.raises(BadInput, match="A report is"):
        report_files.write(store, found.id, tmp_path / "report.pdf")


def test_suites_are_judged(store: Store, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, lambda model, messages, sampling: "I do not know.")
    found = run(store, EvaluationRequest((base,), suites=("knowledge", "arithmetic")))
    assert metric(found, "passed", "knowledge")[base] == 0 and metric(found, "passed", "arithmetic")[base] == 0
