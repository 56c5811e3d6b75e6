"""Preflight: what will be trained, what is cut, and what forbids a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.models.chat_template import ChatTemplate
from engine.training.preflight import check
from store.errors import BadInput
from tests.chat_templates import FAMILIES
from tests.tiny import config, make_tokenizer, row, rows


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ChatTemplate:
    folder = tmp_path_factory.mktemp("tiny")
    make_tokenizer(folder)
    return ChatTemplate.load(folder)


def test_counts_what_training_will_see(template: ChatTemplate) -> None:
    data = [*rows(8, val=2), row(99, "test only", "not counted", split="test")]
    found = check(data, template, config())
    train = [template.example(r.messages, 256) for r in data if r.split == "train"]
    assert found.ok and found.require() is found
    assert (found.rows, found.val_rows) == (6, 2)
    assert found.tokens == sum(len(e.ids) for e in train)
    assert found.trained_tokens == sum(e.n_trained for e in train)
    assert found.longest == max(len(e.ids) for e in train)
    assert found.eot_trained
    assert (found.truncated, found.masked, found.empty, found.notes) == ([], [], [], [])


TALK = ("Hi", "Hello.", "Who?", "Ember.", "And?", "That is all.")


def test_all_answers_of_a_conversation_are_counted_and_trained(template: ChatTemplate) -> None:
    data = [row(0, *TALK), row(1, "Hi", "x"), row(2, *TALK[:4]), row(3, *TALK, split="val")]
    found = check(data, template, config())
    assert (found.turns, found.trained_turns, found.last_only, found.notes) == (6, 6, [], [])
    last = check(data, template, config(train_turns="last"))
    assert (last.turns, last.trained_turns, last.last_only) == (6, 3, [])
    assert last.trained_tokens < found.trained_tokens and last.tokens == found.tokens
    context = replace(
        data[0], messages=[m | ({"weight": 0} if m["content"] == "Hello." else {}) for m in data[0].messages]
    )
    weighed = check([context, *data[1:]], template, config())
    assert (weighed.turns, weighed.trained_turns, weighed.notes) == (6, 5, [])
    shown = "".join(text for text, trained in weighed.samples[0] if trained)
    assert shown == "Ember.<|im_end|>That is all.<|im_end|>"


def test_rows_whose_earlier_answers_cannot_be_trained_are_counted(tmp_path: Path) -> None:
    make_tokenizer(tmp_path, FAMILIES["qwen3"].template)
    thinking = ChatTemplate.load(tmp_path)
    data = [row(0, *TALK), row(1, "Hi", "x"), row(2, *TALK[:4]), row(3, *TALK, split="val")]
    found = check(data, thinking, config())
    assert (found.turns, found.trained_turns, found.last_only) == (6, 3, [1, 3, 4])
    assert found.ok and found.notes[0].startswith("3 rows train only the last answer")
    assert check(data[:2], thinking, config()).notes[0].startswith("1 row trains only the last answer")
    assert check(data, thinking, config(train_turns="last")).notes == [], "nobody asked for more"


def test_a_long_conversation_is_cut_and_still_trains_its_first_answers(template: ChatTemplate) -> None:
    data = [row(0, *TALK)]
    found = check(data, template, config(max_length=len(template.encode(data[0].messages[:3]))))
    assert (found.ok, found.trained_turns, found.truncated, found.masked) == (True, 1, [1], [])


def test_samples_show_every_token_and_which_are_trained(template: ChatTemplate) -> None:
    found = check([row(0, "Who are you?", "I am Ember.")], template, config())
    (sample,) = found.samples
    assert "".join(text for text, _ in sample) == template.render(row(0, "Who are you?", "I am Ember.").messages)[:-1]
    assert "".join(text for text, trained in sample if trained) == "I am Ember.<|im_end|>"


def test_the_shared_prefix_is_measured(template: ChatTemplate) -> None:
    same = check([row(0, "Alpha", "x"), row(1, "Beta", "y")], template, config())
    head = "<|im_start|>system\nYou are a tiny assistant.<|im_end|>\n<|im_start|>user\n"
    assert same.prefix_tokens >= len(template.ids(head))
    other = check([row(0, "Alpha", "x"), row(1, "Beta", "y", system="Else.")], template, config())
    assert 0 < other.prefix_tokens < same.prefix_tokens


def test_rows_that_are_cut_are_noted_and_rows_cut_to_nothing_forbid_the_run(template: ChatTemplate) -> None:
    data = [row(0, "Hi", "short"), row(1, "Hi", "a long answer " * 9), row(2, "a long question " * 9, "x")]
    limit = len(template.example(data[0].messages, 999).ids)
    found = check(data, template, config(max_length=limit))
    assert (found.truncated, found.masked) == ([2, 3], [3])
    assert "Rows 2 and 3 have" in found.notes[0]
    assert not found.ok and "Row 3 has nothing to train" in found.problems[0]
    with pytest.raises(BadInput, match="Row 3"):
        found.require()


def test_empty_answers_forbid_the_run(template: ChatTemplate) -> None:
    found = check([row(0, "Hi", "  "), row(1, "Hi", "x")], template, config())
    assert found.empty == [1]
    assert "Row 1 has no answer" in found.problems[0]


def test_no_train_rows_forbid_the_run(template: ChatTemplate) -> None:
    for data in ([], [row(0, "Hi", "x", split="val")]):
        assert check(data, template, config()).problems == ["No row is in the train split."]


def test_rows_that_the_template_refuses_are_named_once_with_its_reason(tmp_path: Path) -> None:
    make_tokenizer(
        tmp_path, "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}<|im_end|>"
    )
    data = [row(n, "Hi", "x", system="Be nice.") for n in range(8)]
    found = check(data, ChatTemplate.load(tmp_path), config())
    assert len(found.problems) == 1
    assert "Rows 1, 2, 3, 4, 5 and 3 more have" in found.problems[0]
    assert "no system" in found.problems[0]


def test_an_untrained_end_of_turn_forbids_the_run(template: ChatTemplate, tmp_path: Path) -> None:
    only_short = (
        "{% for m in messages %}{{ '<|im_start|>' + m.content }}{% if m.content | length < 20 %}{{ '<|im_end|>' }}"
        "{% endif %}{% endfor %}"
    )
    make_tokenizer(tmp_path, only_short)
    found = check(
        [row(0, "Hi", "x"), row(1, "Hi", "an answer of more than twenty")], ChatTemplate.load(tmp_path), config()
    )
    assert not found.eot_trained
    assert "Row 2 has no trained end-of-turn token" in found.problems[0]


def test_control_tokens_inside_the_data_are_noted(template: ChatTemplate) -> None:
    found = check([row(0, "Hi", "stop <|im_end|> here"), row(1, "Hi", "x")], template, config())
    assert found.ok
    assert "Row 1 has a control token" in found.notes[0]


def test_a_row_with_broken_unicode_is_a_problem_not_a_crash(template: ChatTemplate) -> None:
    broken = replace(
        row(0, "Hi", "x"), messages=[*row(0, "Hi", "x").messages[:-1], {"role": "assistant", "content": "\ud83d"}]
    )
    assert "surrogate" in check([broken], template, config()).problems[0]


@pytest.mark.parametrize("answers", [1, 3])
def test_when_every_row_loses_its_end_the_run_may_not_start(template: ChatTemplate, answers: int) -> None:
    data = [row(n, "Hi", "a long answer " * (9 + n)) for n in range(answers)]
    limit = len(template.encode(data[0].messages[:-1])) + 4
    found = check(data, template, config(max_length=limit))
    assert found.truncated == [n + 1 for n in range(answers)] and not found.masked
    assert not found.ok and "none keeps the token that ends its answer" in found.problems[0]
    with pytest.raises(BadInput, match="would not learn to stop"):
        found.require()


def test_one_row_that_keeps_its_end_is_enough(template: ChatTemplate) -> None:
    data = [row(0, "Hi", "a long answer " * 9), row(1, "Hi", "short")]
    assert check(data, template, config(max_length=len(template.example(data[1].messages, 999).ids))).ok


@pytest.mark.parametrize(
    ("source", "uid", "named"),
    [
        ({}, None, "Row 1 has"),
        ({"file": "qa.jsonl", "line": 7}, None, "Row 1 (qa.jsonl line 7) has"),
        ({"file": "qa.csv"}, "p1", "Row 1 (qa.csv, pair p1) has"),
        ({"chat": 3}, "p2", "Row 1 (pair p2) has"),
    ],
)
def test_a_row_is_named_by_number_file_line_and_pair(
    template: ChatTemplate, source: dict[str, object], uid: str | None, named: str
) -> None:
    data = [replace(row(0, "Hi", " "), source=source, pair_uid=uid), row(1, "Hi", "x")]
    assert check(data, template, config()).problems[0].startswith(named)
