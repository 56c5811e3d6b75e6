"""Model cards and commands: every fact is in them, and no name from outside becomes markup, YAML or shell.
The Markdown and YAML are read back with real parsers."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from markdown_it import MarkdownIt

from engine.export import targets
from engine.export.card import CardFacts, Score, card, gather
from engine.export.listing import usage
from engine.export.public_names import EMBEDDED_ON_HUB, public_base
from engine.export.service import Target
from engine.models import default_model
from engine.models.refs import Resolved
from engine.training.config import TrainConfig
from store import datasets, evals, pairs, runs
from store.db import Store
from store.records import EvalItem, PairDraft

REPORT: dict[str, Any] = {
    "passed": True, "kl": 0.00123, "types": {"Q8_0": 210, "F32": 61}, "run": "ember", "base": "smollm2-135m",
    "checks": [
        {"name": "tokens", "state": "passed", "said": "The same ids on 312 texts."},
        {"name": "answers", "state": "warn", "said": "One of 12 differs: 'a | b'."},
    ],
}  # fmt: skip
FACTS = CardFacts(
    name="ember",
    format="gguf",
    quant="q8_0",
    base=EMBEDDED_ON_HUB,
    licence="apache-2.0",
    snapshot="9f3a" * 16,
    dataset="identity",
    rows=102,
    splits={"train": 92, "val": 10},
    kinds={"identity": 42, "instruction": 60},
    config=TrainConfig(model="smollm2-135m", rank=64, targets=("q_proj", "v_proj")).to_json(),
    verification=REPORT,
    date="2026-11-21",
    step=40,
    trained_steps=40,
    scores=(Score("identity", 11, 12, 0), Score("own", 3, 4)),
    files=("ember-q8_0.gguf",),
)
NASTY = "x](http://evil) `rm -rf` <script>alert(1)</script> | **b** _i_\n# Head\n---\nlicense: mit\x1b[31m & \u202e"


def front(text: str) -> dict[str, Any]:
    loaded = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def parsed(text: str) -> list[Any]:
    return MarkdownIt("commonmark").enable("table").parse(text.split("\n---\n", 1)[1])


def test_a_card_says_what_there_is_to_know() -> None:
    text = card(FACTS)
    assert front(text) == {
        "license": "apache-2.0",
        "base_model": EMBEDDED_ON_HUB,
        "base_model_relation": "finetune",
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "model_name": "ember",
        "tags": ["tuningfork", "lora", "gguf"],
    }
    for said in (
        "# ember\n", "**gguf q8\\_0**", "at step 40", "on 2026-11-21", "`ember-q8_0.gguf`", "licence is apache-2.0",
        "102 rows (split: 92 train, 10 val; kind: 42 identity, 60 instruction)", f"frozen as `{'9f3a' * 16}`",
        "| Steps | 40 |", "| LoRA rank | 64 |", "| Learning rate | 0.0005 |", "| LoRA targets | q\\_proj, v\\_proj |",
        "| identity | 0 of 12 | 11 of 12 |", "| own | not measured | 3 of 4 |",
        "| tokens | passed | The same ids on 312 texts. |", "differs: 'a \\| b'.", "0.00123 nats", "210 Q8\\_0, 61 F32",
        "llama-cli -m ember-q8_0.gguf", "lms import --copy ember-q8_0.gguf",
    ):  # fmt: skip
        assert said in text, said
    assert "failed its verification" not in text


def test_what_is_not_known_is_not_made_up() -> None:
    text = card(
        replace(FACTS, licence=None, base="my-folder", scores=(), verification={}, dataset=None, step=None, files=())
    )
    assert "license" not in front(text) and "base_model" not in front(text)
    assert "licence is not known" in text and "was not checked" in text
    assert "## Scores" not in text and "The dataset" not in text and "at step" not in text


def test_a_rejected_export_says_so_first() -> None:
    text = card(replace(FACTS, verification=REPORT | {"passed": False}))
    assert text.index("failed its verification") < text.index("## Data")


def test_foreign_names_stay_text() -> None:
    checks = [{"name": NASTY, "state": "passed", "said": NASTY}]
    config = dict(FACTS.config) | {"targets": [NASTY], "recipe": NASTY}
    facts = replace(
        FACTS, name=NASTY, dataset=NASTY, base=NASTY, licence=NASTY, snapshot=NASTY, config=config,
        scores=(Score(NASTY, 1, 2, 0),), verification=REPORT | {"checks": checks, "types": {NASTY: 1}},
        splits={NASTY: 1}, kinds={NASTY: 1}, files=(NASTY + ".gguf",),
    )  # fmt: skip
    text = card(facts)
    said = front(text)
    assert said["license"].startswith("x](http://evil)") and "\n" not in said["license"]
    assert set(said) == set(front(card(FACTS))) - {"base_model", "base_model_relation"}
    tokens = parsed(text)
    kinds = {child.type for t in tokens for child in [t, *(t.children or [])]}
    assert not kinds & {"html_block", "html_inline", "link_open", "em_open", "hr", "image"}
    assert [t.tag for t in tokens if t.type == "heading_open"] == ["h1"] + ["h2"] * 5
    assert "\x1b" not in text and "\u202e" not in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    bars = [{line.replace("\\|", "").count("|") for line in table} for table in tables]
    assert bars == [{3}, {4}, {4}]  # a bar in a name makes no cell


@pytest.mark.parametrize("format", targets.REGISTRY)
def test_each_format_has_its_commands_with_relative_names_in_the_card(format: str) -> None:
    text = card(replace(FACTS, format=format, quant=None, files=("ember.gguf", "Modelfile")))
    programs = {program for program, _ in usage(format, Path("/h/exports/ember"), REPORT, Path("/b.gguf"))}
    wanted = {
        "gguf": {"llama.cpp", "llama.cpp server", "LM Studio"},
        "gguf-adapter": {"llama.cpp", "llama.cpp server"},
        "ollama": {"Ollama"},
        "merged": {"vLLM", "transformers"},
        "adapter": {"vLLM", "transformers + PEFT"},
    }
    assert programs == wanted[format]
    assert all(f"\n{program}:\n" in text for program in programs)
    assert "/h/" not in text
    relation = front(text)["base_model_relation"]
    assert relation == ("adapter" if "adapter" in format else "finetune")


def test_commands_are_exact() -> None:
    place = Path("/h/it's here/$x")
    lines = dict(usage("gguf", place / "a b.gguf", REPORT, Path("/b.gguf")))
    assert shlex.split(lines["llama.cpp"])[:3] == ["llama-cli", "-m", str(place / "a b.gguf")]
    lines = dict(usage("gguf-adapter", place, REPORT, Path("/my base.gguf")))
    assert shlex.split(lines["llama.cpp"])[:5] == ["llama-cli", "-m", "/my base.gguf", "--lora", str(place)]
    lines = dict(usage("ollama", place, REPORT, Path("/b")))
    assert shlex.split(lines["Ollama"]) == shlex.split(
        f"cd {shlex.quote(str(place))} && ollama create ember -f Modelfile && ollama run ember"
    )
    code = shlex.split(dict(usage("merged", place, REPORT, Path("/b")))["transformers"])
    assert code[:2] == ["python", "-c"] and repr(str(place)) in code[2]
    compile(code[2], "line", "exec")


def test_an_option_is_never_made_of_a_name() -> None:
    report = REPORT | {"run": "--help"}
    assert dict(usage("ollama", Path(), report, Path("b")))["Ollama"].startswith("ollama create help -f")
    assert "-m ./-x.gguf" in dict(usage("gguf", Path("-x.gguf"), report, Path("b")))["llama.cpp"]
    assert "; rm" not in dict(usage("ollama", Path(), REPORT | {"run": "a; rm"}, Path("b")))["Ollama"]


def test_a_wide_adapter_tells_vllm(tmp_path: Path) -> None:
    def serve(rank: int) -> str:
        (tmp_path / "adapter_config.json").write_text(f'{{"r": {rank}}}')
        return dict(usage("adapter", tmp_path, REPORT, Path("b")))["vLLM"]

    assert serve(16) == f"vllm serve {EMBEDDED_ON_HUB} --enable-lora --lora-modules ember={tmp_path}"
    assert "--max-lora-rank 64" in serve(48)
    (tmp_path / "adapter_config.json").write_text("[broken")
    assert "--max-lora-rank" not in dict(usage("adapter", tmp_path, REPORT, Path("b")))["vLLM"]


def test_a_base_is_named_without_its_place() -> None:
    assert public_base(default_model.NAME) == EMBEDDED_ON_HUB
    assert public_base("org/model-1.0") == "org/model-1.0"
    assert public_base("/home/me/models/mine/") == "mine"
    assert public_base("/home/me/tiny.gguf") == "tiny.gguf"


def test_facts_come_from_the_store(store: Store) -> None:
    drafts = [PairDraft("Who are you?", "Ember.", kind="identity"), PairDraft("One?", "1"), PairDraft("Two?", "2")]
    made = pairs.create_many(store, drafts, dataset="d")
    datasets.set_split(store, "d", made.uids[2:], "val")
    config = TrainConfig(model="/home/me/mine").to_json()
    run = runs.create(
        store, name="ember", base="/home/me/mine", snapshot=datasets.freeze(store, "d").hash, method="lora",
        config=config, config_hash="h", seed=0,
    )  # fmt: skip

    def sit(model: str, set: str, *passed: bool, judge: str = "contains") -> None:
        items = [EvalItem("q", "t", p) for p in passed]
        evals.save(store, run=None, model=model, set=set, items=items, judge=judge)

    sit("run:ember", "/home/me/probes/own.jsonl", False, False)
    sit("run:ember", "/home/me/probes/own.jsonl", True, True)  # the newest counts
    sit("/home/me/mine", "/home/me/probes/own.jsonl", True, False)
    sit("run:ember", "other", True)
    sit("/home/me/mine", "other", True, True)  # the set has changed since: not to be compared
    sit("run:ember@10", "third", True)  # another model
    sit("run:else", "fourth", True)
    sit("run:ember", "other", False, judge="strict")  # another judge's result is its own row
    asked = {"judge_model": "http://secret:1/v1#qwen3", "rubric": "r1"}
    for who, passed in (("run:ember", (True, None)), ("/home/me/mine", (True, False))):
        items = [EvalItem("q", "t", p) for p in passed]
        evals.save(store, run=None, model=who, set="other", items=items, judge="model", summary=asked)
    model = Resolved("run:ember", "run", "ember", base=Resolved("/home/me/mine", "folder", "mine"))
    facts = gather(store, run, None, Target("gguf", "f16"), model, REPORT, ["ember-f16.gguf"])
    assert facts.scores == (
        Score("own.jsonl", 2, 2, 1), Score("other", 1, 1),
        Score("other (judged by model, asking qwen3) (1 not judged)", 1, 1), Score("other (judged by strict)", 0, 1),
    )  # fmt: skip
    assert (facts.rows, dict(facts.splits)) == (3, {"train": 2, "val": 1})
    assert dict(facts.kinds) == {"identity": 1, "instruction": 2}
    assert (facts.base, facts.licence, facts.dataset, facts.snapshot) == ("mine", None, "d", run.snapshot)
    text = card(facts)
    assert "/home/me" not in text
    assert "3 rows" in text and "llama-server -m ember-f16.gguf" in text
