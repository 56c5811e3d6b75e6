"""`tuningfork compare` and `tuningfork chat`: with a client that needs no server, and for real on the default model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.cli.conftest import BASE, Cli, FakeClient
from tui.cli.columns import side_by_side, wrap

ROOT = Path(__file__).parents[3]
Write = Callable[[str, str | bytes], str]
OTHER = "http://127.0.0.1:9/v1#other"
SIDES = ("compare", "--a", BASE, "--b", OTHER)


class TestCompare:
    def test_one_prompt_one_object_of_the_agreed_shape(self, tf: Cli, client: FakeClient) -> None:
        [found] = tf.lines(*SIDES, "--prompt", "Who?", "--seed", "7")
        assert list(found) == ["prompt", "seed", "a", "b"] and (found["prompt"], found["seed"]) == ("Who?", 7)
        for side, model in (("a", BASE), ("b", OTHER)):
            assert list(found[side]) == ["model", "text", "tokens", "stop", "ttft_ms", "tokens_per_s"]
            assert found[side]["model"] == model and found[side]["text"].startswith(f"{model} Who? ")
            assert (found[side]["tokens"], found[side]["stop"]) == (3, "end")
        assert client.closed and client.loaded == [BASE, OTHER]

    def test_both_sides_get_the_same_and_no_history(self, tf: Cli, client: FakeClient) -> None:
        words = ("--temperature", "0.7", "--top-p", "0.9", "--top-k", "40", "--max-tokens", "12", "--seed", "3")
        tf.ok(*SIDES, "--prompt", "Who?", "--system", "Be brief.", *words)
        (_, messages_a, sampling_a, _), (_, messages_b, sampling_b, _) = client.asked
        assert messages_a == messages_b
        assert messages_a == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
        assert sampling_a == sampling_b
        assert (sampling_a.temperature, sampling_a.top_p, sampling_a.top_k) == (0.7, 0.9, 40)
        assert (sampling_a.max_tokens, sampling_a.seed) == (12, 3)

    def test_a_third_side_reads_examples_that_the_others_never_see(
        self, tf: Cli, client: FakeClient, facts: str
    ) -> None:
        words = ("--prompt", "Who?", "--few-shot", facts, "--shots", "2", "--system", "Be brief.")
        [found] = tf.lines(*SIDES, *words)
        assert list(found) == ["prompt", "seed", "a", "b", "few_shot"]
        assert found["few_shot"]["model"] == BASE and set(found["a"]) < set(found["few_shot"])
        assert (found["few_shot"]["dataset"], found["few_shot"]["shots"]) == (facts, 2)
        read = sorted((len(messages), [m["role"] for m in messages]) for _, messages, _, _ in client.asked)
        assert [length for length, _ in read] == [2, 2, 6]
        assert read[2][1] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert client.most_at_once == 3 and client.loaded == [BASE, OTHER]
        assert f"C  {BASE} with 2 examples of {facts}" in tf.ok(*SIDES, *words)

    @pytest.mark.parametrize("words", [("--few-shot", "nowhere"), ("--few-shot", "facts", "--shots", "0")])
    def test_examples_that_cannot_be_given(
        self, tf: Cli, client: FakeClient, facts: str, words: tuple[str, ...]
    ) -> None:
        tf.error(*SIDES, "--prompt", "Who?", *words)
        assert not client.asked

    def test_a_set_is_kept_and_asked_by_its_name(self, tf: Cli, client: FakeClient, write: Write) -> None:
        first = tf.ok(*SIDES, "--prompts", write("p.txt", "Who?\nWhere?\n"), "--keep", "mine", "--json")
        assert tf.ok(*SIDES, "--prompts", "mine", "--json") == first
        assert tf.error(*SIDES, "--prompts", "other")["where"] == "other"

    def test_both_sides_answer_at_once(self, tf: Cli, client: FakeClient) -> None:
        tf.ok(*SIDES, "--prompt", "Who?")
        assert client.most_at_once == 2

    def test_twice_is_the_same(self, tf: Cli, client: FakeClient) -> None:
        words = (*SIDES, "--prompt", "Who?", "--seed", "7", "--json")
        assert tf.ok(*words) == tf.ok(*words) != tf.ok(*words[:-2], "8", "--json")

    def test_a_file_of_lines(self, tf: Cli, client: FakeClient, write: Write) -> None:
        found = tf.lines(*SIDES, "--prompts", write("p.txt", "\ufeffWho?\r\n\n  Where?  \n"))
        assert [row["prompt"] for row in found] == ["Who?", "Where?"]

    def test_a_file_of_objects(self, tf: Cli, client: FakeClient, write: Write) -> None:
        file = write("p.jsonl", '{"prompt": "Who?"}\n{"prompt": "Where?", "system": "Own."}\n')
        found = tf.lines(*SIDES, "--prompts", file, "--system", "Common.")
        assert [row["prompt"] for row in found] == ["Who?", "Where?"]
        systems = [messages[0]["content"] for _, messages, _, _ in client.asked]
        assert sorted(systems) == ["Common.", "Common.", "Own.", "Own."]

    def test_prompts_from_stdin(self, tf: Cli, client: FakeClient) -> None:
        result = tf(*SIDES, "--prompts", "-", "--json", input="Who?\nWhere?\n")
        assert [json.loads(line)["prompt"] for line in result.stdout.splitlines()] == ["Who?", "Where?"]

    def test_an_answer_that_breaks_off_is_kept_and_exits_1(self, tf: Cli, client: FakeClient, write: Write) -> None:
        client.breaks = OTHER
        result = tf(*SIDES, "--prompts", write("p.txt", "Who?\nWhere?\n"), "--json")
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        assert result.exit_code == 1 and len(rows) == 2
        assert (rows[0]["b"]["stop"], rows[0]["b"]["error"]) == ("error", "The server went away.")
        assert rows[0]["a"]["stop"] == "end" and "2 of 4 answers" in result.stderr

    def test_for_a_person(self, tf: Cli, client: FakeClient) -> None:
        shown = tf.ok(*SIDES, "--prompt", "Who?")
        assert shown.startswith("> Who?\n") and f"A  {BASE}  (3 tokens, 80/s" in shown and f"B  {OTHER}" in shown

    def test_terminal_codes_in_an_answer_are_taken_out(self, tf: Cli, client: FakeClient) -> None:
        for words in ((), ("--json",)):
            shown = tf.ok(*SIDES, "--prompt", "Who?\x1b]0;evil\x07\x9b", *words)
            assert not set(shown) & set("\x1b\x07\x9b")

    def test_an_unknown_side_starts_no_server(self, tf: Cli, client: FakeClient) -> None:
        error = tf.error("compare", "--a", BASE, "--b", "run:none", "--prompt", "Who?")
        assert error["error"] == "NotFound" and not client.loaded


class TestChat:
    def test_one_shot(self, tf: Cli, client: FakeClient) -> None:
        [found] = tf.lines("chat", BASE, "--prompt", "Who?", "--seed", "7")
        assert list(found) == ["prompt", "seed", "model", "text", "tokens", "stop", "ttft_ms", "tokens_per_s"]
        assert tf.ok("chat", BASE, "--prompt", "Who?", "--seed", "7") == found["text"] + "\n"

    def test_it_says_what_compare_says(self, tf: Cli, client: FakeClient) -> None:
        words = ("--prompt", "Who?", "--seed", "7", "--system", "Be brief.")
        [chat], [compare] = tf.lines("chat", BASE, *words), tf.lines(*SIDES, *words)
        assert chat["text"] == compare["a"]["text"]

    def test_lines_of_stdin_are_turns_with_a_history(self, tf: Cli, client: FakeClient) -> None:
        result = tf("chat", BASE, "--json", input="One\n\nTwo\n")
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        assert [row["prompt"] for row in rows] == ["One", "Two"]
        last = client.asked[-1][1]
        assert [m["role"] for m in last] == ["user", "assistant", "user"] and last[1]["content"] == rows[0]["text"]

    def test_two_conversations_share_no_lane(self, tf: Cli, client: FakeClient) -> None:
        tf("chat", BASE, input="One\nTwo\n")
        tf("chat", BASE, input="One\n")
        lanes = [lane for *_, lane in client.asked]
        assert lanes[0] == lanes[1] != lanes[2]

    def test_a_broken_answer_exits_1(self, tf: Cli, client: FakeClient) -> None:
        client.breaks = BASE
        result = tf("chat", BASE, "--prompt", "Who?")
        assert result.exit_code == 1 and "went away" in result.stderr and client.closed


class TestColumns:
    def test_lines_fit_and_nothing_is_lost(self) -> None:
        left, right = "one two three four five six", "日本語の長い文章です。" * 3
        lines = side_by_side(left, right, 40)
        assert all("│" in line for line in lines)
        assert " ".join(line.split("│")[0].strip() for line in lines).split() == left.split()
        assert "".join(line.split("│")[1].strip() for line in lines) == right

    @pytest.mark.parametrize("text", ["", "a", "a" * 50, "word " * 30, "日本" * 20, "x\n\ny", "a  b"])
    def test_wrap(self, text: str) -> None:
        from rich.cells import cell_len

        lines = wrap(text, 10)
        assert all(cell_len(line) <= 10 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")


@pytest.mark.slow
@pytest.mark.alone
def test_the_default_model_says_the_same_twice_on_both_sides_and_alone(tmp_path: Path) -> None:
    """A real server on the real model: no seed, lane or adapter may leak between invocations or sides."""
    words = ["--seed", "7", "--temperature", "0.8", "--max-tokens", "24", "--home", str(tmp_path / "h"), "--json"]
    ask = ["--prompt", "Who made you?", *words]

    def run(*words: str) -> dict:  # type: ignore[type-arg]
        done = subprocess.run(
            [sys.executable, "-m", "tui", *words], capture_output=True, text=True, cwd=ROOT, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    try:
        first = run("compare", "--a", BASE, "--b", BASE, *ask)
        again = run("compare", "--a", BASE, "--b", BASE, *ask)
        alone = run("chat", BASE, *ask)
    finally:
        subprocess.run([sys.executable, "-m", "tui", "serve", "--stop", "--home", str(tmp_path / "h")], cwd=ROOT)
    assert first["a"]["text"].strip()
    texts = {side["text"] for found in (first, again) for side in (found["a"], found["b"])} | {alone["text"]}
    assert len(texts) == 1


@pytest.mark.parametrize("typed", ["./tiny.gguf", "tiny.gguf", "../here/tiny.gguf"])
def test_a_relative_path_reaches_the_server_as_an_absolute_one(
    tf: Cli, client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """The chat server runs in another folder, where the path would name something else."""
    (tmp_path / "here").mkdir()
    file = tmp_path / "here" / "tiny.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.chdir(file.parent)
    tf.ok("chat", typed, "--prompt", "Who?")
    tf.ok("compare", "--a", typed, "--b", BASE, "--prompt", "Who?")
    asked = [Path(model) for model, *_ in client.asked if model != BASE]
    assert len(asked) == 2 and all(path.is_absolute() and path.resolve() == file.resolve() for path in asked)
