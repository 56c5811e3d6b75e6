"""What each lane of a comparison must have read and been told, kept apart from the code under test.
Told of actions and of text that comes; every request is checked against it before it goes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from store.records import Message


def digest(model: str, lane: str | None, messages: Sequence[Message]) -> str:
    """A text that depends on who was asked and on every word: twelve words of hexadecimal digits."""
    raw = sha256(json.dumps([model, lane, list(messages)]).encode()).hexdigest()
    return " ".join(raw[i : i + 4] for i in range(0, 48, 4))


@dataclass
class Cell:
    """A lane's answer to one prompt. `state` is one of waiting, coming, over."""

    state: str = "waiting"
    text: str = ""
    whole: bool = False


@dataclass
class Column:
    """A lane: its model and its answers, one a prompt."""

    model: str
    cells: list[Cell] = field(default_factory=list)


class Ledger:
    """Prompts and columns. Each method is one thing that a person does."""

    def __init__(self, models: Sequence[str]) -> None:
        self.wrong: list[str] = []
        """What was asked for and should not have been: whoever asks may swallow an error, so it is kept here."""
        self.prompts: list[str] = []
        self.columns = {name: Column(model) for name, model in zip("abcd", models, strict=False)}

    def send(self, prompt: str) -> None:
        self.prompts.append(prompt)
        for column in self.columns.values():
            column.cells.append(Cell())

    def stop(self, lane: str | None) -> None:
        for column in self._some(lane):
            for cell in column.cells:
                cell.state = "over"

    def regenerate(self, lane: str | None) -> None:
        self.stop(lane)
        for column in self._some(lane):
            column.cells[-1] = Cell()

    def cut(self, turns: int) -> None:
        self.stop(None)
        del self.prompts[turns:]
        for column in self.columns.values():
            del column.cells[turns:]

    def fork(self, turns: int) -> None:
        """What the screen shows from now on; the rest is left behind."""
        self.stop(None)
        self.prompts = self.prompts[:turns]
        for column in self.columns.values():
            column.cells = [replace(cell) for cell in column.cells[:turns]]

    def switch(self, lane: str, model: str) -> None:
        column = self.columns[lane]
        if column.model != model:
            self.stop(lane)
            self.columns[lane] = Column(model, [Cell() for _ in self.prompts])

    def add(self, model: str) -> None:
        name = next(name for name in "abcd" if name not in self.columns)
        self.columns[name] = Column(model, [Cell() for _ in self.prompts])

    def drop(self, lane: str) -> None:
        self.stop(lane)
        del self.columns[lane]

    def reads(self, lane: str, turn: int) -> list[Message]:
        """What this lane's model must be sent for a turn: the prompts it answered, its answers, the prompt."""
        messages: list[Message] = []
        for prompt, cell in zip(self.prompts[:turn], self.columns[lane].cells, strict=False):
            if cell.text:
                messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": cell.text}]
        return [*messages, {"role": "user", "content": self.prompts[turn]}]

    def request(self, lane: str, model: str, messages: list[Message]) -> Cell:
        """A request goes out: the one that this lane has to make now, word for word. Its text goes into the cell."""
        column = self.columns[lane]
        turn = next((n for n, cell in enumerate(column.cells) if cell.state == "waiting"), None)
        if turn is None or any(cell.state == "coming" for cell in column.cells):
            self.wrong.append(f"lane {lane} asked when nothing was due")
            return Cell()
        if model != column.model:
            self.wrong.append(f"lane {lane} asked {model}, not {column.model}")
        if messages != self.reads(lane, turn):
            self.wrong.append(f"lane {lane} was to read {self.reads(lane, turn)}, not {messages}")
        column.cells[turn].state = "coming"
        return column.cells[turn]

    def _some(self, lane: str | None) -> list[Column]:
        return list(self.columns.values()) if lane is None else [self.columns[lane]]
