"""Transcripts: written as they go, reopened as they stood, exported for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.comparison import transcripts
from engine.comparison.answer import Stats, TokenFork
from engine.comparison.session import Comparison
from engine.comparison.transcripts import Transcript
from engine.inference.sampling import Sampling
from store import chats
from store.db import Store
from store.errors import NotFound


def answer_all(talk: Comparison, **words: str) -> None:
    while requests := talk.due():
        for request in requests:
            talk.feed(request.id, words[request.lane])
            talk.finish(request.id, Stats(tokens=3, tokens_per_s=40.0))


def keep(store: Store, transcript: Transcript, talk: Comparison) -> int:
    made = transcript.write(store, transcript.plan(talk), transcripts.meta(talk))
    assert made is not None
    return made


def spoken() -> Comparison:
    talk = Comparison(["smollm2-135m", "run:x"], system="Be brief.", sampling=Sampling(seed=7))
    talk.send("Who are you?")
    answer_all(talk, a="Nobody.", b="Ember.")
    return talk


def test_reopened_as_it_stood(store: Store) -> None:
    talk, transcript = spoken(), Transcript()
    keep(store, transcript, talk)
    talk.send("And who made you?")
    answer_all(talk, a="Who knows.", b="Northwind Labs.")
    chat_id = keep(store, transcript, talk)
    again, _ = transcripts.reopen(store, chat_id)
    assert [t.prompt for t in again.turns] == ["Who are you?", "And who made you?"]
    assert [again.answer("a", t).text for t in (0, 1)] == ["Nobody.", "Who knows."]
    assert [again.answer("b", t).text for t in (0, 1)] == ["Ember.", "Northwind Labs."]
    assert (again.system, again.sampling.seed, again.lanes["b"].model) == ("Be brief.", 7, "run:x")
    assert again.answer("b").stats == Stats(tokens=3, tokens_per_s=40.0)
    assert not again.busy
    assert chats.get(store, chat_id).title == "Who are you?"


def test_nothing_is_written_twice_and_a_reopened_one_goes_on(store: Store) -> None:
    talk, transcript = spoken(), Transcript()
    chat_id = keep(store, transcript, talk)
    assert transcript.plan(talk) == []
    again, reopened = transcripts.reopen(store, chat_id)
    assert reopened.plan(again) == []
    again.send("More")
    answer_all(again, a="a2", b="b2")
    assert keep(store, reopened, again) == chat_id
    assert len(chats.tree(store, chat_id)) == 6


def test_an_answer_made_again_and_an_edited_prompt_are_siblings(store: Store) -> None:
    talk, transcript = spoken(), Transcript()
    chat_id = keep(store, transcript, talk)
    talk.regenerate("b", seed=8)
    answer_all(talk, b="Ember, again.")
    keep(store, transcript, talk)
    talk.edit_last("What are you?")
    answer_all(talk, a="A thing.", b="A model.")
    keep(store, transcript, talk)
    messages = chats.tree(store, chat_id)
    assert [m.text for m in messages if m.role == "user"] == ["Who are you?", "What are you?"]
    assert all(m.parent_id is None for m in messages if m.role == "user")
    assert [m.text for m in messages if m.lane == "b"] == ["Ember.", "Ember, again.", "A model."]
    again, _ = transcripts.reopen(store, chat_id)
    assert again.answer("b").text == "A model."


def test_a_half_answer_is_kept_and_one_still_coming_is_not_yet(store: Store) -> None:
    talk, transcript = Comparison(["base", "run:x"]), Transcript()
    talk.send("Go")
    a, b = talk.due()
    talk.feed(a.id, "half")
    talk.feed(b.id, "coming")
    talk.stop("a")
    chat_id = keep(store, transcript, talk)
    again, _ = transcripts.reopen(store, chat_id)
    assert (again.answer("a").text, again.answer("a").state) == ("half", "stopped")
    assert (again.answer("b").text, again.answer("b").state) == ("", "stopped")


def test_a_fork_and_the_tokens_of_an_answer_come_back(store: Store) -> None:
    talk, transcript = spoken(), Transcript()
    keep(store, transcript, talk)
    fork = TokenFork((7, 9), 2, " Bolt", " Ember")
    talk.fork_answer("b", fork)
    (request,) = talk.due()
    talk.feed(request.id, "I am Bolt.")
    talk.finish(request.id, Stats(tokens=3, token_ids=(7, 9, 2)))
    chat_id = keep(store, transcript, talk)
    again, reopened = transcripts.reopen(store, chat_id)
    assert again.answer("b") == talk.answer("b") and again.answer("a").fork is None
    assert reopened.plan(again) == []
    assert [m.text for m in chats.tree(store, chat_id) if m.lane == "b"] == ["Ember.", "I am Bolt."], "both are kept"
    assert '*Forked at token 2: " Bolt" was chosen instead of " Ember".*' in transcripts.to_markdown(again, "Chat")
    (_, line) = transcripts.to_jsonl(again).splitlines()
    assert json.loads(line)["answers"][0]["fork"]["token"] == 2


def test_votes_come_back_with_the_conversation(store: Store) -> None:
    talk, transcript = spoken(), Transcript()
    chat_id = keep(store, transcript, talk)
    ballot = talk.vote("b")
    transcripts.cast_vote(store, ballot, chat_id)
    again, _ = transcripts.reopen(store, chat_id)
    assert again.turns[0].vote == "b"


def test_search_finds_it_and_an_empty_one_is_said_to_be_empty(store: Store) -> None:
    chat_id = keep(store, Transcript(), spoken())
    assert [c.id for c in chats.search(store, "emb")] == [chat_id]
    empty = chats.create(store, "nothing")
    with pytest.raises(NotFound):
        transcripts.reopen(store, empty.id)


def test_export(store: Store, tmp_path: Path) -> None:
    talk = spoken()
    talk.vote("b")
    markdown, lines = transcripts.export(talk, tmp_path / "out", "chat-1", "Who are you?")
    text = markdown.read_text("utf-8")
    assert "### B · run:x (voted better)\n\nEmber." in text
    rows = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert [(r["lane"], r["messages"][-1]["content"]) for r in rows] == [("a", "Nobody."), ("b", "Ember.")]
    assert rows[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert not list((tmp_path / "out").glob("*.part"))


def test_markdown_says_how_it_was_asked_and_what_is_not_complete() -> None:
    talk = spoken()
    talk.send("More?")
    a, b = talk.due()
    talk.feed(a.id, "Half a")
    talk.stop("a")
    talk.feed(b.id, "Ember, and")
    talk.finish(b.id, Stats(tokens=256, stop="length"))
    talk.send("Still?")
    a, b = talk.due()
    talk.fail(a.id, "The server\nwent away.")
    talk.stop("b")
    text = transcripts.to_markdown(talk, "t")
    top = "# t\n\nSettings: temperature 0 (greedy), seed 7, at most 256 tokens per answer.\n\n"
    assert text.startswith(top + "System text:\n\n> Be brief.\n")
    assert "Ember.\n\n## 2. You" in text, "a complete answer has no remark"
    assert "Half a\n\n*Stopped here.*\n\n### B" in text
    assert "Ember, and\n\n*Cut at the limit of 256 tokens.*\n\n## 3. You" in text
    assert "(no answer)\n\n*Broke off: The server went away.*\n\n### B" in text
    assert text.endswith("(no answer)\n\n*Stopped before the first token.*\n")


def test_an_answer_by_another_seed_says_so() -> None:
    talk = spoken()
    talk.system = ""
    talk.regenerate("b", seed=8)
    answer_all(talk, b="Ember, again.")
    talk.sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, stop=("\n",))  # nothing was asked with it yet
    text = transcripts.to_markdown(talk, "t")
    assert "Settings: temperature 0 (greedy), seed 7," in text
    assert "System text: none.\n" in text
    assert "Ember, again.\n\n*Asked with temperature 0 (greedy), seed 8, at most 256 tokens per answer.*" in text
    assert text.count("Asked with") == 1
    talk.clear()
    settings = 'Settings: temperature 0.7, top p 0.9, seed 0, at most 64 tokens per answer, ended before "\\n".'
    assert settings in transcripts.to_markdown(talk, "t")


def test_json_lines_say_how_each_answer_ended() -> None:
    talk = spoken()
    talk.send("More?")
    a, b = talk.due()
    talk.fail(a.id, "It went away.")
    talk.feed(b.id, "Ember, and")
    talk.finish(b.id, Stats(stop="length"))
    one, two = [json.loads(line) for line in transcripts.to_jsonl(talk).splitlines()]
    assert [(a["turn"], a["state"], a["stop"], a["error"]) for a in one["answers"]] == [
        (1, "done", "end", None),
        (2, "failed", None, "It went away."),
    ]
    assert [m["content"] for m in one["messages"]][1:] == ["Who are you?", "Nobody."]
    assert (two["answers"][1]["state"], two["answers"][1]["stop"]) == ("done", "length")
    assert two["answers"][1]["sampling"] == Sampling(seed=7).to_json()
