"""The models that have a name here: add one, prepare it, remove it from the list.
The list is engine.models.listed_models's, as for `tuningfork models`."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from engine.core.child import ChildStopped
from engine.models import listed_models
from engine.models.listed_models import ListedModel
from store.errors import TuningforkError
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.dialogs.ask import Ask
from tui.screens.dialogs.confirm import Confirm
from tui.text import clean, fit, one_line
from tui.widgets.line_list import LineList

_SIGN = {"ready": ("✓", "$success"), "to prepare": ("…", "$faint"), "remote": ("↗", "$accent")}
_ASK = (
    "A folder, a .gguf file, org/name on the Hugging Face hub, or http://host:port/v1#model. A model of the hub is "
    "downloaded, and weights are prepared for training."
)
_CONTINUES = "The next try continues where this one stopped."


class ModelsPage(PageScreen[None]):
    """The list, and below it the model under the cursor, or how far preparing is."""

    PAGE = "models"
    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.MODELS)

    def __init__(self) -> None:
        super().__init__()
        self._models: list[ListedModel] = []
        self._preparing = ""
        """The reference that is being prepared."""
        self._line, self._since, self._stop = "", 0.0, False

    def compose_body(self) -> ComposeResult:
        yield Static("Models", id="models-title", markup=False)
        yield LineList(id="models")
        yield Static(id="model-about", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineList).focus()
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.reload())
        self.set_interval(1.0, self._about)
        self.reload()

    def on_resize(self) -> None:
        self._draw()

    def on_unmount(self) -> None:
        self._stop = True

    # -- the list -----------------------------------------------------------------------------------------------------

    @work(group="models", exclusive=True)
    async def reload(self, to: str = "") -> None:
        """Read the list again, and go to a model of it."""
        self._models = await self.tuningfork.bridge.call(listed_models.listed)
        self._draw(to)

    def _draw(self, to: str = "") -> None:
        listed, width = self.query_one(LineList), self.size.width - 6
        to = to or (self.current.ref if self.current else "")
        longest = max((cell_len(model.ref) for model in self._models), default=0)
        ref = max(10, min(longest, width // 2))
        listed.clear_options()
        listed.add_options([Option(_drawn(model, ref, width)) for model in self._models])
        refs = [model.ref for model in self._models]
        if refs:
            listed.highlighted = refs.index(to) if to in refs else 0
        self.query_one("#models-title", Static).update(
            Content.styled(formatting.count(len(refs), "model") + ". Runs are models too, by their names.", "bold")
        )
        self._about()

    @property
    def current(self) -> ListedModel | None:
        """The model under the cursor."""
        at = self.query_one(LineList).highlighted
        return self._models[at] if at is not None and at < len(self._models) else None

    @on(LineList.OptionHighlighted)
    def _moved(self) -> None:
        self._about()
        self.refresh_bindings()

    def _about(self) -> None:
        about, model = self.query_one("#model-about", Static), self.current
        if self._preparing:
            took = formatting.duration(time.monotonic() - self._since)
            head = f"Preparing {self._preparing}, {took}"
            about.update(Content.styled(clean(head), "bold") + "\n" + clean(self._line or "Starting …"))
        elif model is not None:
            words = [clean(model.about), *(clean(place) for place in (model.path, model.adapter) if place)]
            if model.state == "to prepare":
                words.append("Enter prepares it, for training and chat; a first run does so, too.")
            about.update(Content.styled(clean(model.ref), "bold") + "\n" + "\n".join(words))

    # -- keys ---------------------------------------------------------------------------------------------------------

    def can_act(self, action: str) -> bool:
        match action:
            case "stop":
                return bool(self._preparing)
            case "new":
                return not self._preparing
            case "remove":
                return self.current is not None and self.current.added and not self._preparing
        return True

    def key_word(self, id: str) -> str | None:
        if id == "lines.open":
            can = self.current is not None and self.current.state == "to prepare" and not self._preparing
            return "Prepare" if can else ""
        return super().key_word(id)

    def working(self) -> str:
        return "preparing" if self._preparing else ""

    def quit_notice(self) -> str | None:
        return f"Preparing {self._preparing} stops. {_CONTINUES}" if self._preparing else None

    @work(group="dialog", exclusive=True)
    async def action_new(self) -> None:
        """Ask for a model, and add it."""
        ref = await self.app.push_screen_wait(Ask("Add a model", _ASK, verb="Add"))
        if ref:
            self._add(ref)

    @on(LineList.OptionSelected)
    def _entered(self) -> None:
        if self.key_word("lines.open") and self.current is not None:
            self._add(self.current.ref)

    @work(group="add")
    async def _add(self, ref: str) -> None:
        if self._preparing:
            return
        self._preparing, self._line, self._since, self._stop = ref, "", time.monotonic(), False
        self._about()
        self.refresh_bindings()
        try:
            model, notes = await self.tuningfork.bridge.job(listed_models.add, ref, self._heard, lambda: self._stop)
        except ChildStopped:
            self.tuningfork.notify(f"Stopped. {_CONTINUES}")
            return
        except TuningforkError as error:
            self.tuningfork.show_error(error, "The model was not added")
            return
        finally:
            self._preparing = ""
            if self.is_mounted:
                self._about()
                self.refresh_bindings()
        self.tuningfork.notify(f"{model.ref} was added." if model.state == "remote" else f"{model.ref} is ready.")
        for note in notes:
            self.tuningfork.notify(note, severity="warning")
        self.reload(model.ref)

    def _heard(self, line: str) -> None:
        """Keep what the process says; called from a thread."""
        self._line = line

    def action_stop(self) -> None:
        """End preparing."""
        self._stop = True

    @work(group="dialog", exclusive=True)
    @show_errors
    async def action_remove(self) -> None:
        """Take the model under the cursor from the list, after asking."""
        model = self.current
        if model is None:
            return
        body = "It goes from the list only. Its files stay where they are, and runs on it keep working."
        if await self.app.push_screen_wait(Confirm(f"Remove {model.ref}?", body, "Remove")):
            exact = await self.tuningfork.bridge.call(listed_models.remove, model.ref)
            self.tuningfork.notify(f"{exact} was removed from the list; its files stay.")
            self.reload()

    @work(group="dialog", exclusive=True)
    async def action_back(self) -> None:
        if self._preparing:
            title = f"Stop preparing {self._preparing}?"
            if not await self.app.push_screen_wait(Confirm(title, _CONTINUES, "Stop", cancel="Stay", harmless=True)):
                return
        self.dismiss(None)


def _drawn(model: ListedModel, ref: int, width: int) -> Content:
    """`✓ org/name    base  ready       about`"""
    sign = _SIGN.get(model.state, ("✗", "$error bold"))
    left = width - ref - 26
    return Content.assemble(
        sign, " ", fit(model.ref, ref), "  ", (fit(model.kind or "", 9), "$faint"), "  ", fit(model.state, 10), "  ",
        (one_line(model.about, max(0, left)), "$faint"),
    )  # fmt: skip
