"""Asks what is needed before a model is asked a probe set: the model, values of placeholders, the model that judges.
Asking itself is shown by probe_answers."""

from __future__ import annotations

from engine.evaluation import probes as probing
from engine.evaluation.judges.model import ModelJudge
from engine.evaluation.probes import ProbeJudges
from store.formats import unfilled
from tui.formatting import count
from tui.leaving import leaving
from tui.screens.dialogs.ask import Ask
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.pick_model import pick_model
from tui.screens.evaluate.probe_answers import ProbeAnswers
from tui.screens.evaluate.probe_editing import ListedSet
from tui.services import AppServices
from tui.text import one_line


async def ask(app: AppServices, chosen: ListedSet) -> None:
    """Ask a model the set. BadInput, naming the probe, for one that cannot be judged. Call it from a worker."""
    asked = chosen.whole.probes
    any_model = ProbeJudges(model=ModelJudge("any"))
    check = probing.checking(any_model)
    for number, probe in enumerate(asked, 1):
        check(probe, f"{chosen.name}, probe {number}")
    model = await pick_model(app, f"Ask which model the probes of {one_line(chosen.name, 30)}?", "")
    if model is None:
        return
    texts = (text for p in asked for text in (p.question, p.system, p.rubric, p.reference, *p.must, *p.must_not))
    values: dict[str, str] = {}
    for name in unfilled("\n".join(texts)):
        value = await app.push_screen_wait(Ask("This set has placeholders", f"What does {{{{{name}}}}} stand for?"))
        if value is None:
            return
        values[name] = value
    judged = [probe for probe in asked if any_model.asks(probe)]
    judge = ""
    if judged:
        picked = await pick_model(app, "Which model judges the answers?", "")
        if picked is None:
            return
        judge = picked
        said = leaving(f"The questions, answers and rubrics of {count(len(judged), 'probe')}", [judge])
        if said and not await app.push_screen_wait(Confirm("Send them?", said, "Send")):
            return
    every = ProbeJudges(model=ModelJudge(judge))
    await app.push_screen_wait(ProbeAnswers(chosen.asked_as, model, probing.filled(asked, values), every, judge))
