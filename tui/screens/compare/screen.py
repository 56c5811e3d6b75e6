"""Compare: models answer the same prompt side by side, and you vote for the better answer.
Puts the page and its controllers together; each action goes to the controller whose subject it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import ScreenResume

from engine.comparison.session import Comparison, LaneRequest
from engine.comparison.stream_runner import ChatClient
from tui import keys
from tui.screens.base import ModeScreen, show_errors
from tui.screens.compare import key_words
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.history_controller import HistoryController
from tui.screens.compare.keep_controller import KeepController
from tui.screens.compare.lane_check_controller import LaneCheckController, LaneChecks
from tui.screens.compare.lane_controller import LaneController
from tui.screens.compare.lane_panel import Heading
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.compare.live_controller import LiveController
from tui.screens.compare.prompt import PromptArea
from tui.screens.compare.prompt_controller import PromptController
from tui.screens.compare.prompt_set_controller import PromptSetController
from tui.screens.compare.taught_controller import TaughtController
from tui.screens.compare.token_controller import TokenController
from tui.screens.compare.vote_controller import VoteController, VoteSide
from tui.screens.compare.vote_flow_controller import VoteFlowController

_BETWEEN_LANES = frozenset(("swap", "diff", "vote", "vote_set", "drop_lane", "blind", "keep_over"))
_ABOUT_A_TURN = frozenset(
    (
        "again", "reseed", "edit", "keep", "keep_over", "question", "correct", "copy", "copy_more",
        "find", "fork", "transcript", "tokens", "taught",
    )
)  # fmt: skip


class CompareScreen(ModeScreen):
    """Holds a conversation, the page that shows it, and the controllers that change it."""

    MODE = "compare"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.COMPARE)

    def __init__(self) -> None:
        super().__init__()
        self.conversation = conversation = Conversation(
            self, self._connect, on_sync=self._synced, on_piece=self._piece_came, on_answer=self._answer_ended
        )
        found = LaneChecks(conversation)
        self.page = page = LanesPage(conversation, found.result)
        self.checks = LaneCheckController(self, conversation, page, found)
        self.lanes = LaneController(self, conversation, page)
        self.live = LiveController(self, conversation, page, self.lanes)
        self.prompts = PromptController(self, conversation, page)
        self.prompt_sets = PromptSetController(self, conversation, self._connect)
        self.history = HistoryController(self, conversation, page, self.lanes)
        self.tokens = TokenController(self, conversation, page)
        self.taught = TaughtController(self, conversation, page)
        self.votes = VoteController(self, conversation, page, self.checks)
        self.flow = VoteFlowController(self, conversation, page, self.lanes, self.prompt_sets, self.votes)
        page.progress = lambda: f"{self.flow.progress}, {self.flow.left} left" if self.flow.on else ""
        self.keeping = KeepController(self, conversation, page, lambda text: self.app.copy_to_clipboard(text))

    def compose_body(self) -> ComposeResult:
        yield self.page

    def on_mount(self) -> None:
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.live.runs_changed())
        self.page.prompt.focus()

    async def on_unmount(self) -> None:
        await self.conversation.close()

    @property
    def comparison(self) -> Comparison:
        """What is compared now."""
        return self.conversation.comparison

    async def open_with(self, *models: str) -> None:
        """A new conversation with these lanes; the one before stays in the store."""
        await self.lanes.open_with(*models)
        self.page.prompt.focus()

    # -- what the controllers are given -------------------------------------------------------------------------------

    def run_soon(self, work: Callable[[], Awaitable[object]], group: str, *, exclusive: bool = True) -> None:
        """Await the work in a worker of this screen; see CompareHost."""
        self.run_worker(partial(self._shown, work), group=group, exclusive=exclusive)

    @show_errors
    async def _shown(self, work: Callable[[], Awaitable[object]]) -> None:
        """Await the work, and show what goes wrong."""
        await work()

    async def _connect(self) -> ChatClient:
        from engine.inference.client import Client  # httpx costs 0.1 s: not before it is needed

        return await Client.connect(self.tuningfork.store.home)

    def _synced(self) -> None:
        self.page.draw()
        self.refresh_bindings()

    def _piece_came(self, request: LaneRequest) -> None:
        self.page.redraw_turn_soon(request.turn)

    def _answer_ended(self, request: LaneRequest) -> None:
        self.page.redraw_soon()  # also what waited behind an answer that failed
        if not self.comparison.busy:
            self.refresh_bindings()
            self.checks.check_soon()

    # -- events -------------------------------------------------------------------------------------------------------

    @on(ScreenResume)
    def _resumed(self) -> None:
        self.lanes.choose_soon()

    @on(PromptArea.Sent)
    def _sent(self, event: PromptArea.Sent) -> None:
        self.prompts.send(event.text)

    @on(PromptArea.TooLong)
    def _too_long(self, event: PromptArea.TooLong) -> None:
        self.prompts.refuse_paste(event.characters)

    @on(Heading.Chosen)
    def _heading_clicked(self, event: Heading.Chosen) -> None:
        self._change_model(event.position)

    def back_word(self) -> str | None:
        return "End set" if self._leaves_set else self.prompts.back_word()

    def badge(self) -> str:
        return " · ".join(filter(None, (self.prompts.badge(), self.flow.progress)))

    def working(self) -> str:
        return "answering" if self.comparison.busy else ""

    def key_word(self, id: str) -> str | None:
        if id == "prompt.lanes":  # Escape goes there too, but for while it stops answers
            return None if self.comparison.busy else ""
        if self.flow.on and id == "compare.new":
            return "Skip"
        if self.flow.can_go_back and id == "compare.unvote":
            return None
        if id == "prompt.send" and self.page.prompt.editing:
            return "Replace"
        return key_words.word(id, self.comparison, self.page.position)

    def can_act(self, action: str) -> bool:
        """Keys that have nothing to act on are not offered."""
        if action == "match":  # n and N are other keys while there is no search
            return self.page.finding
        if action in _BETWEEN_LANES and len(self.comparison.lanes) < 2:
            return False
        if action in _ABOUT_A_TURN:
            return not self.comparison.empty
        return True

    # -- actions: asking ----------------------------------------------------------------------------------------------

    @property
    def _leaves_set(self) -> bool:
        """Whether Escape ends voting through a set: a search and an edit within it end first."""
        page = self.page
        return self.flow.on and not (page.asks_what_to_find or page.finding or page.prompt.editing)

    def action_back(self) -> None:
        if self._leaves_set:
            self.flow.end()
            self.refresh_bindings()
        else:
            self.prompts.back()

    def action_again(self) -> None:
        self.prompts.again()

    def action_reseed(self) -> None:
        self.prompts.reseed()

    def action_edit(self) -> None:
        self.prompts.edit()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_prompts(self) -> None:
        await self.prompt_sets.ask_set()

    # -- actions: reading ---------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        self.page.open_find()

    def action_match(self, step: int) -> None:
        self.page.match(step)

    def action_link(self) -> None:
        self.page.toggle_link()

    # -- actions: lanes -----------------------------------------------------------------------------------------------

    def action_swap(self, step: int = 1) -> None:
        self.page.swap(step)

    def action_prompt(self) -> None:
        self.page.prompt.focus()

    def action_lanes(self) -> None:
        self.page.focus_front()

    def action_markdown(self) -> None:
        self.page.toggle_markdown()

    def action_blind(self) -> None:
        self.lanes.toggle_blind()

    def action_model(self) -> None:
        self._change_model(self.page.position)

    @work(group="dialog", exclusive=True)
    @show_errors
    async def _change_model(self, position: int) -> None:
        await self.lanes.change_model(position)

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_add_lane(self) -> None:
        await self.lanes.add()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_few_shot(self) -> None:
        await self.lanes.add_few_shot()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_drop_lane(self) -> None:
        await self.lanes.drop()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_settings(self) -> None:
        await self.lanes.change_settings()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_lane_check(self) -> None:
        """Measure every lane and show the numbers."""
        from tui.screens.compare.lane_check_dialog import LaneCheckDialog

        found = await self.checks.check()
        if found is not None and self.is_active:  # it took seconds: the user may be elsewhere by now
            self.app.push_screen(LaneCheckDialog(found))

    # -- actions: votes -----------------------------------------------------------------------------------------------

    @work(group="vote")
    @show_errors
    async def action_vote(self, side: VoteSide) -> None:
        await self.votes.vote(side)
        await self.flow.vote_cast()
        self.refresh_bindings()

    @work(group="vote")
    @show_errors
    async def action_unvote(self) -> None:
        if self.flow.can_go_back and self.comparison.turns[0].vote is None:
            await self.flow.undo()
        else:
            await self.votes.undo()
        self.refresh_bindings()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_vote_set(self) -> None:
        await self.flow.start()
        self.refresh_bindings()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_votes(self) -> None:
        await self.votes.list_votes()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_diff(self) -> None:
        """What differs between the first answer of the last turn and the one in front."""
        from tui.screens.compare.diff import Diff

        comparison = self.comparison
        if comparison.empty or len(comparison.lanes) < 2:
            self.page.note("There are no two answers to compare yet.")
            return
        await self.app.push_screen_wait(Diff(*view.diff(comparison, self.page.position)))

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_tokens(self) -> None:
        await self.tokens.show()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_taught(self) -> None:
        await self.taught.show()

    # -- actions: keeping ---------------------------------------------------------------------------------------------

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_keep(self) -> None:
        await self.keeping.keep()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_keep_over(self) -> None:
        await self.keeping.keep_over()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_question(self) -> None:
        await self.keeping.keep_question()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_correct(self) -> None:
        await self.keeping.correct()

    @work(group="copy")
    @show_errors
    async def action_copy(self) -> None:
        await self.keeping.copy(self.get_selected_text())

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_copy_more(self) -> None:
        await self.keeping.copy_more()

    # -- actions: conversations ---------------------------------------------------------------------------------------

    async def action_new(self) -> None:
        if self.flow.on:
            await self.flow.skip()
        else:
            await self.history.new()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_chats(self) -> None:
        await self.history.open()

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_fork(self) -> None:
        await self.history.fork()

    @work(group="copy")
    @show_errors
    async def action_transcript(self) -> None:
        await self.history.write_transcript()
