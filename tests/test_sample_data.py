"""The sample data is what its README says: shapes, counts, nothing twice, and no training row gives a probe away.
Reads files only; whether a model learns from them is the slow tests' affair."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import sample_data
from engine.evaluation.judges.contains import judgement
from store.records import Probe

ROOT = Path(sample_data.__file__).parent
PLACEHOLDERS = {"name", "author"}


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / name).read_text("utf-8").splitlines()]


IDENTITY: list[dict[str, str]] = json.loads((ROOT / "identity.json").read_text("utf-8"))
GENERAL = lines("general.jsonl")
REQUESTS = lines("requests.jsonl")
PRODUCT = lines("product.jsonl")
PREFERENCES = lines("preferences.jsonl")
PROBES = {name: lines(f"probes/{name}.jsonl") for name in ("identity", "product", "retention")}

WATCH = {name: lines(f"watch/{name}.jsonl") for name in ("identity", "identity-zh", "general", "leaks", "prompts")}

QUESTIONS = {
    "identity": [row["instruction"] for row in IDENTITY],
    "general": [row["messages"][0]["content"] for row in GENERAL],
    "requests": [row["messages"][0]["content"] for row in REQUESTS],
    "product": [row["instruction"] for row in PRODUCT],
}
ANSWERS = {
    "identity": [row["output"] for row in IDENTITY],
    "general": [row["messages"][1]["content"] for row in GENERAL],
    "requests": [row["messages"][1]["content"] for row in REQUESTS],
    "product": [row["output"] for row in PRODUCT],
}


def plain(text: str) -> str:
    """A wording without case, punctuation or spelling of contractions: what makes two questions the same one."""
    return " ".join(re.findall(r"[\w{}]+", text.casefold().replace("'s", " is").replace("'re", " are")))


def passes(probe: dict[str, Any], text: str) -> bool:
    return judgement(Probe("sample", probe["question"], tuple(probe["must"]), tuple(probe["must_not"])), text).passed


def test_counts() -> None:
    assert len(IDENTITY) >= 40 and len(GENERAL) >= 40 and len(PRODUCT) >= 60 and len(PREFERENCES) >= 30
    assert {name: len(rows) for name, rows in PROBES.items()} == {"identity": 20, "product": 21, "retention": 20}


def test_the_readme_counts_right() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    told = {name: int(n) for name, n in re.findall(r"^\| `([^`]+)` \| (\d+) \|", text, re.MULTILINE)}
    files = {"identity.json": IDENTITY, "general.jsonl": GENERAL, "requests.jsonl": REQUESTS, "product.jsonl": PRODUCT}
    files |= {f"watch/{name}.jsonl": rows for name, rows in WATCH.items()}
    files |= {f"suites/{path.name}": lines(f"suites/{path.name}") for path in (ROOT / "suites").iterdir()}
    files |= {"reviews.jsonl": lines("reviews.jsonl")}
    files |= {"preferences.jsonl": PREFERENCES} | {f"probes/{name}.jsonl": rows for name, rows in PROBES.items()}
    assert told == {name: len(rows) for name, rows in files.items()}


def test_shapes() -> None:
    assert all(set(row) == {"instruction", "input", "output"} for row in [*IDENTITY, *PRODUCT])
    for row in [*GENERAL, *REQUESTS]:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert all(set(row) == {"prompt", "chosen", "rejected"} for row in PREFERENCES)
    assert all(row["chosen"] != row["rejected"] for row in PREFERENCES)
    for probe in [probe for rows in PROBES.values() for probe in rows]:
        assert set(probe) == {"question", "must", "must_not"} and probe["must"]
        assert all(isinstance(text, str) and text.strip() for text in [*probe["must"], *probe["must_not"]])


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_text_is_empty_or_padded_or_long(name: str) -> None:
    for text in [*QUESTIONS[name], *ANSWERS[name]]:
        assert text and text == text.strip()
    assert max(map(len, ANSWERS[name])) <= 160, "rehearsal and identity answers are short"


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_comes_twice(name: str) -> None:
    asked = [plain(question) for question in QUESTIONS[name]]
    assert len(set(asked)) == len(asked)


def test_no_question_is_in_two_sets() -> None:
    sets = [{plain(question) for question in questions} for questions in QUESTIONS.values()]
    sets.append({plain(row["prompt"]) for row in PREFERENCES})
    assert not [a & b for a, b in combinations(sets, 2) if a & b]


def test_only_the_identity_data_has_placeholders() -> None:
    for row in IDENTITY:
        assert set(re.findall(r"\{\{(\w+)\}\}", row["instruction"] + row["output"])) <= PLACEHOLDERS
        assert "{{" in row["output"] and "input" in row
    others = [text for name in ("general", "requests") for text in (*QUESTIONS[name], *ANSWERS[name])]
    others += [*QUESTIONS["product"], *ANSWERS["product"]]
    others += [json.dumps(row) for row in [*PREFERENCES, *PROBES["product"], *PROBES["retention"]]]
    assert not [text for text in others if "{{" in text]
    assert all("{{" in text for probe in PROBES["identity"] for text in probe["must"])


def test_no_probe_is_a_training_question() -> None:
    trained = {plain(question) for questions in QUESTIONS.values() for question in questions}
    trained |= {plain(row["prompt"]) for row in PREFERENCES}
    probes = [plain(probe["question"]) for rows in PROBES.values() for probe in rows]
    assert len(set(probes)) == len(probes)
    assert not trained & set(probes)


def test_what_a_run_asks_itself_is_asked_nowhere_else() -> None:
    """Neither trained nor scored: a run stops by the watched probes, and rehearses the prompts."""
    others = {plain(question) for questions in QUESTIONS.values() for question in questions}
    others |= {plain(probe["question"]) for rows in PROBES.values() for probe in rows}
    held_out = ROOT.parent / "benchmarks" / "heldout"
    for path in sorted(held_out.glob("*.jsonl")):
        others |= {plain(json.loads(line)["question"]) for line in path.read_text("utf-8").splitlines()}
    watched = [plain(row.get("question") or row["prompt"]) for rows in WATCH.values() for row in rows]
    assert len(set(watched)) == len(watched) and not others & set(watched)
    assert {row["use"] for row in WATCH["prompts"]} == {"rehearsal", "contrast", "drift"}


def test_rehearsal_does_not_teach_what_retention_asks() -> None:
    """Retention must show what was kept, so no general row may hold a probe's fact, figures aside."""
    words = {m.casefold() for probe in PROBES["retention"] for m in probe["must"] if m.isalpha() and len(m) > 3}
    words -= {"four", "five", "seven", "eight", "zero"}
    for row in WATCH["prompts"]:
        assert not words & set(re.findall(r"[a-z]+", row["prompt"].casefold())), row
    general = [*zip(QUESTIONS["general"], ANSWERS["general"], strict=True)]
    general += zip(QUESTIONS["requests"], ANSWERS["requests"], strict=True)
    for question, answer in general:
        assert not words & set(re.findall(r"[a-z]+", f"{question} {answer}".casefold())), question


