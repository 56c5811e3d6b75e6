"""How every screen and dialog of the app is opened, on a home with data for each and without a model.
For what must be true of all of them, and for scripts/screens.py, which draws them."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
from textual.command import CommandPalette
from textual.screen import Screen

import tui.screens
from engine import doctor
from engine.doctor import Diagnosis
from engine.evaluation import evaluating
from engine.evaluation.evaluating import EvaluationRequest
from engine.inference.client import Done
from engine.models import refs
from engine.training import run_control, teachers
from engine.training.teachers import Teacher
from store import datasets, feedback, pairs, probe_files, probe_sets, votes
from store.db import Store
from store.errors import BadInput
from store.home import Home
from store.probe_files import ProbeFile
from store.records import FeedbackDraft, PairDraft, PreferenceDraft, Probe, Turn
from tests import saved_runs
from tests.engine import evaluations
from tests.tui import comparing, fake_exports, run_checks
from tests.tui.comparing import BASE, PIECES, TUNED, WORDS, answered, ask, tokens_of
from tests.tui.conftest import Driver, make_pairs
from tests.tui.scripted import ScriptedClient, by_model
from tui.app import TuningforkApp
from tui.screens.base import ModeScreen, PageScreen, ResultScreen
from tui.screens.data.sample_data import Samples, SamplesLoaded, load
from tui.screens.dialogs.base import Dialog
from tui.screens.dialogs.notice import Notice
from tui.screens.train.run_list import RunList

Step = str | Callable[[Driver], Awaitable[None]]
Size = tuple[int, int]
LONG = "This text is long enough to need more than one line in any window that is not very wide. " * 2


@dataclass(frozen=True)
class Way:
    """How a screen is opened from the first one of a started app: by keys and other steps. `sees` is on it once it is
    complete. On an `empty` home there is nothing yet."""

    name: str
    screen: str
    steps: tuple[Step, ...]
    sees: tuple[str, ...] = ()
    empty: bool = False


# -- steps that are more than a key ------------------------------------------------------------------------------------


def typed(text: str) -> Step:
    """Type a text into what has the focus."""
    return lambda app: app.type(text)


def seen(*texts: str) -> Step:
    """Wait until the screen shows these."""
    return lambda app: app.see(*texts)


def page(name: str) -> Step:
    """Wait for a screen."""
    return lambda app: app.see_page(name)


def listed(name: str) -> Step:
    """In Data, list a dataset."""

    async def step(app: Driver) -> None:
        screen: Any = app.app.screen
        screen.list_dataset(name)
        await app.until(lambda: screen.found and screen.found.query.dataset == name)

    return step


async def file_typed(app: Driver) -> None:
    """Type the path of a file that can be imported."""
    await app.type(str(app.app.store.home.root / "faq.jsonl"))


def at_run(name: str) -> Step:
    """In Train, go to a run."""

    async def step(app: Driver) -> None:
        await app.see_page("TrainScreen")
        await app.see(name)
        app.app.screen.query_one(RunList).go_to(name)
        await app.idle()

    return step


async def compared(app: Driver) -> None:
    """Open Compare with a base beside a tuned model, and ask them."""
    await app.press("f4")
    await app.see_page("CompareScreen")
    await comparing.screen(app).open_with(BASE, TUNED)
    await app.pilot.pause()
    await asked(app)


async def asked(app: Driver) -> None:
    """Ask the models of Compare, and go to the tuned one's answer."""
    await ask(app, "Who are you?")
    await answered(app)
    await app.press("escape", "right")


async def wizard(app: Driver) -> None:
    """Fill the form of five answers, and show the pairs made of them."""
    await app.press("I")
    await app.see_page("IdentityForm")
    await app.type("Ember")
    await app.press("enter")
    await app.type("Northwind Labs")
    await app.press(*["tab"] * 6)
    await app.type("new")
    await app.press("ctrl+s")
    await app.see_page("ProposedPairs")


