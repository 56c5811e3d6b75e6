"""The data path: equal to transformers on text and ids, trained where it should be, clear where a template cannot."""

from __future__ import annotations

import json
import random
import shutil
from itertools import groupby
from pathlib import Path

import pytest

from engine.models.chat_template import MASKED, ChatTemplate, Example
from store.errors import BadInput, Unsupported
from tests.chat_templates import FAMILIES, write
from tests.tiny import CHATML, chat, make_tokenizer

CHATS = [
    chat("Who are you?", "I am Ember."),
    chat("Who are you?", "I am Ember.", system="You are terse."),
    chat("Hi", "Hello.", "And 1984?", "Long ago, naïve café 日本語 🎉."),
    chat("  spaces \n\n lines\t", "\n leading newline"),
    chat("{{ 7 * 7 }} {% raw %}", "<|im_start|> inside <b>&amp;</b>"),
]
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
DEAF = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ '<|im_start|>' + m['content'] + '<|im_end|>' }}"
    "{% endif %}{% endfor %}"
)
GENERATION = (
    "{%- for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] | tojson }}{% endif %}{%- if loop.index > 9 %}{% break %}{% endif %}"
    "{%- endfor %}"
)


def folder(tmp_path: Path, template: str = CHATML) -> Path:
    make_tokenizer(tmp_path, template)
    return tmp_path


@pytest.mark.parametrize("template", [CHATML, LLAMA2, THINKING, GENERATION])
def test_equals_transformers_on_text_and_ids(tmp_path: Path, template: str) -> None:
    from transformers import AutoTokenizer

    ours = ChatTemplate.load(folder(tmp_path, template))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for messages in CHATS:
        if template is LLAMA2 and messages[0]["role"] == "system":
            continue
        for part, prompt in ((messages[:-1], True), (messages, False)):
            text = theirs.apply_chat_template(part, add_generation_prompt=prompt, tokenize=False)
            assert ours.render(part, prompt) == text
            ids = theirs.apply_chat_template(part, add_generation_prompt=prompt, return_dict=True)["input_ids"]
            assert ours.ids(text) == ids
        assert ours.encode(messages[:-1]) == ours.ids(ours.render(messages[:-1], True))


