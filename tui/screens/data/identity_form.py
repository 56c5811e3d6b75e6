"""Asks who the model is, in five answers, and shows the pairs that are made of them before any is saved.
The pairs come from store/curate/wizard; what is typed is kept when the form is left."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from store import proposals
from store.curate.wizard.identity import IdentityAnswers, checked, identity_pairs, languages_for
from store.curate.wizard.texts import codes, load
from store.db import Store
from store.errors import BadInput
from store.names import check_name
from store.proposals import ProposalCheck
from tui import keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.proposed_pairs import ProposedList, ProposedPairs
from tui.screens.dialogs.base import button
from tui.text import clean
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field
from tui.widgets.multi_choice import MultiChoice

_FIELDS = (
    ("name", "Name", "what the model is called"),
    ("maker", "Made by", "a company, a team, a person"),
    ("purpose", "Helps with", "such as cooking and recipes; empty: anything"),
    ("style", "Answers are", "such as friendly and short; may be empty"),
    ("others", "It is not", "such as ChatGPT by OpenAI, Claude by Anthropic; may be empty"),
)


@dataclass
class TypedIdentity:
    """What was typed, and the pairs that were made of it last with what was changed in them."""

    name: str = ""
    maker: str = ""
    purpose: str = ""
    style: str = ""
    others: str = ""
    languages: list[str] = field(default_factory=list)
    dataset: str = ""
    general: str = "yes"
    made_of: tuple[object, ...] = ()
    pairs: ProposedList | None = None

    def answers(self) -> IdentityAnswers:
        """The answers; other assistants are separated by commas."""
        others = tuple(filter(None, (text.strip() for text in self.others.replace("，", ",").split(","))))
        return IdentityAnswers(self.name, self.maker, self.purpose, self.style, others)

    def to_json(self) -> str:
        """What was typed, for the settings; the pairs are made again."""
        kept = {name: value for name, value in vars(self).items() if name not in ("made_of", "pairs")}
        return json.dumps(kept, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, dataset: str) -> TypedIdentity:
        """What was typed the last time, as far as it can be read; `dataset` is the one that is listed."""
        try:
            found = json.loads(text)
            texts: dict[str, Any] = {
                name: str(found[name]) for name in ("name", "maker", "purpose", "style", "others", "general")
            }
            languages = [code for code in found["languages"] if code in codes()]
            return cls(**texts, languages=languages, dataset=dataset or str(found["dataset"]))
        except (ValueError, KeyError, TypeError):
            return cls(dataset=dataset)


class IdentityForm(PageScreen[str]):
    """Returns the name of the dataset that pairs were saved in; None when none were. Fills `typed` as it goes."""

    PAGE = "identity"
    CSS_PATH = "identity_form.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.IDENTITY)

    def __init__(self, typed: TypedIdentity) -> None:
        super().__init__()
        self._typed = typed
        self._chose_languages = bool(typed.languages)

    def compose_body(self) -> ComposeResult:
        typed = self._typed
        with VerticalScroll(id="form", can_focus=False):
            yield Static("Who is the model?", classes="title")
            for name, label, hint in _FIELDS:
                yield from _row(label, Field(clean(getattr(typed, name)), placeholder=hint, compact=True, id=name))
            languages = typed.languages or list(languages_for(typed.answers()))
            titles = {code: load(code).language for code in codes()}
            self._codes = {title: code for code, title in titles.items()}
            yield from _row(
                "Language", MultiChoice(list(self._codes), [titles[code] for code in languages], id="languages")
            )
            general = [("yes", "yes, so that the name does not turn up elsewhere"), ("no", "no")]
            yield from _row("General rows", Choice("", general, typed.general, id="general"))
            yield from _row(
                "Dataset",
                Field(clean(typed.dataset), placeholder="name; created if it is new", compact=True, id="dataset"),
            )
            with Horizontal(classes="buttons"):
                yield button("Back", "back")
                yield button("Show the pairs", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#name").focus()

    # -- what is typed ------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    def _text_typed(self, event: Input.Changed) -> None:
        if event.input.id:
            setattr(self._typed, event.input.id, event.value)
        if event.input.id in ("name", "maker") and not self._chose_languages:
            wanted = [title for title, code in self._codes.items() if code in languages_for(self._typed.answers())]
            choice = self.query_one("#languages", MultiChoice)
            if list(choice.chosen) != wanted:
                with self.prevent(MultiChoice.Changed):
                    choice.offer(list(self._codes), wanted)

    @on(MultiChoice.Changed)
    def _languages_chosen(self) -> None:
        self._chose_languages = True
        self._typed.languages = self._languages()

    @on(Choice.Changed)
    def _general_chosen(self, event: Choice.Changed) -> None:
        self._typed.general = event.value

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.focus_next()

    def _languages(self) -> list[str]:
        return [self._codes[title] for title in self.query_one("#languages", MultiChoice).chosen]

    # -- going on and back --------------------------------------------------------------------------------------------

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self.action_show()
        else:
            self.action_back()

    def action_back(self) -> None:
        """Go back; what was typed is there when the form is opened again."""
        self.dismiss(None)

    @work(group="show", exclusive=True)
    @show_errors
    async def action_show(self) -> None:
        """Make the pairs and show them; what was changed in them before stays, if the answers are the same."""
        typed, languages = self._typed, self._languages()
        if not languages:
            self.query_one("#languages").focus()
            self.tuningfork.notify("In which language? Space selects one.", severity="warning")
            return
        try:
            answers, dataset = checked(typed.answers()), typed.dataset.strip()
            check_name(dataset, "dataset")
        except BadInput as error:
            self._point_at(error)
            return
        made_of = (*asdict(answers).values(), *languages, typed.general, dataset)
        if typed.pairs is None or typed.made_of != made_of:
            found, notices = await self.tuningfork.bridge.job(
                _make, answers, languages, typed.general == "yes", dataset
            )
            typed.pairs, typed.made_of = ProposedList.of(found, notices), made_of
        if await self.app.push_screen_wait(ProposedPairs(typed.pairs, dataset, f"wizard {answers.name}")):
            self.tuningfork.remember(name=answers.name, author=answers.maker)
            typed.pairs = None
            self.dismiss(dataset)

    def _point_at(self, error: BadInput) -> None:
        """Show the error and focus its field."""
        field = {"not": "others"}.get(error.where or "", error.where)
        in_dataset = "name of a dataset" in error.what
        self.query_one("#dataset" if in_dataset else f"#{field}").focus()
        what = "Into which dataset? Type a name." if in_dataset and not self._typed.dataset.strip() else ""
        if what:
            self.tuningfork.notify(what, severity="warning")
        else:
            self.tuningfork.notify_error(error)


def _make(
    store: Store, answers: IdentityAnswers, languages: list[str], general: bool, dataset: str
) -> tuple[ProposalCheck, list[str]]:
    made = identity_pairs(answers, languages, general=general)
    return proposals.check(store, dataset, made.drafts), made.notices


def _row(label: str, field: Widget) -> ComposeResult:
    with Horizontal(classes="row"):
        yield Static(label, classes="label", markup=False)
        yield field