async def conflict(app: Driver) -> None:
    """Edit a pair that another program changes meanwhile."""
    await app.press("enter")
    await app.see_page("PairEditor")
    store, screen = app.app.store, cast(Any, app.app.screen)
    uid = screen._pair.uid
    await app.press("ctrl+end")
    await app.type(" Mine.")
    pairs.edit(store, uid, answer=f"Changed by an import, revision {pairs.get(store, uid).revision}.", actor="import")
    await app.press("ctrl+s")


def shown(make: Callable[[Driver], Screen[Any]]) -> Step:
    """Show a dialog that keys would reach only after work of a minute, or after a failure."""

    async def step(app: Driver) -> None:
        app.app.push_screen(make(app))

    return step


async def failed(app: Driver) -> None:
    """Show an error."""
    app.app.show_error(BadInput(LONG, where="pairs.jsonl:3", todo=LONG))


async def noticed(app: Driver) -> None:
    """Two notices, and the list of them."""
    app.app.notify("Wrote 12 pairs to /home/me/shop.jsonl.")
    app.app.notify(LONG, severity="warning")
    await app.press("alt+n")


def _samples(app: Driver) -> Screen[Any]:
    return SamplesLoaded(Samples("Ember", load(app.app.store, {"name": "Ember", "author": "Northwind Labs"})))


