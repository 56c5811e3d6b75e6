"""Sets of prompts in Compare: chosen or read from a file, kept, and put to every lane in a screen of their own.
Reading and asking are engine.evaluation.prompt_sets'."""

from __future__ import annotations

from pathlib import Path

from textual import work

from engine.evaluation import prompt_sets
from engine.evaluation.prompt_sets import Prompt, Side
from store import probes
from store.db import Store
from tui import formatting
from tui.screens.base import told
from tui.screens.compare.talk import CompareTalk
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import one_line

HINT = "Or a file: one prompt a line, or JSONL with prompt (and system). It is kept under its name."
_HERE = "\0here"


class PromptActs(CompareTalk):
    """Many prompts at once."""

    @work(group="dialog", exclusive=True)
    @told
    async def action_prompts(self) -> None:
        """Put a set of prompts to every lane; each prompt by itself, without what was said here."""
        from tui.screens.compare.prompt_answers import Answers

        kept = await self.tuningfork.bridge.call(probes.sets)
        entries = [Entry(name, one_line(name, 40), formatting.count(count, "prompt")) for name, count in kept.items()]
        if not self.talk.empty:
            entries.append(
                Entry(_HERE, "The prompts of this conversation", formatting.count(len(self.talk.turns), "prompt"))
            )
        picked = await self.app.push_screen_wait(
            Pick("Which prompts, to every lane?", entries, create="Read the file", hint=HINT)
        )
        if picked is None:
            return
        if picked.value == _HERE:
            name, prompts = one_line(self.talk.turns[0].prompt, 40), [Prompt(turn.prompt) for turn in self.talk.turns]
            await self.tuningfork.bridge.call(prompt_sets.keep, name, prompts)
        elif picked.new:
            name, prompts = await self.tuningfork.bridge.call(_read_and_keep, picked.value)
        else:
            name, prompts = picked.value, await self.tuningfork.bridge.call(prompt_sets.kept, picked.value)
        asked = [Prompt(prompt.text, prompt.system or self.talk.system) for prompt in prompts]
        sides = [Side(lane.name, lane.model, lane.few_shot) for lane in self.talk.lanes.values()]
        await self.app.push_screen_wait(Answers(name, asked, sides, self.talk.sampling, self._connect))


def _read_and_keep(store: Store, typed: str) -> tuple[str, list[Prompt]]:
    path = Path(typed).expanduser()
    prompts = prompt_sets.read(path)
    prompt_sets.keep(store, path.name, prompts)
    return path.name, prompts
