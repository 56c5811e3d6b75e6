"""Choices about a chat template: folded system texts, reasoning that it drops, a template for a model without one, the
end of an answer, and thinking. What a run is trained on, chat and exports read from the adapter's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.inference.prompts import build
from engine.inference.sampling import Sampling
from engine.models import template_texts
from engine.models.chat_template import MASKED, ChatTemplate
from engine.training.preflight import check, template_of
from store.errors import BadInput, Unsupported
from tests.chat_templates import FAMILIES, write
from tests.tiny import CHATML, chat, config, make_tokenizer, row

WITHOUT_SYSTEM = ("gemma2", "mistral-v1")
TALK = chat("Who are you?", "I am Ember.", "And now?", "Still Ember.", system="Be brief.")
R1 = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' + m['content'].split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
)
OPENS = {  # with what each opens the assistant's turn
    "plain": "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "thinking": "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
}
QWEN3 = (
    CHATML + "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)


def trained(template: ChatTemplate, messages: list[dict[str, str]]) -> str:
    example = template.example(messages, 10_000)
    return template.decode([id for id, label in zip(example.ids, example.labels, strict=True) if label != MASKED])


class TestFold:
    @pytest.mark.parametrize("family", WITHOUT_SYSTEM)
    def test_the_system_text_goes_before_the_first_question(self, tmp_path: Path, family: str) -> None:
        folder = write(tmp_path, FAMILIES[family])
        refusing, folding = ChatTemplate.load(folder), ChatTemplate.load(folder, system="fold")
        with pytest.raises(BadInput) as caught:
            refusing.render(TALK)
        assert "--system fold" in (caught.value.todo or "")
        by_hand = chat("Be brief.\n\nWho are you?", *[m["content"] for m in TALK[2:]])
        assert folding.render(TALK) == refusing.render(by_hand)
        assert folding.folds_system and not refusing.takes_system and folding.takes_system

    @pytest.mark.parametrize("family", WITHOUT_SYSTEM)
    def test_a_conversation_without_one_stays_as_it_is(self, tmp_path: Path, family: str) -> None:
        folder = write(tmp_path, FAMILIES[family])
        plain = TALK[1:]
        assert ChatTemplate.load(folder, system="fold").render(plain) == ChatTemplate.load(folder).render(plain)

    @pytest.mark.parametrize("family", ["smollm2", "llama3", "qwen2.5"])
    def test_a_template_that_takes_system_texts_stays_as_it_is(self, tmp_path: Path, family: str) -> None:
        folder = write(tmp_path, FAMILIES[family])
        assert ChatTemplate.load(folder, system="fold").source == ChatTemplate.load(folder).source

    def test_a_template_that_leaves_it_out_is_folded_too(self, tmp_path: Path) -> None:
        make_tokenizer(tmp_path, CHATML.replace("{% for", "{% set messages = messages | rejectattr('role', 'equalto', "
                                                "'system') | list %}{% for", 1))  # fmt: skip
        with pytest.raises(BadInput, match="leaves the system text out"):
            ChatTemplate.load(tmp_path).render(TALK)
        assert "Be brief.\n\nWho are you?" in ChatTemplate.load(tmp_path, system="fold").render(TALK)

    def test_a_later_system_text_goes_before_the_next_question(self, tmp_path: Path) -> None:
        template = ChatTemplate.load(write(tmp_path, FAMILIES["gemma2"]), system="fold")
        late = [*TALK[1:3], {"role": "system", "content": "Shout."}, *TALK[3:]]
        assert "Shout.\n\nAnd now?" in template.render(late)
        with pytest.raises(BadInput, match="system text"):
            template.render([*TALK[1:], {"role": "system", "content": "Too late."}])

    def test_space_at_the_beginning_of_a_template_is_kept(self, tmp_path: Path) -> None:
        make_tokenizer(
            tmp_path, "\n {% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML
        )
        plain, folding = ChatTemplate.load(tmp_path), ChatTemplate.load(tmp_path, system="fold")
        assert folding.folds_system and folding.render(TALK[1:]) == plain.render(TALK[1:])

    def test_transformers_reads_the_folded_template_the_same(self, tmp_path: Path) -> None:
        from transformers import AutoTokenizer

        folder = write(tmp_path, FAMILIES["gemma2"])
        ours = ChatTemplate.load(folder, system="fold")
        (folder / "chat_template.jinja").write_text(ours.source)
        theirs = AutoTokenizer.from_pretrained(folder)
        for part, prompt in ((TALK[:-1], True), (TALK, False)):
            assert theirs.apply_chat_template(part, add_generation_prompt=prompt, tokenize=False) == ours.render(
                part, add_generation_prompt=prompt
            )

    def test_preflight_names_the_option_and_then_says_what_it_does(self, tmp_path: Path) -> None:
        folder = write(tmp_path, FAMILIES["gemma2"])
        data = [row(0, "Hi", "x", system="Be nice."), row(1, "Hi", "y")]
        refused = check(data, template_of(folder, config()), config())
        assert not refused.ok and "Row 1 has a problem" in refused.problems[0]
        assert "--system fold" in refused.problems[0]
        folding = config(system="fold")
        found = check(data, template_of(folder, folding), folding)
        assert found.ok and any("that of 1 row is put before the first question" in note for note in found.notes)

    def test_a_lane_of_such_a_run_has_its_base_s_template(self, tmp_path: Path) -> None:
        folder = write(tmp_path, FAMILIES["gemma2"])
        one, two = (build(ChatTemplate.load(folder, system=s), TALK[1:4], 999) for s in ("refuse", "fold"))
        assert (one.ids, one.template) == (two.ids, two.template)


class TestReasoning:
    @pytest.mark.parametrize("opens", OPENS)
    @pytest.mark.parametrize("thought", ["<think>\nWell, 2 and 2.\n</think>\n\n", "Well, 2 and 2.</think>"])
    def test_the_answer_is_trained_as_the_template_shows_it(self, tmp_path: Path, opens: str, thought: str) -> None:
        make_tokenizer(tmp_path, R1 + OPENS[opens])
        template = ChatTemplate.load(tmp_path)
        made = chat("2 + 2?", f"{thought}It is 4.")
        example = template.example(made, 999)
        assert trained(template, made).strip() == "It is 4.<|im_end|>"
        assert example.lost_reasoning and example.eot_trained
        head = template.encode(made[:1])
        assert example.ids[: len(head)] == head, "what comes before it is what chat will send"

    @pytest.mark.parametrize("opens", OPENS)
    def test_rows_that_lost_it_are_counted(self, tmp_path: Path, opens: str) -> None:
        make_tokenizer(tmp_path, R1 + OPENS[opens])
        data = [row(0, "a", "<think>so</think>x"), row(1, "b", "y"), row(2, "c", "<think>hm</think>z", split="val")]
        found = check(data, ChatTemplate.load(tmp_path), config())
        assert found.ok and found.lost_reasoning == [1, 3]
        assert any(note.startswith("2 rows lose their reasoning") for note in found.notes)

    def test_a_template_that_shows_it_trains_it(self, tmp_path: Path) -> None:
        make_tokenizer(tmp_path)
        template = ChatTemplate.load(tmp_path)
        made = chat("2 + 2?", "<think>so</think>It is 4.")
        assert trained(template, made) == "<think>so</think>It is 4.<|im_end|>"
        assert not template.example(made, 999).lost_reasoning

    @pytest.mark.parametrize("content", ["'x'", "m['content'][::-1]", "m['content'] | upper"])
    def test_a_template_that_changes_answers_is_refused(self, tmp_path: Path, content: str) -> None:
        source = (R1 + OPENS["plain"]).replace("m['content'].split('</think>')[-1]", content)
        make_tokenizer(tmp_path, source)
        with pytest.raises(BadInput, match="does not show the answer"):
            ChatTemplate.load(tmp_path).example(chat("Hello there?", "Nothing."), 999)


class TestGiven:
    """Templates for models without one."""

    @pytest.fixture
    def bare(self, tmp_path: Path) -> Path:
        make_tokenizer(tmp_path)
        (tmp_path / "chat_template.jinja").unlink()
        return tmp_path

    def test_without_one_the_error_names_the_option(self, bare: Path) -> None:
        with pytest.raises(Unsupported) as caught:
            ChatTemplate.load(bare)
        assert "--template chatml" in (caught.value.todo or "")

    @pytest.mark.parametrize("name", template_texts.NAMED)
    def test_a_named_one_shows_everything_and_ends_answers(self, bare: Path, name: str) -> None:
        template = ChatTemplate.load(bare, template=name)
        shown = template.render(TALK)
        assert all(m["content"] in shown for m in TALK)
        example = template.example(TALK, 999)
        assert (example.eot_trained, example.turns, example.last_only) == (True, 2, False)
        assert trained(template, TALK) == "I am Ember.<|im_end|>Still Ember.<|im_end|>"
        assert template.render(TALK).startswith(template.render(TALK[:-1], add_generation_prompt=True))

    @pytest.mark.parametrize("name", template_texts.NAMED)
    def test_it_ends_with_the_end_of_text_where_the_tokenizer_has_no_end_of_turn(self, bare: Path, name: str) -> None:
        text = (bare / "tokenizer.json").read_text().replace("<|im_end|>", "</s>")
        (bare / "tokenizer.json").write_text(text)
        settings = json.loads((bare / "tokenizer_config.json").read_text())
        (bare / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "</s>", "pad_token": "</s>"}))
        template = ChatTemplate.load(bare, template=name)
        assert template.tokenizer.id_to_token(template.eot_id) == "</s>"
        assert trained(template, chat("Hi", "x")) == "x</s>"

    @pytest.mark.parametrize("family", ["llama2", "zephyr"])
    def test_a_text_begins_as_the_tokenizer_begins_one(self, tmp_path: Path, family: str) -> None:
        folder = write(tmp_path, FAMILIES[family])
        shown = ChatTemplate.load(folder, template="plain").render(chat("Hi", "x"))
        assert shown.startswith("<s>") is FAMILIES[family].adds_bos

    def test_a_file_is_read_once_and_kept_as_text(self, bare: Path, tmp_path: Path) -> None:
        file = tmp_path / "mine.jinja"
        file.write_text(CHATML)
        kept = template_texts.settled(str(file))
        assert kept == CHATML and template_texts.settled(kept) == CHATML
        assert ChatTemplate.load(bare, template=kept).source == CHATML

    @pytest.mark.parametrize("wrong", ["chatlm", "/no/such/file", "README"])
    def test_what_is_none_is_refused(self, bare: Path, tmp_path: Path, wrong: str) -> None:
        (tmp_path / "README").write_text("no template")
        with pytest.raises(BadInput):
            template_texts.settled(str(tmp_path / wrong) if wrong == "README" else wrong)

    @pytest.mark.parametrize("name", template_texts.NAMED)
    def test_transformers_reads_it_the_same(self, bare: Path, name: str) -> None:
        from transformers import AutoTokenizer

        ours = ChatTemplate.load(bare, template=name)
        (bare / "chat_template.jinja").write_text(ours.source)
        theirs = AutoTokenizer.from_pretrained(bare)
        assert theirs.apply_chat_template(TALK, tokenize=False) == ours.render(TALK)


class TestEnd:
    """What ends an answer in chat where the template writes no end token."""

    NO_END = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"

    @pytest.mark.parametrize("ids", [[1], [0, 2]])
    def test_the_configured_ids_do(self, tmp_path: Path, ids: list[int]) -> None:
        make_tokenizer(tmp_path, self.NO_END)
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
        template = ChatTemplate.load(tmp_path)
        assert template.stop_ids >= set(ids)
        with pytest.raises(Unsupported, match="would not learn to stop"):
            _ = template.eot_id

    def test_the_end_of_text_does(self, tmp_path: Path) -> None:
        make_tokenizer(tmp_path, self.NO_END)
        template = ChatTemplate.load(tmp_path)
        assert template.stop_ids == {template.tokenizer.token_to_id("<|im_end|>")}

    def test_with_none_at_all_chat_says_what_to_add(self, tmp_path: Path) -> None:
        make_tokenizer(tmp_path, self.NO_END)
        (tmp_path / "tokenizer_config.json").write_text("{}")
        with pytest.raises(Unsupported, match="Nothing ends an answer") as caught:
            _ = ChatTemplate.load(tmp_path).stop_ids
        assert "eos_token_id" in (caught.value.todo or "")


class TestThinking:
    @pytest.mark.parametrize(("thinking", "closed"), [(None, False), (True, False), (False, True)])
    def test_it_reaches_the_template(self, tmp_path: Path, thinking: bool | None, closed: bool) -> None:
        make_tokenizer(tmp_path, QWEN3)
        prompt = build(ChatTemplate.load(tmp_path), chat("Hi"), 999, thinking=thinking)
        text = ChatTemplate.load(tmp_path).decode(prompt.ids)
        assert text.endswith("</think>\n\n") is closed

    @pytest.mark.parametrize("value", [True, False, None])
    def test_it_survives_the_request(self, value: bool | None) -> None:
        sampling = Sampling(thinking=value)
        assert Sampling.from_json(json.loads(json.dumps(sampling.to_json()))) == sampling
        assert ("chat_template_kwargs" in sampling.to_json()) is (value is not None)
        assert Sampling.from_json({"enable_thinking": value}) == sampling

    @pytest.mark.parametrize(
        "body",
        [{"enable_thinking": "yes"}, {"chat_template_kwargs": 3}, {"chat_template_kwargs": {"reasoning_effort": 1}}],
    )
    def test_what_cannot_be_done_is_refused(self, body: dict[str, object]) -> None:
        with pytest.raises(BadInput):
            Sampling.from_json(body)

    def test_a_template_that_cannot_think_refuses_it_and_takes_the_opposite(self, tmp_path: Path) -> None:
        make_tokenizer(tmp_path)
        template = ChatTemplate.load(tmp_path)
        assert template.encode(chat("Hi"), thinking=False) == template.encode(chat("Hi"))
        with pytest.raises(BadInput, match="no setting for thinking"):
            template.encode(chat("Hi"), thinking=True)