EXPORTS: tuple[Step, ...] = ("f5", page("ExportScreen"), seen("✓ gguf q8_0"))
PROBES: tuple[Step, ...] = ("f6", page("EvaluateScreen"), "P", seen("identity", "● shop"))
WAYS = (
    Way("welcome", "WelcomeScreen", (), ("Try it with sample data",), empty=True),
    Way("data-empty", "DataScreen", (page("WelcomeScreen"), "escape"), empty=True),
    Way("train-empty", "TrainScreen", (page("WelcomeScreen"), "f3"), empty=True),
    Way("compare-empty", "CompareScreen", (page("WelcomeScreen"), "f4"), empty=True),
    Way("export-empty", "ExportScreen", (page("WelcomeScreen"), "f5"), empty=True),
    Way("evaluate-empty", "EvaluateScreen", (page("WelcomeScreen"), "f6"), empty=True),
    Way("samples", "SamplesDialog", (page("WelcomeScreen"), "1"), empty=True),
    # Data
    Way("data", "DataScreen", (listed("shop"), "down", "space"), ("● 1 marked",)),
    Way("data-search", "DataScreen", ("slash", typed("cup")), ("1 pair of",)),
    Way("editor", "PairEditor", (listed("shop"), "enter"), ("Answer 11",)),
    Way("editor-new", "PairEditor", ("n",)),
    Way("turns", "TurnsEditor", (listed("turns"), "enter", page("PairEditor"), "f7"), ("2 assistant",)),
    Way("conflict", "ConflictDialog", (listed("edited"), conflict)),
    Way("revisions", "RevisionsDialog", (listed("edited"), "h"), ("revision 2",)),
    Way("statistics", "StatisticsPage", (listed("shop"), "number_sign"), ("instruction",)),
    Way("snapshots", "SnapshotList", (listed("ember"), "asterisk"), ("snapshot",)),
    Way("snapshot-diff", "SnapshotDiffPage", (listed("ember"), "asterisk", seen("snapshot"), "enter"), ("changed",)),
    Way("preferences", "PreferenceList", ("V",), ("大语言模型",)),
    Way("problems", "ProblemList", (listed("bad"), "L"), ("marker",)),
    Way("fix", "FixDialog", (listed("bad"), "L", seen("marker"), "c")),
    Way("duplicates", "DuplicateReview", (listed("dup"), "alt+d"), ("1 near",)),
    Way("threshold", "ThresholdDialog", (listed("dup"), "alt+d", seen("1 near"), "t")),
    Way("alike", "AlikePairs", (listed("dup"), "A"), ("Where is it?",)),
    Way("identity", "IdentityForm", ("I",)),
    Way("proposed", "ProposedPairs", (wizard,), ("nothing is saved yet",)),
    Way("proposed-pair", "ProposedPairEditor", (wizard, "enter")),
    Way("import", "ImportScreen", ("o", page("ImportScreen"), file_typed), ("3 pairs",)),
    Way("import-files", "ImportScreen", ("o", page("ImportScreen"), typed("sample"))),
    Way("export-data", "ExportDialog", (listed("shop"), "x")),
    Way("split", "SplitDialog", (listed("shop"), "percent_sign")),
    Way("change", "ChangeDialog", (listed("shop"), "a", "B")),
    Way("replace", "ReplaceDialog", (listed("shop"), "a", "F")),
    Way("samples-loaded", "SamplesLoaded", (shown(_samples),)),
    # Train
    Way("train-form", "TrainScreen", ("f3", page("TrainScreen"), "home"), ("New run",)),
    Way("train-form-more", "TrainScreen", ("f3", page("TrainScreen"), "home", seen("New run"), "f7")),
    Way("train", "TrainScreen", ("f3", at_run("ember-1")), ("drift",)),
    Way("train-live", "TrainScreen", ("f3", at_run("night")), ("night",)),
    Way("rows", "Rows", ("f3", page("TrainScreen"), "home", seen("120 of them trained"), "p")),
    Way("checkpoints", "CheckpointsPage", ("f3", at_run("ember-1"), "C"), ("saved",)),
    Way("run-log", "LogPage", ("f3", at_run("ember-1"), "h"), ("step 89",)),
    Way("difference", "DifferencePage", ("f3", at_run("ember-2"), "d"), ("Settings that differ",)),
    # Compare
    Way("compare", "CompareScreen", (compared,), ("Northwind",)),
    Way("compare-prompt", "CompareScreen", (compared, "1", "i"), ("Northwind",)),
    Way("diff", "Diff", (compared, "d")),
    Way("compare-settings", "CompareSettings", (compared, "comma")),
    Way("lane-check", "LaneCheckDialog", (compared, "H")),
    Way("votes", "Votes", (compared, "v"), ("blind",)),
    Way("chats", "Chats", (compared, "n", asked, "o")),
    Way("tokens", "TokenView", (compared, "T"), ("token 2 of 9",)),
    Way("taught", "TaughtView", (compared, "exclamation_mark"), ("0.910",)),
    Way("answers", "Answers", (compared, "P", page("Pick"), "enter")),
    # Export and Evaluate
    Way("export-form", "ExportScreen", (*EXPORTS, *["down"] * 3), ("Export ember-1",)),
    Way("export-rejected", "ExportScreen", (*EXPORTS, *["down"] * 4), ("→ Make q8_0",)),
    Way("export", "ExportScreen", (*EXPORTS, *["down"] * 5), ("ollama",)),
    Way("evaluate", "EvaluateScreen", ("f6",), ("Token F1",)),
    Way("evaluation", "EvaluationDialog", ("f6", page("EvaluateScreen"), "n")),
    Way("history", "HistoryPage", ("f6", page("EvaluateScreen"), "h"), ("Token F1",)),
    Way("probes", "ProbeSetScreen", PROBES),
    Way("probe", "ProbeEditor", (*PROBES, "enter", "e")),
    Way("probe-set", "ProbeSetDialog", (*PROBES, "comma")),
    Way("probe-answers", "ProbeAnswers", (*PROBES, "m", page("Pick"), "enter"), ("2 of 2",)),
    # everywhere
    Way("models", "ModelsPage", ("alt+m",), ("smollm2-135m",)),
    Way("doctor", "DoctorPage", ("alt+c",), ("cuda",)),
    Way("help", "HelpScreen", ("f1",)),
    Way("help-compare", "HelpScreen", ("f4", page("CompareScreen"), "f1")),
    Way("jump", "JumpScreen", ("ctrl+l",)),
    Way("palette", "CommandPalette", ("ctrl+p",)),
    Way("jobs", "JobsDialog", ("alt+j",), ("ember-1",)),
    Way("notices", "NoticesDialog", (noticed,)),
    Way("error", "ErrorDialog", (failed,)),
    Way("notice", "Notice", (shown(lambda _: Notice("Imported 12 pairs", LONG, "All of them: report.txt")),)),
    Way("confirm", "Confirm", (listed("shop"), "a", "delete")),
    Way("ask", "Ask", (listed("shop"), "R")),
    Way("pick", "Pick", ("D",), ("List which pairs?",)),
)  # fmt: skip
"""In the order in which they are drawn."""


