"""The data path: equal to transformers on text and ids, trained where it should be, clear where a template cannot."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from engine.models.chat_template import MASKED, ChatTemplate
from store.errors import BadInput, Unsupported
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


def test_only_the_final_answer_and_its_end_are_trained(tmp_path: Path) -> None:
    template = ChatTemplate.load(folder(tmp_path))
    example = template.example(chat("Hi", "First answer.", "And then?", "Second answer.", system="S"), 999)
    trained = [label for label in example.labels if label != MASKED]
    assert template.decode(trained) == "Second answer.<|im_end|>"
    assert example.labels[example.n_prompt :] == example.ids[example.n_prompt :]
    assert set(example.labels[: example.n_prompt]) == {MASKED}
    assert template.decode(example.ids[: example.n_prompt]).endswith("<|im_start|>assistant\n")
    assert "First answer." in template.decode(example.ids[: example.n_prompt])
    assert (example.n_trained, example.eot_trained, example.truncated) == (len(trained), True, False)
    assert example.ids[-1] == template.eot_id


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
