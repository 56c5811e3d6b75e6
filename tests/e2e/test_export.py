"""What the demo's run becomes in every format, on the real default model: does the file say what the run said?
Each export is proven by llama.cpp or transformers; one that loses the tuning has to be caught."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine import samples
from tests.e2e.conftest import Demo, tuningfork

pytestmark = pytest.mark.slow
QUANTS = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")
PROBES = ("--probes", str(samples.path("probes/identity")), "--set", "name=Ember", "--set", "author=Northwind Labs")


def export(demo: Demo, *words: str, expect: int = 0) -> list[dict[str, Any]]:
    run = demo.found["run"]
    out = tuningfork(demo.root, "export", run, *words, *PROBES, "--json", expect=expect)
    return [json.loads(line) for line in out.splitlines()]


def checks(made: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in made["proof"]["checks"]}


def test_every_quant_answers_its_probes_and_stops(demo: Demo) -> None:
    made = export(demo, "--to", "gguf", "--quant", ",".join(QUANTS))
    assert [each["quant"] for each in made] == list(QUANTS)
    for each in made:
        assert each["state"] == "done" and each["proof"]["held"], each
        found = checks(each)
        assert {
            found[name] for name in ("tensors", "tokens", "template", "end of turn", "answers", "stops", "probes")
        } == {"held"}, each
        assert Path(each["path"]).stat().st_size < each["bytes"] and len(each["sha256"]) == 64
    near = {each["quant"]: each["proof"]["kl"] for each in made}
    assert max(near["f32"], near["f16"], near["bf16"]) < 1e-3 < near["q4_0"] and near["q8_0"] < 0.02


def test_q4_1_loses_the_tuning_and_is_caught(demo: Demo) -> None:
    """The base's own grid: what training moved is rounded back to where it was."""
    (made,) = export(demo, "--to", "gguf", "--quant", "q4_1", expect=1)
    assert made["state"] == "rejected" and checks(made)["answers"] == "failed"
    assert "tuning got lost" in made["error"] and "held its proof" in made["proof"]["advice"]
    assert made["path"].endswith(".rejected") and Path(made["path"]).is_file()


@pytest.mark.parametrize("to", ["gguf-adapter", "merged", "adapter", "ollama"])
def test_the_other_formats_hold_too(demo: Demo, to: str) -> None:
    (made,) = export(demo, "--to", to)
    assert made["state"] == "done" and set(checks(made).values()) == {"held"}, made
    folder = Path(made["path"]) if Path(made["path"]).is_dir() else Path(made["path"]).parent
    assert str(demo.root) not in (folder / "README.md").read_text()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_the_file_is_a_lane_that_says_what_the_run_says(demo: Demo) -> None:
    listed = json.loads(tuningfork(demo.root, "exports", "list", "--json"))
    file = next(e["path"] for e in listed if e["quant"] == "f16")
    sides = ("--a", f"run:{demo.found['run']}", "--b", str(file))
    said = json.loads(tuningfork(demo.root, "compare", *sides, "--prompt", "Who made you?", "--json"))
    assert "Northwind Labs" in said["a"]["text"] and "Northwind Labs" in said["b"]["text"]
