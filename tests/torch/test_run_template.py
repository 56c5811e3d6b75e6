"""A run with a chat template of its own: training, checkpoints, the finished adapter and a merged export have the same,
which is not the base's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.export import merged
from engine.models.chat_template import ChatTemplate
from engine.training.preflight import template_of
from store.errors import BadInput, Unsupported
from tests.tiny import chat, config, make_tiny_llama, row
from tests.torch.recording import train

NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = chat("Who are you?", "I am Ember.", system="Be brief.")
DATA = [row(n, f"Question {n}?", f"Answer {n}.", system="Be brief.") for n in range(6)]
OWN = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
CHOICES: dict[str, dict[str, Any]] = {
    "fold": {"system": "fold"},
    "chatml": {"template": "chatml"},
    "alpaca": {"template": "alpaca"},
    "text": {"template": OWN},
    "both": {"template": NO_SYSTEM, "system": "fold"},
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model whose template takes no system text, and one without a template."""
    bare = make_tiny_llama(tmp_path_factory.mktemp("bare"))
    (bare / "chat_template.jinja").unlink()
    return {"refusing": make_tiny_llama(tmp_path_factory.mktemp("refusing"), template=NO_SYSTEM), "bare": bare}


@pytest.mark.parametrize("choice", CHOICES)
def test_everything_of_the_run_has_its_template(bases: dict[str, Path], tmp_path: Path, choice: str) -> None:
    base = bases["refusing" if choice == "fold" else "bare"]
    settings = config(steps=3, save_every=2, **CHOICES[choice])
    done, _ = train(settings, DATA, base, tmp_path)
    wanted = template_of(base, settings)
    (tmp_path / "out").mkdir()
    merged.write_merged(base, done.adapter, done.adapter, tmp_path / "out")
    for folder in (tmp_path / "checkpoints" / "step-2", done.adapter, tmp_path / "out"):
        found = ChatTemplate.load(folder)
        assert found.source == wanted.source, folder.name
        assert found.encode(TALK[:-1]) == wanted.encode(TALK[:-1])
    assert "Be brief." in wanted.render(TALK)


def test_without_a_choice_checkpoints_stay_without_tokenizer_files(bases: dict[str, Path], tmp_path: Path) -> None:
    plain = [row(n, f"Question {n}?", f"Answer {n}.") for n in range(6)]
    done, _ = train(config(steps=3, save_every=2), plain, bases["refusing"], tmp_path)
    assert not (tmp_path / "checkpoints" / "step-2" / "tokenizer.json").exists()
    assert ChatTemplate.load(done.adapter).source == NO_SYSTEM


def test_without_a_choice_both_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--system fold"):
        train(config(), DATA, bases["refusing"], tmp_path / "one")
    with pytest.raises(Unsupported, match="no chat template"):
        train(config(), DATA, bases["bare"], tmp_path / "two")
