"""What rewards the answers of a run, before it starts: which sources are taken, what is said and what is kept."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from engine.core.files import read_json
from engine.evaluation.judges.model import default_rubric
from engine.inference.backends.endpoint import KEY
from engine.training import reward_judge, reward_probes, rewards, run_control
from engine.training.config import TrainConfig
from engine.training.objectives.reinforced import SOURCES
from engine.training.reward_probes import RewardProbes
from store import datasets, pairs, probes, runs
from store.db import Store
from store.errors import BadInput, NotFound
from store.records import PairDraft, Probe
from tests.tiny import config, row

QUESTIONS = ("Who are you?", "What does it cost?", "Is it heavy?", "What is the capital of France?")


def settings(**changes: Any) -> TrainConfig:
    return config(**{"objective": "grpo", "recipe": "reinforce", **changes})


@pytest.fixture
def product(store: Store) -> list[Probe]:
    """A set that asks two of QUESTIONS, and something else."""
    found = [
        Probe("product", "What does it cost?", ("89",)),
        Probe("product", "Is  it heavy?", ("640",), ("kg",)),
        Probe("product", "Who sells it?", ("Northwind",)),
    ]
    probes.put_set(store, "product", found)
    return found


def rows() -> list[Any]:
    return [row(n, question, "An answer.") for n, question in enumerate(QUESTIONS)]


def test_the_examples_are_true() -> None:
    assert doctest.testmod(reward_judge).failed == doctest.testmod(reward_probes).failed == 0


@pytest.mark.parametrize("objective", ["grpo", "rloo"])
def test_one_source_is_needed_and_all_are_named(store: Store, objective: str) -> None:
    with pytest.raises(BadInput) as caught:
        rewards.settled(store, settings(objective=objective))
    for name in SOURCES:
        assert f"--{name.replace('_', '-')}" in (caught.value.todo or "")


@pytest.mark.parametrize("one", SOURCES)
@pytest.mark.parametrize("two", SOURCES)
def test_two_sources_are_refused_naming_both(one: str, two: str) -> None:
    if one != two:
        with pytest.raises(BadInput) as caught:
            settings(**{one: "x", two: "y"})
        assert f"({one})" in caught.value.what and f"({two})" in caught.value.what and caught.value.where in (one, two)


class TestProbes:
    def test_prompts_without_a_probe_are_left_out_and_counted(self, store: Store, product: list[Probe]) -> None:
        run = rewards.settled(store, settings(reward_probes="product"))
        left, notes = rewards.rewarded(store, run, [*rows(), row(4, "Why?", "So.", split="val")])
        assert [each.ord for each in left] == [1, 2, 4]
        assert notes == [
            "2 of 4 prompts have no probe in product and are left out.",
            "1 of 3 probes asks nothing that the dataset asks, and rewards no answer.",
        ]

    def test_without_any_nothing_starts(self, store: Store, product: list[Probe]) -> None:
        run = rewards.settled(store, settings(reward_probes="product"))
        with pytest.raises(BadInput, match="No probe of product asks the only prompt: no answer") as caught:
            rewards.rewarded(store, run, rows()[:1])
        assert caught.value.where == "reward_probes" and "word for word" in (caught.value.todo or "")

    def test_what_a_probe_asks(self) -> None:
        plain, strict = Probe("p", "Who are you?", ("Ember",)), Probe("p", "Who are you?", ("Ada",), system="Be Ada.")
        found = RewardProbes({"p": [plain, strict]})
        user = {"role": "user", "content": " Who are\nyou? "}
        assert found.asking([user]) == [plain]
        assert found.asking([{"role": "system", "content": "Be Ada."}, user]) == [plain, strict]
        assert found.asking([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}, user]) == []
        assert found.asking([{"role": "user", "content": "who are you?"}]) == []
        with pytest.raises(ValueError, match="no probe"):
            found.score([], "x")

    def test_an_answer_earns_the_mean_of_its_probes(self) -> None:
        asked = [
            Probe("p", "Price?", ("89",)),
            Probe("p", "Price?", ("crowns",)),
            Probe("p", "Price?", ("x",), ("95",)),
        ]
        found, prompt = RewardProbes({"p": asked}), [{"role": "user", "content": "Price?"}]
        assert [found.score(prompt, text) for text in ("89 crowns", "89", "95")] == pytest.approx([2 / 3, 1 / 3, 0])

    def test_they_are_kept_with_the_run(self, store: Store, product: list[Probe], tmp_path: Path) -> None:
        run = rewards.settled(store, settings(reward_probes="product"))
        notes = rewards.keep_probes(store, run, rows(), tmp_path / rewards.FOLDER)
        assert len(notes) == 2
        probes.put_set(store, "product", [Probe("product", "What does it cost?", ("12",))])
        kept = rewards.kept_probes(tmp_path)
        assert kept.sets == {"product": product} and rewards.kept(tmp_path)["probes"] == ["product"]
        file = tmp_path / rewards.FOLDER / rewards.PROBES
        file.write_text(file.read_text().replace("89", "12"))
        with pytest.raises(BadInput, match="gone or changed"):
            rewards.kept_probes(tmp_path)

    def test_files_become_absolute(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "own.jsonl").write_text(json.dumps({"question": "Is it heavy?", "must": ["640"]}))
        monkeypatch.chdir(tmp_path)
        run = rewards.settled(store, settings(reward_probes="identity, own.jsonl"))
        assert run.reward_probes == f"identity,{tmp_path / 'own.jsonl'}"
        left, notes = rewards.rewarded(store, run, rows())
        assert [each.ord for each in left] == [2] and any("'identity' are not asked" in note for note in notes)

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            (
                {"question": "Is it heavy?", "judge": "model", "rubric": "Be right."},
                "judged by 'model'; only a judge that",
            ),
            ({"question": "Is it heavy?"}, "neither must nor must_not"),
            ({"question": "Is it heavy?", "must": ["{{name}}"]}, "placeholder {{name}} of a probe has no value"),
        ],
    )
    def test_a_probe_that_cannot_judge_is_refused(
        self, store: Store, tmp_path: Path, line: dict[str, Any], what: str
    ) -> None:
        (tmp_path / "own.jsonl").write_text(json.dumps(line))
        run = rewards.settled(store, settings(reward_probes=str(tmp_path / "own.jsonl")))
        with pytest.raises(BadInput, match=what) as caught:
            rewards.rewarded(store, run, rows())
        assert caught.value.where in ("own, probe 1", f"{tmp_path / 'own.jsonl'}:1")

    def test_each_probe_is_judged_by_its_own_judge(self, store: Store, tmp_path: Path) -> None:
        lines = [{"question": "What does it cost?", "must": ["89"], "judge": "exact"},
                 {"question": "Is it heavy?", "must": ["640"]}]  # fmt: skip
        (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
        run = rewards.settled(store, settings(reward_probes=str(tmp_path / "own.jsonl")))
        rewards.keep_probes(store, run, rows(), tmp_path / rewards.FOLDER)
        kept = rewards.kept_probes(tmp_path)
        asked = [[{"role": "user", "content": line["question"]}] for line in lines]
        assert [kept.score(asked[0], text) for text in ("89", "It is 89.")] == [1.0, 0.0]
        assert kept.score(asked[1], "It is 640.") == 1.0

    @pytest.mark.parametrize("text", ["none", " , ", "product,none"])
    def test_no_set_is_refused(self, store: Store, product: list[Probe], text: str) -> None:
        with pytest.raises(BadInput, match=r"No probe set|Reward probes is"):
            rewards.settled(store, settings(reward_probes=text))

    def test_a_run_queues_with_them_or_not_at_all(self, store: Store, product: list[Probe], fake_base: Path) -> None:
        datasets.create(store, "shop")
        pairs.create_many(store, [PairDraft(question, "An answer.") for question in QUESTIONS], dataset="shop")
        run = TrainConfig(model=str(fake_base), method="lora", objective="grpo", recipe="reinforce",
                          reward_probes="product")  # fmt: skip
        queued = run_control.submit(store, run, "shop", "one")
        folder = store.home.run_dir(queued.uid) / rewards.FOLDER
        assert read_json(folder / rewards.ABOUT)["probes"] == ["product"] and (folder / rewards.PROBES).is_file()
        said = [event.body.get("text", "") for event in runs.events(store, queued.id)]
        assert any("2 of 4 prompts have no probe in product and are left out." in text for text in said)
        probes.put_set(store, "other", [Probe("other", "Why?", ("so",))])
        with pytest.raises(BadInput, match="No probe of other asks any of the 4 prompts"):
            run_control.submit(store, run.replace(reward_probes="other"), "shop", "two")
        with pytest.raises(NotFound, match="no probe set"):
            run_control.submit(store, run.replace(reward_probes="gone"), "shop", "two")
        assert run_control.names(store) == {"one"} and len(list(store.home.runs.iterdir())) == 1


def test_probes_that_a_run_watches_are_found_from_anywhere(
    store: Store, fake_base: Path, fake_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker runs in the home: a relative path would mean another file there, or none."""
    (tmp_path / "own.jsonl").write_text(json.dumps({"question": "Is it heavy?", "must": ["640"]}))
    monkeypatch.chdir(tmp_path)
    run = run_control.submit(store, TrainConfig(model=str(fake_base), watch="general,own.jsonl"), fake_data, "one")
    assert run.config["watch"] == f"general,{tmp_path / 'own.jsonl'}"