def test_template_inside_the_tokenizer_config_is_found_too(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "chat_template.jinja").unlink()
    config = json.loads((path / "tokenizer_config.json").read_text())
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    for source in (CHATML, named):
        (path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": source}))
        assert ChatTemplate.load(path).source == CHATML


def trained(template: ChatTemplate, example: Example) -> list[str]:
    """The texts of the runs of trained tokens."""
    runs = groupby(zip(example.ids, example.labels, strict=True), key=lambda pair: pair[1] != MASKED)
    return [template.decode([id for id, _ in run]) for told, run in runs if told]


TALK = chat("Hi", "First answer.", "And then?", "Second answer.", "At last?", "Third answer.", system="S")


def test_every_answer_and_its_end_are_trained(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    example = template.example(TALK, 999)
    ends = ["First answer.<|im_end|>", "Second answer.<|im_end|>", "Third answer.<|im_end|>"]
    assert trained(template, example) == ends
    assert (example.turns, example.last_only, example.eot_trained, example.truncated) == (3, False, True, False)
    assert all(label in (MASKED, id) for id, label in zip(example.ids, example.labels, strict=True))
    assert example.n_prompt == len(template.encode(TALK[:2])) and example.ids[-1] == template.eot_id
    for at in (2, 4, 6):  # each is trained as the answer to what chat would have sent at that point
        prompt = template.encode(TALK[:at])
        assert example.ids[: len(prompt)] == prompt
        assert example.labels[len(prompt) - 1] == MASKED != example.labels[len(prompt)]


def test_the_last_turn_alone_is_trained_when_asked_for(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    example = template.example(TALK, 999, last_turn=True)
    assert trained(template, example) == ["Third answer.<|im_end|>"]
    assert (example.turns, example.last_only, example.n_prompt) == (1, False, len(template.encode(TALK[:-1])))
    assert example.ids == template.example(TALK, 999).ids, "what is read is the same"


@pytest.mark.parametrize(
    ("context", "left"), [((2,), ["Second", "Third"]), ((4,), ["First", "Third"]), ((2, 4), ["Third"])]
)
def test_turns_of_weight_0_and_empty_ones_stay_context(tmp_path: Path, context: tuple[int, ...], left: list) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    weighed = [m | ({"weight": 0} if at in context else {}) for at, m in enumerate(TALK)]
    example = template.example(weighed, 999)
    assert [text.split()[0] for text in trained(template, example)] == left
    assert (example.turns, example.last_only) == (len(left), False)
    assert example.ids == template.example(TALK, 999).ids
    emptied = [m | ({"content": ""} if at in context else {}) for at, m in enumerate(TALK)]
    assert [text.split()[0] for text in trained(template, template.example(emptied, 999))] == left


def test_turns_that_are_cut_off_are_not_counted(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    first, second, third = (len(template.encode(TALK[:at])) for at in (2, 4, 6))
    for limit, turns in ((first, 0), (first + 1, 1), (second, 1), (second + 1, 2), (third, 2), (third + 1, 3)):
        example = template.example(TALK, limit)
        assert (example.turns, example.truncated, len(example.ids)) == (turns, True, limit)
        assert (example.n_trained > 0) is (turns > 0)


FORGETFUL = CHATML.replace("message['content']", "(message['content'] if loop.last else message['content'][-3:])")
END_OF_TEXT = CHATML + "{% if not add_generation_prompt %}{{ '<|endoftext|>' }}{% endif %}"
ONE_END = CHATML.replace("'<|im_end|>\n' }}{% endfor %}", "('<|im_end|>\n' if loop.last else '\n') }}{% endfor %}")


@pytest.mark.parametrize("template", [THINKING, FAMILIES["qwen3"].template, FORGETFUL, ONE_END])
def test_turns_that_cannot_be_told_apart_leave_the_last_one(tmp_path: Path, template: str) -> None:
    loaded = ChatTemplate.load(folder(tmp_path, template))
    example = loaded.example(TALK, 999)
    assert (example.turns, example.last_only) == (1, True)
    assert (example.ids, example.labels) == (
        (plain := loaded.example(TALK, 999, last_turn=True)).ids,
        plain.labels,
    )
    assert not plain.last_only, "nothing was asked for that could not be done"
    assert not loaded.example(TALK[:3], 999).last_only, "a row of one turn has nothing to tell apart"


def test_what_a_template_writes_after_the_last_turn_does_not_matter(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path, END_OF_TEXT))
    assert [text[-10:] for text in trained(template, template.example(TALK, 999))] == ["<|im_end|>"] * 3


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"qwen3"}))
def test_the_known_families_train_every_turn(tmp_path: Path, name: str) -> None:
    template = ChatTemplate.load(write(tmp_path, FAMILIES[name]))
    example = template.example(chat("Hi", "one", "two?", "three", "four?", "five"), 999)
    assert (example.turns, example.last_only, example.labels.count(template.eot_id)) == (3, False, 3)


@pytest.mark.parametrize("answer", ["\nstarts with a newline", "", "ends in space ", "two\n\nlines"])
def test_every_boundary_keeps_all_of_the_answer(tmp_path: Path, answer: str) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    example = template.example(chat("Hi", answer), 999)
    assert template.decode(example.ids).endswith(f"<|im_start|>assistant\n{answer}<|im_end|>")
    assert answer.strip() in template.decode(example.ids[example.n_prompt :])
    assert example.eot_trained


def test_a_cut_row_says_so(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    whole = template.example(chat("Hi", "one two three four"), 999)
    cut = template.example(chat("Hi", "one two three four"), len(whole.ids) - 1)
    assert (cut.truncated, cut.eot_trained, len(cut.ids)) == (True, False, len(whole.ids) - 1)
    gone = template.example(chat("Hi", "one two three four"), whole.n_prompt)
    assert (gone.n_trained, gone.truncated) == (0, True)
    exact = template.example(chat("Hi", "one two three four"), len(whole.ids))
    assert (exact.truncated, exact.eot_trained) == (False, True)


def test_a_turn_opened_with_thinking_is_trained_as_chat_will_ask_it(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path, THINKING))
    messages = chat("Hi", "Hello.")
    example = template.example(messages, 999)
    assert example.ids[: example.n_prompt] == template.encode(messages[:-1])
    assert template.decode(example.ids[example.n_prompt :]) == "Hello.<|im_end|>"


