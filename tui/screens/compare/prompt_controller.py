"""Asking in Compare: send, stop, ask again, change the last prompt.
Turns keys into changes of engine.comparison.session; lanes_page.py draws them."""

from __future__ import annotations

import random
from collections.abc import Callable

from engine.inference.limits import LONGEST_PROMPT
from store.errors import TuningforkError
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage


class PromptController:
    """What is asked."""

    def __init__(self, host: CompareHost, conversation: Conversation, page: LanesPage) -> None:
        self._host, self._conversation, self._page = host, conversation, page

    def send(self, text: str) -> None:
        """Ask every lane, or replace the last prompt while it is being edited."""
        comparison, prompt = self._conversation.comparison, self._page.prompt
        try:
            if prompt.editing:
                comparison.edit_last(text)
            else:
                comparison.send(text)
        except TuningforkError as error:
            self._page.note(f"{error.what} {error.todo or ''}")  # a notice would cover what is being typed
            return
        self._page.unnote()
        prompt.remember(text)
        prompt.end_edit()
        self._page.follow()
        self._conversation.sync()

    def refuse_paste(self, characters: int) -> None:
        """Show that a paste was too long."""
        text = f"The paste has {characters:,} characters; a prompt has at most {LONGEST_PROMPT:,}."
        self._host.tuningfork.notify(text, title="Not pasted", severity="warning")

    def back(self) -> None:
        """Stop what streams; else leave a search or the editing of a prompt; else go between prompt and lanes."""
        comparison, page = self._conversation.comparison, self._page
        focused = page.panel_in_focus
        if comparison.busy:
            comparison.stop(view.lane_at(comparison, focused.position).name if focused else None)
            self._conversation.sync()
        elif page.asks_what_to_find or (page.finding and focused):
            page.end_find()
        elif page.prompt.editing:
            page.prompt.end_edit()
            page.draw()
        elif focused:
            page.prompt.focus()
        else:
            page.focus_front()

    def back_word(self) -> str | None:
        """What `back` does now, in a word."""
        if self._conversation.comparison.busy:
            return "Stop"
        if self._page.asks_what_to_find or (self._page.finding and self._page.panel_in_focus):
            return "End search"
        if self._page.prompt.editing:
            return "Leave"
        return "Prompt" if self._page.panel_in_focus else "Lanes"

    def badge(self) -> str:
        """Where letters go: text of the prompt, or keys that act on the lanes; n and N are other keys in a search."""
        if self._page.prompt.has_focus:
            return "EDIT" if self._page.prompt.editing else "PROMPT"
        return "FIND" if self._page.asks_what_to_find or self._page.finding else "LANES"

    def again(self) -> None:
        """Answer the last prompt again with the same seed."""
        self._attempt(self._conversation.comparison.regenerate)

    def reseed(self) -> None:
        """Answer the last prompt again with a new seed, the same one in every lane."""
        comparison = self._conversation.comparison
        if comparison.sampling.temperature == 0:
            self._host.tuningfork.notify(
                "At temperature 0 every seed gives the same answer. F7 changes the temperature.", severity="warning"
            )
            return
        self._attempt(lambda: comparison.regenerate(seed=random.getrandbits(31)))

    def edit(self) -> None:
        """Put the last prompt into the prompt area to be changed."""
        comparison, prompt = self._conversation.comparison, self._page.prompt
        if comparison.empty:
            self._page.note("There is no prompt to edit yet.")
            return
        prompt.begin_edit(comparison.turns[-1].prompt)
        prompt.focus()
        self._page.draw()

    def _attempt(self, change: Callable[[], object]) -> None:
        """Make a change and carry it out; a refusal is shown."""
        try:
            change()
        except TuningforkError as error:
            self._host.tuningfork.notify_error(error)
            return
        self._conversation.sync()
