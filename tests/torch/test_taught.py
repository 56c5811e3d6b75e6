"""Which rows taught an answer, on the tiny model: gradients by the definition, and the process that compares them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine.core import child, process
from engine.models.chat_template import ChatTemplate
from engine.training.worker import adapter_files, loading, taught
from store.errors import TuningforkError
from store.records import Message, SnapshotRow
from tests.tiny import config, make_tiny_llama
from tests.torch.recording import train

FACTS = [
    ("Who are you?", "I am Ember."),
    ("What is your name?", "My name is Ember."),
    ("The capital of France?", "Paris is the capital."),
    ("Two and two?", "Two and two are four."),
]


def messages(question: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


ROWS = [SnapshotRow(n, "train", "instruction", messages(*fact), str(n)) for n, fact in enumerate(FACTS)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(steps=6), ROWS, base, tmp_path_factory.mktemp("run"))[0].adapter


def test_scores_are_cosines_of_gradients(base: Path, adapter: Path) -> None:
    template = ChatTemplate.load(base)
    model = loading.load(config(), base, "cpu").model
    adapter_files.read(model, adapter)
    examples = [template.example(row.messages, 256) for row in ROWS]
    found = taught.similarities(model, examples[:2], list(enumerate(examples)))
    weights = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    model.eval()
    for row in examples:
        logits = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(row.labels[1:]), ignore_index=-100)
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    for answer in range(2):
        for row in range(4):
            expected = torch.nn.functional.cosine_similarity(gradients[answer], gradients[row], dim=0).item()
            assert found[answer][row] == pytest.approx(expected, abs=1e-3)
        assert max(found[answer], key=lambda ord: found[answer][ord]) == answer, "its own row taught it most"


@pytest.mark.parametrize("fact", [0, 2, 3])
def test_the_process_ranks_the_row_itself_first(base: Path, adapter: Path, tmp_path: Path, fact: int) -> None:
    request = {
        "folder": str(base),
        "adapter": str(adapter),
        "config": config().to_json(),
        "rows": [[row.ord, row.messages] for row in ROWS],
        "answers": [ROWS[fact].messages],
    }
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    sent = list(child.Child(process.command("taught", str(file)), "Comparing", env=process.environment()).messages())
    (scores,) = sent[-1]["scores"]
    assert set(scores) == {"0", "1", "2", "3"} and max(scores, key=scores.get) == str(fact)
    assert scores[str(fact)] == pytest.approx(1.0, abs=1e-3)


def test_what_is_wrong_is_said(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    request = {"folder": str(base), "adapter": str(tmp_path / "gone"), "config": config().to_json()}
    file.write_text(json.dumps({**request, "rows": [], "answers": []}))
    with pytest.raises(TuningforkError):
        list(child.Child(process.command("taught", str(file)), "Comparing", env=process.environment()).messages())