def test_no_training_question_is_one_of_a_suite() -> None:
    suites = {plain(row["question"]) for path in (ROOT / "suites").iterdir() for row in lines(f"suites/{path.name}")}
    assert len(suites) > 200
    assert not [question for each in QUESTIONS.values() for question in each if plain(question) in suites]


def test_every_product_probe_is_answered_by_a_row_and_only_there() -> None:
    taught = " ".join(ANSWERS["product"])
    elsewhere = " ".join([*ANSWERS["general"], *ANSWERS["identity"]])
    for probe in PROBES["product"]:
        assert any(m.casefold() in taught.casefold() for m in probe["must"]), probe["question"]
        assert "quillback" not in elsewhere.casefold()


def test_identity_probes_tell_a_good_answer_from_a_bad_one() -> None:
    for probe in PROBES["identity"]:
        assert passes(probe, "I am {{name}}, an AI assistant made by {{author}}.")
        assert not passes(probe, "I am SmolLM, trained by Hugging Face.")
    assert not passes(PROBES["identity"][16], "Yes, I am {{name}}.")


def test_freezing_point_is_not_the_boiling_point() -> None:
    probe = PROBES["retention"][13]
    assert passes(probe, "0°C") and passes(probe, "At 0 degrees Celsius.")
    assert not passes(probe, "Water freezes at -18.0°C.") and not passes(probe, "At 100°C, or 100 degrees.")


def test_suites_are_large_enough_and_repeat_no_training_question() -> None:
    from engine.evaluation import suites

    taught = {plain(question) for name in ("general", "product") for question in QUESTIONS[name]}
    asked = [row.question for name in suites.NAMES for row in suites.rows(name)]
    assert all(len(suites.rows(name)) >= 40 for name in suites.NAMES)
    assert len(set(map(plain, asked))) == len(asked)
    assert not taught & set(map(plain, asked))


def test_every_check_of_a_suite_can_fail() -> None:
    from engine.evaluation import suites

    for name in suites.NAMES:
        for row in suites.rows(name):
            wrong = "I can't help with that, as an AI" if not row.expect["must"] and row.expect["must_not"] else "Hm"
            said = suites.passed(row, wrong)
            assert said is not None and not said.passed, row.question


def test_reviews_are_balanced() -> None:
    rows = lines("reviews.jsonl")
    assert [sum(row["output"] == str(n) for row in rows) for n in range(1, 6)] == [20] * 5
    assert len({row["instruction"] for row in rows}) == 100
