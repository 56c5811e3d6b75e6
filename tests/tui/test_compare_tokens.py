"""Why this word? The tokens of an answer in Compare: marks, figures, alternatives, forks; with keys only."""

from __future__ import annotations

import doctest
from types import ModuleType
from typing import Any

import pytest
from rich.cells import cell_len

from engine.comparison.answer import LaneAnswer
from engine.inference.client import Done
from store.db import Store
from store.errors import Unsupported
from tests.tui.comparing import BASE, PIECES, TUNED, WORDS, answered, ask, screen, tokens_of
from tests.tui.conftest import Driver
from tests.tui.scripted import ScriptedClient, by_model
from tui import token_words
from tui.screens.compare import token_layout
from tui.screens.compare.token_layout import lay_out, place_of, token_at
from tui.screens.compare.token_lines import TokenLines


@pytest.fixture
def tokens(client: ScriptedClient) -> ScriptedClient:
    """The client, with answers whose tokens are known."""
    ids = tuple(range(10, 10 + len(PIECES)))
    client.script = by_model({BASE: WORDS[BASE], TUNED: [*WORDS[TUNED], Done("", tokens=9, token_ids=ids)]})  # type: ignore[arg-type]
    client.compared = tokens_of()
    return client


async def at_tuned(app: Driver) -> None:
    """Ask something, and go to the tuned lane."""
    await ask(app, "Who are you?")
    await answered(app)
    await app.press("escape", "right")


def lines(app: Driver) -> TokenLines:
    return app.app.screen.query_one(TokenLines)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_each_token_has_a_mark_and_figures(comparing: Any, tokens: ScriptedClient, size: tuple[int, int]) -> None:
    async with comparing(size) as app:
        await at_tuned(app)
        await app.press("T")
        await app.see_page("TokenView")
        await app.see("ember-1 beside smollm2-135m", "difference", "(9 tokens)", "+ twice, ++ ten, +++ a hundred times")
        (asked,) = tokens.compare_asked
        assert asked["model"] == TUNED and asked["token_ids"] == tuple(range(10, 19)) and asked["ended"]
        assert asked["messages"] == [
            {"role": "user", "content": "Who are you?"},
            {"role": "assistant", "content": "I am Ember, made by Northwind Labs."},
        ]
        rows = app.text.splitlines()
        at = next(n for n, row in enumerate(rows) if "I am Ember, made by Northwind 巴↵" in row)
        text, marks = rows[at], rows[at + 1]
        assert marks[text.index(" Ember") :].startswith("+++") and marks[text.index(", made") :].startswith("++ ")
        assert marks[: text.index(" Ember")].strip() == "", "what did not change has no mark"
        assert "\x1b" not in app.text
        await app.see('" Ember"  token 2 of 9', "tuned 80.0%", "base 0.01%", "8,000 times as likely after tuning")
        assert [row.count("▸") for row in app.text.splitlines() if "▸" in row] == [1, 1]
        await app.see('" Bolt"', "5.0%", '" a"', "31.0%")


async def test_the_cursor_goes_from_token_to_token(comparing: Any, tokens: ScriptedClient) -> None:
    async with comparing() as app:
        await at_tuned(app)
        await app.press("T")
        await app.see('" Ember"  token 2 of 9')
        await app.press("right")
        await app.see('", made by Northwind"  token 3 of 9')
        await app.press("end")
        await app.see('"."  token 9 of 9', "about as likely after tuning")
        await app.press("left")
        await app.see("token 8 of 9", "900 times less likely after tuning")
        assert "\\u001b" in app.text or "[31m" in app.text, "what would vanish is spelled"
        await app.press("home")
        await app.see('"I am"  token 1 of 9')
        for text in (" Ember", ", made by Northwind", "[31m", " Ember"):
            await app.press("n")
            await app.until(lambda text=text: text in _under(app))
        await app.press("N")
        await app.until(lambda: "[31m" in _under(app))
        await app.press("k")
        await app.until(lambda: "I am" in _under(app))
        await app.press("j")
        await app.until(lambda: "[31m" in _under(app))


def _under(app: Driver) -> str:
    view = lines(app)
    return view._spans[view.cursor].text


async def test_the_bytes_of_a_character_are_one_token(comparing: Any, tokens: ScriptedClient) -> None:
    async with comparing() as app:
        await at_tuned(app)
        await app.press("T", "home", *["right"] * 4)
        await app.see('"巴"  tokens 5 to 6, together of 9', "tuned 12.5%", "base 5.0%", "2.5 times as likely")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"COLORTERM": "", "TERM": "xterm"}], ids=["none", "16"])
async def test_the_marks_are_there_without_colours(
    comparing: Any, tokens: ScriptedClient, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with comparing() as app:
        await at_tuned(app)
        await app.press("T")
        await app.see("+++", "---", "++ ")


async def test_leaving_cancels_and_an_error_is_shown(comparing: Any, tokens: ScriptedClient) -> None:
    async with comparing() as app:
        await at_tuned(app)
        tokens.gate.clear()
        await app.press("T")
        await app.see("Both models read the answer: 100 of 200 tokens", "Esc Cancel")
        await app.press("f")
        assert app.page == "TokenView", "there is nothing to fork yet"
        await app.press("escape")
        await app.see_page("CompareScreen")
        await app.until(lambda: tokens.cancelled == 1)
        tokens.gate.set()
        tokens.compared = Unsupported("The run's tokenizer is not its base's: token 3 differs.", todo="Look at it.")
        await app.press("T")
        await app.until(lambda: any("tokenizer is not its base's" in notice for notice in app.notices))
        await app.see_page("CompareScreen")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (BASE, "smollm2-135m is not tuned: there is no base to compare it with."),
        ("/tmp/x.gguf", "x.gguf is a file: it does not say which base it was tuned from."),
        ("http://127.0.0.1:1/v1#m", "is an endpoint: its probabilities cannot be seen."),
    ],
)
async def test_what_has_no_base_is_refused_in_a_sentence(
    comparing: Any, tokens: ScriptedClient, model: str, why: str
) -> None:
    async with comparing((160, 36), model, TUNED) as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "T")
        await app.see(why)
        assert not tokens.compare_asked


