"""A set of prompts sent to every lane: a table that fills as answers come, the row under the cursor in full below.
Leaving stops the answers; asking is in engine.evaluation.prompt_sets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.comparison.stream_runner import Connect
from engine.evaluation.prompt_sets import ComparedSide, PromptEntry, ask_all
from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store.errors import TuningforkError
from store.files import replacing
from store.names import name_from
from tui import file_errors, formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.compare.rendering import title
from tui.text import clip, fit, one_line

_NUMBER = 4
"""Cells of a row's number."""


class Answers(PageScreen[None]):
    """`name` is the name of the set."""

    PAGE = "answers"
    CSS_PATH = "prompt_answers.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.ANSWERS)

    def __init__(
        self,
        name: str,
        prompts: Sequence[PromptEntry],
        sides: Sequence[ComparedSide],
        sampling: Sampling,
        connect: Connect,
    ) -> None:
        super().__init__()
        self._set, self._prompts, self._sides, self._sampling, self._connect = name, prompts, sides, sampling, connect
        self._done: dict[tuple[int, str], Done] = {}
        self._begun, self._asking = time.monotonic(), True

    def compose_body(self) -> ComposeResult:
        yield Static(id="progress", markup=False)
        yield Static(id="heads", markup=False)
        yield OptionList(compact=True, markup=False)
        with VerticalScroll(id="whole"):
            yield Static(markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.set_interval(1, self._progress)
        self.ask()

    def on_resize(self) -> None:
        """The columns take the width there is."""
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(self._row(n)) for n in range(len(self._prompts))])
        options.highlighted = at
        heads = [fit(side.name.upper() + " " + title(side.label), self._width) for side in self._sides]
        line = "  ".join([fit(" " * _NUMBER + "Prompt", self._width + _NUMBER), *heads])
        self.query_one("#heads", Static).update(Content.styled(line, "bold"))
        self._progress()

    @property
    def _width(self) -> int:
        """Cells of a column."""
        columns = len(self._sides) + 1
        return max(6, (self.size.width - 5 - _NUMBER - 2 * columns) // columns)

    # -- asking -------------------------------------------------------------------------------------------------------

    @work(group="ask", exclusive=True)
    @show_errors
    async def ask(self) -> None:
        """Ask everything, from the first prompt to the last."""
        try:
            client = await self._connect()
            try:
                await ask_all(client, self._sides, self._prompts, self._sampling, self._answered)  # type: ignore[arg-type]
            finally:
                await client.close()
        finally:
            self._asking = False
            self.refresh_bindings()

    def _answered(self, n: int, side: str, done: Done) -> None:
        self._done[n, side] = done
        options = self.query_one(OptionList)
        options.replace_option_prompt_at_index(n, self._row(n))
        if options.highlighted == n:
            self._whole(n)
        self._progress()

    def _progress(self) -> None:
        done = sum(all((n, side.name) in self._done for side in self._sides) for n in range(len(self._prompts)))
        broken = sum(answer.stop == "error" for answer in self._done.values())
        text = f"{one_line(self._set, 40)}: {done} of {formatting.count(len(self._prompts), 'prompt')} answered"
        failed = f", {formatting.count(broken, 'answer')} broke off" if broken else ""
        all_of_them = len(self._prompts) * len(self._sides)
        pace = formatting.pace(len(self._done), all_of_them, time.monotonic() - self._begun) if self._asking else ""
        self.query_one("#progress", Static).update(Content(text + failed + (f", {pace}" if pace else "")))

    def back_word(self) -> str | None:
        return "Stop" if self._asking else "Back"

    # -- showing ------------------------------------------------------------------------------------------------------

    def _row(self, n: int) -> Content:
        cells: list[str | tuple[str, str]] = [
            (f"{n + 1:<{_NUMBER}}", "$faint"),
            fit(self._prompts[n].text, self._width),
        ]
        for side in self._sides:
            done = self._done.get((n, side.name))
            failed = done is not None and done.stop == "error"
            text = "…" if done is None else (done.error or "") if failed else done.text.strip()
            cells += ["  ", (fit(text, self._width), "$error" if failed else "$faint" if done is None else "")]
        return Content.assemble(*cells)

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        self._whole(event.option_index)
        self.query_one("#whole").scroll_home(animate=False)

    def _whole(self, n: int) -> None:
        """All answers to one prompt."""
        parts = [Content.styled(clip(self._prompts[n].text), "bold")]
        for side in self._sides:
            done = self._done.get((n, side.name))
            head = Content.styled(f"{side.name.upper()} · {one_line(title(side.label), 60)}", "$primary")
            text = "…" if done is None else clip(done.text.strip()) or "(an empty answer)"
            why = Content.styled(f"\n! {clip(done.error or '')}", "$error") if done and done.stop == "error" else ""
            cut = Content.styled("\ncut at the limit", "$faint") if done and done.stop == "length" else ""
            parts.append(Content.assemble(head, "\n", text, cut, why))
        self.query_one("#whole Static", Static).update(Content("\n\n").join(parts))

    # -- keeping ------------------------------------------------------------------------------------------------------

    @work(group="write")
    async def action_write(self) -> None:
        """Write the answers so far."""
        home = self.tuningfork.store.home
        folder = home.exports / "answers"
        rows = [
            (prompt, {s.name: (s, self._done[n, s.name]) for s in self._sides if (n, s.name) in self._done})
            for n, prompt in enumerate(self._prompts)
        ]
        name = name_from(self._set, otherwise="answers")
        try:
            folder = home.export_folder("answers")
            made = await self.tuningfork.bridge.thread(write, folder, name, rows, self._sampling.seed)
        except TuningforkError as error:
            self.tuningfork.show_error(error, "Nothing was written")
            return
        except OSError as error:
            self.tuningfork.notify(file_errors.sentence(error, "written", folder), severity="error")
            return
        self.tuningfork.notify(f"Written: {made} and .md", timeout=10)

    def action_back(self) -> None:
        """Back to the conversation; answers that still stream are stopped."""
        self.dismiss(None)


Rows = Sequence[tuple[PromptEntry, dict[str, tuple[ComparedSide, Done]]]]


def write(folder: Path, name: str, rows: Rows, seed: int) -> Path:
    """NAME.jsonl, in the shape of `tuningfork compare --json`, and NAME.md in `folder`; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, prose = [], [f"# {name}", ""]
    for prompt, given in rows:
        answers = {key: side.json(done) for key, (side, done) in given.items()}
        lines.append(json.dumps({"prompt": prompt.text, "seed": seed, **answers}, ensure_ascii=False))
        prose += [f"## {one_line(prompt.text, 200)}", ""]
        for side, done in given.values():
            prose += [f"### {side.name.upper()} · {side.label}", "", done.text or done.error or "(no answer)", ""]
    for suffix, text in ((".md", "\n".join(prose)), (".jsonl", "\n".join(lines) + "\n")):
        with replacing(folder / f"{name}{suffix}") as part:
            part.write_text(text, "utf-8")
    return folder / f"{name}.jsonl"
