"""Why this word? Compares the tokens of the last answer under the tuned model and its base, and forks the answer.
The chat server computes; nothing happens before the key is pressed."""

from __future__ import annotations

from typing import Any

from engine.inference.token_comparison import TokenComparison
from engine.models.refs import Ref
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.compare.token_view import TOP, Heard, TokenView
from tui.token_words import quoted


class TokenController:
    """The tokens of an answer."""

    def __init__(self, host: CompareHost, conversation: Conversation, page: LanesPage) -> None:
        self._host, self._conversation, self._page = host, conversation, page

    async def show(self) -> None:
        """Show the tokens of the last answer of the lane in front; fork it where the user chooses another token."""
        conversation, comparison = self._conversation, self._conversation.comparison
        found = self._page.answer_in_front("look at its tokens")
        if found is None:
            return
        name, turn, answer = found
        why = _no_base(answer.model, examples=comparison.lanes[name].few_shot is not None)
        if why:
            self._page.note(why)
            return
        messages = [*comparison.history(name, turn), {"role": "assistant", "content": answer.text}]
        ids = answer.stats.token_ids if answer.stats else ()

        async def compare(heard: Heard) -> TokenComparison:
            client: Any = await conversation.client()
            compared: TokenComparison = await client.tokens(
                answer.model, messages, token_ids=ids, ended=answer.whole, sampling=answer.sampling, top=TOP,
                on_progress=heard,
            )  # fmt: skip
            return compared

        last = turn == len(comparison.turns) - 1
        fixed = "" if last else "Only the answer to the last prompt can be forked; f continues from an earlier turn."
        fork = await self._host.tuningfork.push_screen_wait(TokenView(compare, fixed))
        if fork is None or conversation.comparison is not comparison:
            return
        comparison.fork_answer(name, fork)
        self._page.follow()
        conversation.sync()
        self._page.note(f"Forked at token {fork.token}: {quoted(fork.chosen)} instead of {quoted(fork.instead_of)}.")


def _no_base(model: str, *, examples: bool) -> str:
    """Why the tokens of an answer of this model cannot be compared, in a sentence; empty where they may be."""
    ref = Ref.read(model)
    if examples:
        return "This lane is a base that reads examples: it is not tuned. Go to a tuned lane."
    if ref.is_endpoint:
        return f"{view.title(model)} is an endpoint: its probabilities cannot be seen."
    if ref.is_file:
        return f"{view.title(model)} is a file: it does not say which base it was tuned from. Choose its run with m."
    if not ref.is_run and ref.kind != "folder":  # an adapter's folder is tuned, which the server finds out
        return f"{view.title(model)} is not tuned: there is no base to compare it with. Go to a tuned lane."
    return ""