async def test_nothing_is_computed_while_an_answer_streams_or_sides_are_hidden(
    comparing: Any, tokens: ScriptedClient
) -> None:
    async with comparing() as app:
        tokens.gate.clear()
        await ask(app, "Hi")
        await app.press("tab", "right", "T")
        await app.see("look at its tokens when it has ended")
        tokens.gate.set()
        await answered(app)
        await app.press("b", "i")
        await ask(app, "Blind now")
        await answered(app)
        await app.press("escape", "T")
        await app.see("The sides are hidden: vote first")
        assert not tokens.compare_asked


async def test_a_fork_continues_with_another_token(comparing: Any, tokens: ScriptedClient, store: Store) -> None:
    async with comparing((160, 40)) as app:
        await at_tuned(app)
        await app.press("2")
        await app.see("You voted: B.")
        await app.press("T")
        await app.see('" Ember"  token 2 of 9')
        tokens.script = by_model({TUNED: ["I am Bolt", ", a lamp."]})
        await app.press("f")
        await app.see(
            'Continue with which token instead of " Ember"?', '" Bolt"', "tuned 5.0% · base 5.0%", "base 31.0%"
        )
        await app.type("bolt")
        await app.press("enter")
        await app.see("I am Bolt, a lamp.", 'forked at token 2: " Bolt" was chosen instead of " Ember"')
        assert tokens.prefixes[-1] == (10, 90) and len(tokens.asked) == 3
        model, messages, sampling = tokens.asked[-1]
        assert (model, messages) == (TUNED, [{"role": "user", "content": "Who are you?"}])
        assert sampling == tokens.asked[1][2]
        answer = screen(app).comparison.answer("b")
        assert answer.fork is not None and answer.text == "I am Bolt, a lamp."
        assert screen(app).comparison.turns[-1].vote is None
        assert screen(app).comparison.answer("a").text == "I am a base model.", "the other lane stays"
        await app.press("2")
        await app.until(lambda: any("An answer was forked" in notice for notice in app.notices))
        assert screen(app).keeping.draft().source["forked"] == 2  # type: ignore[union-attr]
        # again from the start: the model's own answer
        await app.press("ctrl+r")
        await answered(app)
        assert screen(app).comparison.answer("b").fork is None and tokens.prefixes[-1] == ()


async def test_an_earlier_answer_cannot_be_forked(comparing: Any, tokens: ScriptedClient) -> None:
    async with comparing() as app:
        await at_tuned(app)
        await app.press("i")
        tokens.script = by_model({BASE: ["Yes."], TUNED: [""]})
        await ask(app, "And?")
        await answered(app)
        await app.press("escape", "T")
        await app.see('" Ember"  token 2 of 9')
        await app.press("f")
        await app.until(lambda: any("Only the answer to the last prompt can be forked" in each for each in app.notices))
        assert app.page == "TokenView"


async def test_what_is_guessed_is_said(comparing: Any, tokens: ScriptedClient) -> None:
    tokens.compared = tokens_of(sampled=False, dropped_turns=4, forkable=False)
    async with comparing() as app:
        await at_tuned(app)
        answer: LaneAnswer = screen(app).comparison.answer("b")
        answer.state, answer.stats = "stopped", None
        await app.press("T")
        await app.see("which ones were sampled is not known", "4 earlier messages did not fit the context")
        assert tokens.compare_asked[-1]["token_ids"] == () and not tokens.compare_asked[-1]["ended"]
        await app.press("f")
        await app.until(lambda: any("shows this answer otherwise" in notice for notice in app.notices))


@pytest.mark.parametrize("module", [token_layout, token_words])
def test_the_examples_are_right(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 1 and found.failed == 0


# -- where tokens stand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 10, 33])
def test_lines_hold_every_token_and_no_line_is_too_long(width: int) -> None:
    texts = [
        "Go",
        " to",
        " the",
        " Donaudampfschifffahrts",
        "gesellschaft",
        "\n\n",
        "巴黎",
        "的",
        "x\ty",
        "",
        "\x07",
        "🚀",
    ]
    made = lay_out(texts, width)
    assert all(sum(placed.cells for placed in line) <= width for line in made)
    assert all(placed.x == sum(before.cells for before in line[:n]) for line in made for n, placed in enumerate(line))
    assert {placed.token for line in made for placed in line} == set(range(len(texts)))
    said = "".join(placed.text for line in made for placed in line)
    assert said == "Go to the Donaudampfschifffahrtsgesellschaft↵↵巴黎的x    y·\\u0007🚀"
    for token in range(len(texts)):
        line, x = place_of(made, token)
        assert token_at(made, line, x) == token


def test_a_line_ends_between_words_and_beside_wide_characters() -> None:
    made = lay_out(["Who", " made", " y", "ou", "?", " 我", "们"], 12)
    assert [[placed.text for placed in line] for line in made] == [["Who", " made"], [" y", "ou", "?", " 我", "们"]]
    assert cell_len(" you? 我们") == 10
    assert lay_out([], 10) == [[]]
    assert token_at([[]], 0, 3) is None
