"""Finds an earlier conversation by its words.
Lists what the store has; engine.comparison.transcripts opens it again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from store import chats
from store.records import Chat, ChatMessage
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.compare.rendering import title
from tui.screens.dialogs.confirm import Confirm
from tui.text import clean, fit, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.in_order import Field

_PAUSE_S = 0.1
_MOST_MESSAGES = 40
_MOST_CHARACTERS = 1_500


class Chats(PageScreen[int]):
    """The id of the chosen chat, or None."""

    PAGE = "chats"
    CSS_PATH = "conversations.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.CHATS)

    def __init__(self) -> None:
        super().__init__()
        self._chats: list[Chat] = []

    def compose_body(self) -> ComposeResult:
        yield Field(placeholder="Search prompts and answers", compact=True)
        with Vertical(id="found"):
            yield OptionList(compact=True, markup=False)
            with VerticalScroll(id="preview", can_focus=False):
                yield Static(markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.look("")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.look(event.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.query_one(OptionList).focus()

    @work(group="look", exclusive=True)
    @show_errors
    async def look(self, text: str) -> None:
        """List the conversations that contain every typed word."""
        self._chats = await self.tuningfork.bridge.call(chats.search, text)
        self._draw()
        empty = self.query_one(EmptyState)
        empty.display = not self._chats
        self.query_one("#found").display = bool(self._chats)
        empty.say(
            "No conversation contains these words." if text.strip() else "There are no conversations yet.",
            [("Esc", "go back")],
        )

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self._chats:
            self._draw()

    def _draw(self) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(self._row(chat)) for chat in self._chats])
        options.highlighted = min(at, len(self._chats) - 1) if self._chats else None

    def _row(self, chat: Chat) -> Content:
        width, age = self.size.width - 4, formatting.ago(chat.updated_at)
        models = _models([title(model) for model in chat.meta.get("lanes", {}).values()], width // 2 - len(age) - 2)
        note = f"{models}  {age}"
        return Content.assemble(fit(chat.title, max(8, width - cell_len(note) - 2)), "  ", (note, "$faint"))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._preview(self._chats[event.option_index].id)

    @work(group="preview", exclusive=True)
    @show_errors
    async def _preview(self, chat_id: int) -> None:
        """Show how the conversation went, soon: a list that is run through reads no conversation on the way."""
        await asyncio.sleep(_PAUSE_S)
        messages = await self.tuningfork.bridge.call(chats.tree, chat_id)
        self.query_one("#preview Static", Static).update(_as_text(messages))
        self.query_one("#preview").scroll_home(animate=False)

    def action_scroll_preview(self, pages: int) -> None:
        """Read on in the preview."""
        preview = self.query_one("#preview")
        preview.scroll_relative(y=pages * max(1, preview.size.height - 2), animate=False)

    def action_first(self) -> None:
        self.query_one(OptionList).action_first()

    def action_last(self) -> None:
        self.query_one(OptionList).action_last()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._chats[event.option_index].id)

    def action_search(self) -> None:
        self.query_one(Input).focus()

    @work(group="remove", exclusive=True)
    @show_errors
    async def action_remove(self) -> None:
        """Remove the conversation under the cursor, after asking."""
        at = self.query_one(OptionList).highlighted
        if at is None or not self._chats:
            return
        chat = self._chats[at]
        sure = Confirm(
            "Remove this conversation?",
            f"“{one_line(chat.title, 60)}” is deleted; votes cast in it stay.",
            "Remove",
        )
        if await self.app.push_screen_wait(sure):
            await self.tuningfork.bridge.call(chats.remove, chat.id)
            self.look(self.query_one(Input).value)

    def action_back(self) -> None:
        search = self.query_one(Input)
        if search.value:
            search.value = ""
            self.query_one(OptionList).focus()
        else:
            self.dismiss(None)


def _as_text(messages: Sequence[ChatMessage]) -> Content:
    """Prompts and answers in the order in which they were written; long ones are cut, and so are long conversations."""
    out = Content("")
    for message in messages[:_MOST_MESSAGES]:
        text = clean(message.text).strip()
        text = text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " …"
        if message.role == "user":
            out += Content.assemble(("▌ ", "$accent"), (text, "bold"), "\n")
        elif message.role == "assistant":
            out += Content.assemble((f"{title(message.model or '')}  ", "$faint"), text or "(no answer)", "\n\n")
    left = len(messages) - _MOST_MESSAGES
    return out + Content.styled(f"and {formatting.count(left, 'more message')}", "$faint") if left > 0 else out


def _models(names: Sequence[str], width: int) -> str:
    """As many names as fit into `width`, the rest counted: `smollm2-135m + 3 more`. The first may be cut."""
    for shown in range(len(names), 1, -1):
        rest = f" + {len(names) - shown} more" if shown < len(names) else ""
        line = one_line(" | ".join(names[:shown]), 10_000) + rest
        if cell_len(line) <= width:
            return line
    rest = f" + {len(names) - 1} more" if len(names) > 1 else ""
    return one_line(names[0], width - len(rest)) + rest if names else ""