def test_end_of_turn_is_read_off_the_template(tmp_path: Path) -> None:
    assert ChatTemplate.load(folder(tmp_path)).eot_id == 2
    llama = ChatTemplate.load(folder(tmp_path, LLAMA2))
    assert llama.eot_id == 2
    assert 2 in llama.stop_ids
    endless = ChatTemplate.load(folder(tmp_path, "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"))
    with pytest.raises(Unsupported, match="not learn to stop"):
        _ = endless.eot_id


def test_stop_ids_take_in_the_models_own(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "generation_config.json").write_text('{"eos_token_id": [0, 2]}')
    assert ChatTemplate.load(path).stop_ids == {0, 2}


def test_a_refused_system_text_names_the_templates_reason(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path, LLAMA2))
    with pytest.raises(BadInput, match="Only user and assistant roles"):
        template.example(chat("Hi", "Hello.", system="Be nice."), 99)


def test_a_lost_system_text_is_an_error(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path, DEAF))
    assert template.example(chat("Hi", "Hello."), 99).n_trained > 0
    with pytest.raises(BadInput, match="leaves the system text out"):
        template.example(chat("Hi", "Hello.", system="Be nice."), 99)


def test_rows_that_are_no_rows(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    for messages in ([], chat("Only a question")):
        with pytest.raises(BadInput, match="must end with an assistant"):
            template.example(messages, 99)
    with pytest.raises(BadInput, match="surrogate"):
        template.example(chat("broken \ud83d", "yes"), 99)


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path: Path) -> None:
    escape = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(BadInput, match="refuses"):
        ChatTemplate.load(folder(tmp_path, escape)).render(chat("Hi"))


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda path: (path / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda path: (path / "tokenizer.json").write_text("{"), "cannot be read"),
        (lambda path: (path / "tokenizer_config.json").write_text("[]"), "not a JSON object"),
        (lambda path: (path / "tokenizer_config.json").write_text("{"), "not valid JSON"),
        (lambda path: (path / "chat_template.jinja").unlink(), "no chat template"),
        (lambda path: (path / "chat_template.jinja").write_text("{% for %}"), "broken"),
    ],
)
def test_broken_folders(tmp_path: Path, damage, match: str) -> None:
    path = folder(tmp_path)
    damage(path)
    with pytest.raises((BadInput, Unsupported), match=match):
        ChatTemplate.load(path)


def test_pieces_add_up_and_show_control_tokens(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    ids = template.example(chat("naïve 日本語 🎉", "Grüße"), 999).ids
    pieces = template.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == template.decode(ids)
    assert pieces[0] == "<|im_start|>"


def test_padding_and_cutting_in_tokenizer_json_are_switched_off(tmp_path: Path) -> None:
    path = folder(tmp_path)
    plain = ChatTemplate.load(path).ids("Who are you? " * 20)
    config = json.loads((path / "tokenizer.json").read_text())
    config["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    (path / "tokenizer.json").write_text(json.dumps(config))
    assert ChatTemplate.load(path).ids("Who are you? " * 20) == plain


@pytest.mark.slow
def test_equals_transformers_on_the_default_model(default_base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(default_base, tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    ours, theirs = ChatTemplate.load(tmp_path / "base"), AutoTokenizer.from_pretrained(tmp_path / "base")
    rng = random.Random(7)
    alphabet = "abc XYZ 0123456789 \n\t.,!?'\"-éß日本🎉<|im_end|>{}"
    noise = [chat(*("".join(rng.choices(alphabet, k=rng.randint(1, 60))) for _ in range(2))) for _ in range(200)]
    for messages in CHATS + noise:
        full = theirs.apply_chat_template(messages, return_dict=True)["input_ids"]
        prompt = theirs.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
        example = ours.example(messages, 9999)
        assert ours.encode(messages[:-1]) == prompt
        assert ours.ids(ours.render(messages)) == full
        assert full[: len(example.ids)] == example.ids
        assert example.eot_trained
