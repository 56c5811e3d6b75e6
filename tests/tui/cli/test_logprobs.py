"""`tuningfork logprobs`: the table, the JSON, and what is refused before a server is started."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from engine.inference.client import Done
from engine.inference.token_comparison import TokenComparison
from store.records import Run
from tests.tui.cli.conftest import BASE, Cli, FakeClient

ASKED = [{"role": "user", "content": "Wer?"}]


def test_without_an_answer_it_is_the_models_own(tf: Cli, client: FakeClient, trained: Run) -> None:
    shown = tf.ok("logprobs", "run:ember", "Wer?")
    (model, messages, sampling, _), (compared,) = *client.asked, client.compared
    assert (model, messages, sampling.temperature) == ("run:ember", ASKED, 0.0)
    assert compared["messages"][-1]["content"].startswith("run:ember Wer? ") and compared["token_ids"] == (5, 6, 7)
    assert client.loaded == ["run:ember"] and client.closed
    head, first, second, *rest = shown.splitlines()
    assert head.split() == ["token", "p(base)", "p(tuned)", "difference", "tuned", "instead", "base", "instead"]
    assert first.split()[:4] == ['"I"', "60.7%", "60.7%", "+0.00"]
    assert second.split()[:5] == ['"c"', "8.2%", "60.7%", "+2.00", "+"]
    assert '"Bolt" 36.8%, "␣␣a" 13.5%, "\\xe5" 5.0%' in first
    assert rest[-1] == "log-likelihood -4.00 tuned, -12.00 base, difference +8.00 (8 tokens)"


def test_bytes_of_a_character_are_one_row(tf: Cli, client: FakeClient, trained: Run) -> None:
    rows = tf.ok("logprobs", "run:ember", "Wer?", "Ich, 巴", "--top", "0").splitlines()
    assert [row.split()[0] for row in rows[1:-1]] == ['"I"', '"c"', '"h"', '","', '"', '"巴"']
    assert rows[-2].split()[1:] == ["0.41%", "22.3%", "+4.00", "++"]
    assert client.asked == [] and client.compared[0]["token_ids"] == ()


def test_the_json_has_every_token(tf: Cli, client: FakeClient, trained: Run) -> None:
    (found,) = tf.lines("logprobs", "run:ember", "Wer?", "Ich, 巴", "--system", "Kurz.", "--top", "2")
    assert list(found)[:3] == ["prompt", "model", "base"] and found["logprob"]["difference"] == 8.0
    assert found["tokens"][1] | {"tuned_top": 0, "base_top": 0} == {
        "id": 1, "token": "c", "bytes": [99], "tuned": -0.5, "base": -2.5, "difference": 2.0, "tuned_top": 0,
        "base_top": 0,
    }  # fmt: skip
    assert [one["token"] for one in found["tokens"][0]["tuned_top"]] == ["Bolt", "  a"]
    assert found["tokens"][5]["token"] == "\\xe5", "a part of a character is spelled"
    assert len(TokenComparison.from_json(json.loads(json.dumps(found))).tokens) == 8
    assert client.compared[0]["messages"][0] == {"role": "system", "content": "Kurz."}


def test_what_was_not_sampled_is_said(
    tf: Cli, client: FakeClient, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "sampled" not in tf("logprobs", "run:ember", "Wer?", "Ich").stderr, "a typed answer is the user's"
    answer = client.complete

    async def unknown(*asked: Any) -> Done:
        return replace(await answer(*asked), token_ids=())

    monkeypatch.setattr(client, "complete", unknown)
    result = tf("logprobs", "run:ember", "Wer?")
    assert "The tokens are those of the answer's text" in result.stderr and result.exit_code == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((BASE, "Wer?"), f"{BASE} is not tuned: there is no base to compare it with."),
        (
            ("http://127.0.0.1:9/v1#m", "Wer?"),
            "http://127.0.0.1:9/v1#m is an endpoint: its probabilities cannot be seen.",
        ),
        (("run:ember", " "), "The prompt is empty."),
        (("run:ember", "Wer?", " "), "The answer is empty."),
        (("run:embre", "Wer?"), "There is no run 'embre'."),
    ],
)
def test_what_is_refused(tf: Cli, client: FakeClient, trained: Run, words: tuple[str, ...], what: str) -> None:
    assert tf.error("logprobs", *words)["what"] == what
    assert not client.loaded


def test_an_answer_that_breaks_off_is_no_result(tf: Cli, client: FakeClient, trained: Run) -> None:
    client.breaks = "run:ember"
    assert tf.error("logprobs", "run:ember", "Wer?", code=1)["what"] == "The server went away."