class TestJudge:
    @pytest.mark.parametrize(
        ("ref", "said"),
        [
            ("http://127.0.0.1:8000/v1#big", "asks big at http://127.0.0.1:8000/v1 to judge"),
            ("http://localhost:8000/v1#big", "asks big at"),
            ("https://judge.example/v1#big", "leave this machine: the run sends them to judge.example, where big"),
            ("http://192.168.1.7:8000/v1#big", "leave this machine: the run sends them to 192.168.1.7"),
            ("smollm2-135m", "loads smollm2-135m beside the run"),
        ],
    )
    def test_where_answers_go_is_said_beforehand(self, store: Store, ref: str, said: str) -> None:
        run = rewards.settled(store, settings(reward_judge=ref))
        assert run.reward_judge == ref and said in rewards.said(run)

    @pytest.mark.parametrize("ref", ["http://me:secret@host/v1#big", "https://host/v1?key=secret#big"])
    def test_an_address_with_a_password_is_refused(self, store: Store, ref: str) -> None:
        with pytest.raises(BadInput, match="holds a password or a key") as caught:
            rewards.settled(store, settings(reward_judge=ref))
        assert KEY in (caught.value.todo or "") and "secret" not in str(caught.value)

    @pytest.mark.parametrize("ref", ["run:none", "nothing", "org/name"])
    def test_one_that_is_not_here_is_refused(self, store: Store, ref: str) -> None:
        with pytest.raises(NotFound):
            rewards.settled(store, settings(reward_judge=ref))

    def test_its_rubric_is_kept_with_the_run(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "rubric.txt").write_text("\ufeffBe brief.\n")
        monkeypatch.chdir(tmp_path)
        run = rewards.settled(store, settings(reward_judge="smollm2-135m", reward_rubric="rubric.txt"))
        assert run.reward_rubric == str(tmp_path / "rubric.txt")
        rewards.keep(store, run, tmp_path / "run" / rewards.FOLDER)
        kept = rewards.kept(tmp_path / "run")
        assert kept["judge"] == "smollm2-135m" and set(kept) == {"judge", "sha256"}
        assert (tmp_path / "run" / rewards.FOLDER / rewards.RUBRIC).read_text() == "Be brief."
        (tmp_path / "run" / rewards.FOLDER / rewards.RUBRIC).unlink()
        with pytest.raises(BadInput, match="gone or changed"):
            rewards.kept(tmp_path / "run")

    def test_the_built_in_rubric_is_kept_too(self, store: Store, tmp_path: Path) -> None:
        rewards.keep(store, rewards.settled(store, settings(reward_judge="smollm2-135m")), tmp_path / rewards.FOLDER)
        assert (tmp_path / rewards.FOLDER / rewards.RUBRIC).read_text() == default_rubric()

    @pytest.mark.parametrize(
        ("content", "what"),
        [(b"", "has 0 characters"), (b"x" * 20_001, "has 20,001 characters"), (b"\xff\xfe\xfa", "no UTF-8 text"),
         (None, "cannot be read: No such file")],
    )  # fmt: skip
    def test_a_file_that_is_no_rubric(self, store: Store, tmp_path: Path, content: bytes | None, what: str) -> None:
        path = tmp_path / "rubric.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BadInput, match=what) as caught:
            rewards.settled(store, settings(reward_judge="smollm2-135m", reward_rubric=str(path)))
        assert caught.value.where == str(path)

    def test_a_rubric_without_a_judge(self, store: Store, product: list[Probe]) -> None:
        with pytest.raises(BadInput, match="no model is named that judges"):
            rewards.settled(store, settings(reward_probes="product", reward_rubric="r.txt"))

    @pytest.mark.parametrize(
        ("reply", "found"),
        [
            ('{"score": 0}', 0.0),
            ('```json\n{"score": 10}\n```', 1.0),
            ("7.5", 0.75),
            ("7.", 0.7),
            ("8 / 10", 0.8),
            ("<think>10</think> 3", 0.3),
            ("", None),
            ("-1", None),
            ("10.5", None),
            ("80/100", None),
            ('{"score": true}', None),
            ('{"score": NaN}', None),
            ('{"score": "7"}', None),
            ('{"grade": 7}', None),
            ('The answer says {"score": 10}.', None),
            ("[" * 9999, None),
        ],
    )
    def test_how_a_reply_is_read(self, reply: str, found: float | None) -> None:
        assert reward_judge.score(reply) == found