def screens() -> set[str]:
    """The class names of all screens and dialogs there are."""
    for module in pkgutil.walk_packages(tui.screens.__path__, "tui.screens."):
        import_module(module.name)
    shared = {ResultScreen, PageScreen, ModeScreen, Dialog}
    return {each.__name__ for each in _below(Screen) if each.__module__.startswith("tui.") and each not in shared} | {
        CommandPalette.__name__
    }


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


# -- a home with data for each -----------------------------------------------------------------------------------------


@contextmanager
def prepared(folder: Path) -> Iterator[tuple[Store, Store]]:
    """A home with data for every screen and an empty one, with stand-ins for models, processes and slow checks."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Store.open(Home(folder / "home").ensure()) as store,
        Store.open(Home(folder / "empty").ensure()) as empty,
    ):
        patch.setenv("COLORTERM", "truecolor")
        patch.setattr(run_control, "reap", lambda store: [])
        patch.setattr("tui.screens.train.report.check", run_checks.checked)
        patch.setattr(doctor, "_cuda", lambda: Diagnosis("cuda", "ok", "not asked here: it starts torch"))
        patch.setattr(teachers, "teachers", _teachers)
        fake_exports.install(patch)
        fill(store, folder)
        client = _client()
        patch.setattr("engine.inference.client.Client.connect", client.connect)
        yield store, empty


def fill(store: Store, folder: Path) -> None:
    """Put something into a store for every screen."""
    _evaluate(store, folder)
    _judge(store)
    _write_pairs(store)
    _train(store)
    rows = [{"question": f"Where is shop {n}?", "answer": f"In street {n}."} for n in range(3)]
    (store.home.root / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = probe_sets.path_of(store.home, "shop")
    path.parent.mkdir()
    price = Probe("shop", "What does it cost?", ("89", "eighty-nine"), ("95",))
    probe_files.write(path, ProbeFile((price, Probe("shop", "Who are you?", ("Ember",), same="name"))))
    for a, b, choice in (("I am a model.", "I am Ember.", "b"), ("Yes.", "No.", "tie"), ("42", "Perhaps 42.", "a")):
        prompt = [{"role": "user", "content": f"What is right: {a} {b}"}]
        votes.add(store, prompt=prompt, a_model=BASE, b_model=TUNED, choice=choice, a_text=a, b_text=b, blind=True)


def _write_pairs(store: Store) -> None:
    made = make_pairs(store)
    history = (Turn("user", "Where is it?"), Turn("assistant", "It is here.", train=False))
    pairs.create(store, PairDraft("And the key?", "On the hook.", history=history), dataset="turns")
    edited = pairs.create(store, PairDraft("When do you close?", "We close at six."), dataset="edited")
    pairs.edit(store, edited.uid, answer="We close at seven.")
    pairs.create(store, PairDraft("Where is it?\u200b", "Ships &amp; boats."), dataset="bad")
    pairs.create(store, PairDraft("Who are you?", "I am Ember.<|im_end|>"), dataset="bad")
    near = "Please tell me in a few words how I can change the address of my parcel"
    change = "Open the orders page, choose the parcel, and press Change. That is all."
    alike = [("Where is it?", "In the box."), ("where is it", "in the box"), (near, change), (f"{near} now", change)]
    for n, (question, answer) in enumerate(alike):
        pairs.create(store, PairDraft(question, answer, tags=(f"tag-{n}",)), dataset="dup")
    datasets.add(store, "more", made[:3], "test")


def _train(store: Store) -> None:
    saved_runs.a_saved_run(store, "ember-1")
    saved_runs.a_saved_run(store, "ember-2", config={"lr": 5e-4, "rank": 8}, factor=0.5)
    saved_runs.a_saved_run(store, "ember-3", state="failed", steps=(20,))
    saved_runs.a_saved_run(store, "night", state=None, steps=(20, 40))
    (store.home.root / "runs" / "x.log").write_text("Loading\n" + "".join(f"step {n} went well\n" for n in range(90)))
    uid = datasets.members(store, "ember")[0][0].uid
    pairs.edit(store, uid, answer="I am Ember, made by Northwind Labs.")
    fake_exports.an_export(store, fake_exports.planned(store, "ember-1"), "ember-1")
    bad = "It no longer answers as the run does."
    fake_exports.an_export(store, fake_exports.planned(store, "ember-1", "gguf", "q4_0"), "ember-1", bad=bad)


def _judge(store: Store) -> None:
    def said(text: str) -> tuple[Turn, ...]:
        return Turn("system", "Be brief."), Turn("user", text)

    votes.import_preferences(store, [PreferenceDraft(said("Who are you?"), "Ember.", "A model.")], dataset="judged")
    drafts = [FeedbackDraft(said("大语言模型"), "很好", True), FeedbackDraft(said("Where?"), "No.", False)]
    feedback.add_feedback(store, drafts, dataset="judged")


def _evaluate(store: Store, folder: Path) -> None:
    """A base and a tuned model, evaluated one after the other and beside each other."""
    drafts = [PairDraft(f"Which city is number {n}?", f"city {n}") for n in range(10)]
    pairs.create(store, PairDraft("Which city is the oldest?", "city 0"), dataset="cities")
    pairs.create_many(store, drafts, dataset="cities", split="test")
    base, tuned = (evaluations.model_folder(folder / name) for name in ("base", "tuned"))

    def answer(model: str, messages: list[Any], sampling: object) -> str:
        number = int(messages[-1]["content"].rstrip("?").rpartition(" ")[2])
        return f"city {number}" if (number < 8) == model.endswith("tuned") else "no idea"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refs, "known", lambda store: [tuned, base])
        evaluations.scripted(patch, answer)
        for models in ((base,), (tuned, base)):
            request = EvaluationRequest(models, dataset="cities")
            evaluating.submit(store, evaluating.plan(store, request))


def _client() -> ScriptedClient:
    ids = tuple(range(10, 10 + len(PIECES)))
    client = ScriptedClient(by_model({**WORDS, TUNED: [*WORDS[TUNED], Done("", tokens=9, token_ids=ids)]}))
    client.compared = tokens_of()
    sides = [
        {"lane": lane, "model": model, "tuned": apart > 0, "plain_max_diff": apart, "tokens": 38, "honest": True}
        for lane, model, apart in (("a", BASE, 0.0), ("b", TUNED, 9.5))
    ]
    same = {"honest": True, "same_base": True, "same_tokens": True, "same_template": True, "lanes_max_diff": 9.5}
    client.check = {**same, "lanes": sides}
    return client


def _teachers(store: Store, run: str, said: Any, on_progress: Any) -> list[Teacher]:
    rows = datasets.snapshot_rows(store, datasets.freeze(store, "ember").hash)
    return [Teacher(row, 0.91 - n / 5) for n, row in enumerate(rows[:6])]


@asynccontextmanager
async def opened(way: Way, homes: tuple[Store, Store], size: Size) -> AsyncIterator[Driver]:
    """The app with a screen open, complete and still."""
    store = homes[way.empty]
    for kept in (store.home.root / "settings.json", *store.home.root.glob("drafts/*")):
        kept.unlink(missing_ok=True)  # what another screen left for the next start
    app = TuningforkApp(store)
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        driver = Driver(app, pilot)
        await driver.see_page("WelcomeScreen" if way.empty else "DataScreen")
        if not way.empty:
            await driver.see(" pairs")
        for step in way.steps:
            await (driver.press(step) if isinstance(step, str) else step(driver))
        await driver.see_page(way.screen)
        await driver.see(*way.sees)
        for field in app.screen.query("Input, TextArea"):
            field.cursor_blink = False  # type: ignore[attr-defined]  # a picture is taken at any moment
        app.screen.refresh()  # a screen behind a dialog is only drawn by the app itself, not where tests read the text
        await pilot.pause(0.1)
        yield driver
