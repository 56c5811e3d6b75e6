"""What a comparison looks like: blocks, headings, figures and the line of votes, worked out from its state alone.
Pure functions; no widget, no store."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from rich.cells import cell_len
from textual.content import Content

from engine.comparison.answer import LaneAnswer, Stats
from engine.comparison.session import Comparison, Lane
from engine.comparison.stream_runner import Meter
from engine.inference.few_shot import FewShot
from engine.models.refs import Ref, checkpoint
from tui import formatting
from tui.screens.compare import masking
from tui.screens.compare.lane import Block, BlockKind
from tui.text import clean, one_line
from tui.token_words import quoted

_LANE_STYLE = {"a": "$lane-a", "b": "$lane-b", "c": "$success", "d": "$error"}
Target = Literal["keys", "prompt"] | None
"""How actions are about a panel: by a letter now, once the prompt is left, or not."""
_POINTERS: dict[Target, tuple[str, str]] = {"keys": ("▶", "━"), "prompt": ("▷", "─"), None: (" ", " ")}
_STAGES = {
    "starting": "starting the chat server",
    "queued": "waiting for other answers",
    "loading": "loading the model",
    "reading": "reading the prompt",
}
"""What an answer without a token waits for, by `Meter.stage`."""
_VOTED = {"tie": "You voted: a tie.", "both_bad": "You voted: both are bad."}


def title(model: str) -> str:
    """A model reference as it is shown: a run without its prefix, a file or a folder without its path."""
    return Ref.read(model).title


def is_file(model: str) -> bool:
    """Whether a model is a GGUF file: whether a base or a tuned model is in it is not known."""
    return Ref.read(model).is_file


def role(model: str, live: Mapping[str, int | None] = MappingProxyType({})) -> str:
    """What a model is, in a word: base, tuned, file or remote; of a live run, the checkpoint that answers now."""
    if model in live:
        step = live[model]
        return "live · no checkpoint yet" if step is None else f"step {step:,} · live"
    return {"run": "tuned", "endpoint": "remote", "gguf": "file"}.get(Ref.read(model).kind, "base")


def examples(few_shot: FewShot) -> str:
    """The role of a lane that reads examples first."""
    return f"with {formatting.count(few_shot.shots, 'example')} of {one_line(few_shot.dataset, 20)}"


def about(lane: Lane, words: Mapping[str, str]) -> str:
    """What a lane without answers shows; `words` has a paragraph for each model."""
    if lane.few_shot is None:
        return words.get(lane.model, "")
    return f"{title(lane.label)}: it reads them before each prompt. Is prompting enough, without tuning?"


def side_name(position: int, sides: int) -> str:
    """Left and right while there are two, else the place."""
    return ("Left", "Right")[position] if sides == 2 else f"Side {position + 1}"


def turn_blocks(comparison: Comparison, position: int, n: int, *, markdown: bool = False) -> list[Block]:
    """What the side at `position` shows of turn `n`: the prompt, the answer and remarks on it.

    In a blind turn the sides are shuffled, so a panel may show another lane in every turn: an answer of another
    lane than the panel's own is shown with its lane.
    """
    sides, turn = list(comparison.shown(n)), comparison.turns[n]
    if position >= len(sides):
        return []
    lane, answer = sides[position]
    out = [Block("prompt", turn.prompt)]
    if not turn.hidden and (turn.blind or lane.name != lane_at(comparison, position).name):
        kind: BlockKind = "reveal-a" if lane.name == "a" else "reveal-b"
        out.append(Block(kind, f"{lane.name.upper()} · {title(answer.model)}"))
    live = answer.state in ("streaming", "waiting")
    text = masking.shown(turn, answer)
    shown = text.lstrip("\n") if live else text.strip("\n")
    if shown or live or answer.state == "done":
        text = shown or ("" if live else "(an empty answer)")
        out.append(Block("answer", text, live=live, markdown=markdown and answer.ended))
    return out + _remarks(comparison, n, lane.name, answer, first=position == 0)


def lane_at(comparison: Comparison, position: int) -> Lane:
    """The lane that a panel shows in the last turn."""
    if comparison.turns:
        return list(comparison.shown(len(comparison.turns) - 1))[position][0]
    return list(comparison.lanes.values())[position]


def last_answer(comparison: Comparison, position: int) -> tuple[str, int, LaneAnswer] | None:
    """Lane, turn and answer of the last ended answer with words in it that the panel at `position` shows."""
    for turn in reversed(range(len(comparison.turns))):
        lane, answer = list(comparison.shown(turn))[position]
        if answer.ended and answer.text.strip():
            return lane.name, turn, answer
    return None


def diff(comparison: Comparison, position: int) -> tuple[tuple[str, str], tuple[str, str], tuple[str, str]]:
    """Names, texts and colours of the two answers whose words are compared: in the last turn, the first side's and the
    one at `position`, or the second's when that is the first."""
    sides = list(comparison.shown(len(comparison.turns) - 1))
    (one, a), (two, b) = sides[0], sides[max(1, position)]
    turn = comparison.turns[-1]
    if turn.hidden:
        return ("Left", "Right"), (masking.shown(turn, a), masking.shown(turn, b)), ("a", "b")
    names = f"{one.name.upper()} · {title(one.model)}", f"{two.name.upper()} · {title(two.model)}"
    return names, (a.text, b.text), (one.name, two.name)


def _folded(reasoning: str) -> str:
    """What a model thought before it answered, in one line; all of it is kept with the conversation."""
    words = len(reasoning.split())
    return f"thought {formatting.count(words, 'word')} first: {one_line(reasoning, 60)}" if words else ""


def _remarks(comparison: Comparison, n: int, lane: str, answer: LaneAnswer, *, first: bool) -> list[Block]:
    out: list[Block] = []
    if answer.state == "failed":
        out.append(Block("error", answer.error))
    elif answer.state == "stopped":
        out.append(Block("note", "stopped here" if answer.text else "stopped before the first token"))
    if answer.fork:
        chosen, before = quoted(answer.fork.chosen), quoted(answer.fork.instead_of)
        out.append(Block("note", f"forked at token {answer.fork.token}: {chosen} was chosen instead of {before}"))
    stats, asked = answer.stats, comparison.turns[n]
    step = checkpoint(answer.model, comparison.lanes[lane].model)
    if step is not None and not asked.hidden:
        out.append(Block("note", f"answered by the checkpoint of step {step}"))
    if stats and not asked.hidden:
        out += [Block("note", text) for text in (_folded(stats.reasoning), stats.note) if text]
    if stats and stats.stop == "length":
        out.append(Block("note", f"cut at the limit of {stats.tokens} tokens"))
    if stats and stats.dropped_turns:
        first_to_go = ", its examples first" if comparison.lanes[lane].few_shot and not asked.hidden else ""
        left_out = f"{stats.dropped_turns} earlier messages did not fit the context and were left out{first_to_go}"
        out.append(Block("note", left_out))
    vote = asked.vote
    if comparison.winner(n) == lane:
        out.append(Block("best", "your vote"))
    elif vote in _VOTED and first:
        out.append(Block("note", _VOTED[vote]))
    return out


def heading(
    comparison: Comparison,
    position: int,
    width: int,
    mark: str = "",
    live: Mapping[str, int | None] = MappingProxyType({}),
    target: Target = None,
) -> Content:
    """The line above a panel. A blind side does not show its model; `live` are the runs that are still being tuned.

    `target` says whether actions are about this panel: a sign before the name and a rule after it mark the one that
    they are about, filled while letters are keys here, hollow while they are text of the prompt.
    """
    pointer, rule = _POINTERS[target]
    hidden = bool(comparison.turns) and comparison.turns[-1].hidden
    if hidden:
        name = side_name(position, len(comparison.lanes))
        sign = (f" {position + 1} ", "reverse bold")
        left = Content.assemble(pointer, sign, (f" {name}", "bold"), ("  hidden until you vote", "$faint"))
        return left + _rule(rule, width - left.cell_length)
    lane = lane_at(comparison, position)
    kind = examples(lane.few_shot) if lane.few_shot else role(lane.model, live)
    right = f" {mark} " if mark else ""
    space = max(8, width - 5 - len(kind) - 3 - len(right))
    left = Content.assemble(
        pointer,
        (f" {lane.name.upper()} ", f"reverse bold {_LANE_STYLE[lane.name]}"),
        (f" {one_line(title(lane.model), space)}", "bold"),
        (f" · {kind}", "$faint"),
    )
    return (
        left
        + _rule(rule, width - left.cell_length - len(right))
        + Content.styled(right, "$error" if mark.startswith("✗") else "$success")
    )


def _rule(sign: str, width: int) -> Content:
    """`width` cells between a heading's ends."""
    return Content.styled(f" {sign * (width - 1)}" if width > 1 else " " * max(0, width), "$accent")


def figures(comparison: Comparison, position: int, meter: Meter | None, width: int, following: bool = True) -> Content:
    """The line below a panel: what the answer cost, or how far it is."""
    if not comparison.turns:
        return Content("")
    turn = len(comparison.turns) - 1
    answer = list(comparison.shown(turn))[position][1]
    more = Content.styled("  ↓ End for the newest", "bold $accent") if not following else Content("")
    if comparison.turns[turn].hidden and answer.ended:
        return Content.styled("figures after the vote", "$faint") + more
    if answer.state == "waiting":
        return Content("waits for the answer before it") + more
    if answer.state == "streaming":
        return _coming(meter, hidden=comparison.turns[turn].hidden) + more
    if answer.state == "failed":
        return Content.styled("broke off; the next prompt tries again", "$error") + more
    if answer.stats is None:
        return Content("stopped") + more
    return Content(_cost(answer.stats, width - more.cell_length)) + more


def _coming(meter: Meter | None, *, hidden: bool) -> Content:
    if meter is None or meter.first is None:
        waited = f" · {meter.waited:.0f} s" if meter and meter.waited >= 1 else ""
        stage = meter.stage if meter and not hidden else ""  # which one loads would give a blind lane away
        return Content.assemble(("● ", "$accent"), f"{_STAGES.get(stage, 'waiting for the first token')}{waited}")
    if hidden:
        return Content.assemble(("● ", "$accent"), "answering")
    rate = f" · {meter.rate:.0f} tok/s" if meter.rate else ""
    return Content.assemble(("● ", "$accent"), f"{meter.pieces} tokens{rate}")


def _cost(stats: Stats, width: int) -> str:
    """The figures of an ended answer, the most important first, as many as fit."""
    ends = {"end": "complete", "length": "cut at the limit", "cancelled": "stopped"}
    parts = [f"{stats.tokens} tok"]
    if stats.tokens_per_s:
        parts.append(f"{stats.tokens_per_s:.0f} tok/s")
    if stats.ttft_ms is not None:
        slow = stats.ttft_ms >= 10_000
        parts.append(f"first {stats.ttft_ms / 1000:.0f} s" if slow else f"first {stats.ttft_ms:.0f} ms")
    if stats.context_used:
        parts.append(f"context {stats.context_used:,}" + (f"/{stats.context_size:,}" if stats.context_size else ""))
    parts.append(ends.get(stats.stop, clean(stats.stop)))
    if sum(map(len, parts)) + 3 * len(parts) > width:
        parts = [part.replace("context ", "ctx ") for part in parts]
    while len(parts) > 2 and len(" · ".join(parts)) > width - 1:
        del parts[-2]
    return " · ".join(parts)


def ballot_line(comparison: Comparison, width: int, *, in_prompt: bool = False, progress: str = "") -> Content:
    """The vote on the last turn: its keys, or what was voted. A side is named as its heading is. `progress` is how far
    a set of prompts is voted through."""
    if not comparison.turns or len(comparison.lanes) != 2:
        return Content("")
    if progress:
        space = width - cell_len(progress) - 2
        return Content.styled(progress, "bold") + "  " + ballot_line(comparison, space, in_prompt=in_prompt)
    turn = comparison.turns[-1]
    sides = [lane.name for lane, _ in comparison.shown(len(comparison.turns) - 1)]
    words = [name.upper() for name in sides] if not turn.hidden else ["left", "right"]
    if turn.vote is not None:
        if turn.vote in _VOTED:
            return Content.styled(_VOTED[turn.vote], "$faint") + _key("u", "undo")
        side = words[sides.index(comparison.winner() or sides[0])]
        return Content.styled(f"You voted: {side}.", "$faint") + _key("u", "undo")
    answers = [answer for _, answer in comparison.shown(len(comparison.turns) - 1)]
    if not all(answer.ended and answer.state != "failed" and answer.text.strip() for answer in answers):
        return Content.styled("blind: the sides are shuffled", "$faint") if turn.hidden else Content("")
    ask = Content.styled("Which is better?" if width > 70 else "Better?", "bold" if turn.hidden else "$faint")
    if in_prompt:
        ask += _key("Esc", "then")
    for key, word in zip("1234", (*words, "tie", "both bad"), strict=True):
        ask += _key(key, word)
    return ask


def _key(key: str, word: str) -> Content:
    return Content.assemble("  ", (key, "bold $primary"), " ", (word, "$faint"))


def settings_line(comparison: Comparison, width: int) -> Content:
    """Sampling and system prompt in a few words, as many as fit into `width`."""
    sampling = comparison.sampling
    parts = [
        "greedy" if sampling.temperature == 0 else f"temperature {sampling.temperature:g}",
        f"seed {sampling.seed}",
        f"≤ {sampling.max_tokens} tokens",
    ]
    if comparison.system:
        parts.insert(0, "system: " + one_line(comparison.system, 24))
    if comparison.blind:
        parts.insert(0, "blind, names masked" if comparison.mask else "blind")
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        parts.pop()
    text = " · ".join(parts)
    return Content.styled(text if len(text) <= width else "", "$faint")


def tabs(
    comparison: Comparison,
    front: int,
    width: int,
    meters: Mapping[str, Meter],
    mark: str = "",
    target: Target = "keys",
) -> Content:
    """All lanes on one line, for a window that cannot show them side by side; a dot marks those that stream.

    `mark` is what the check of the lane in front found; shown at the right end when there is space. `target` is how
    actions are about the lane in front.
    """
    hidden = bool(comparison.turns) and comparison.turns[-1].hidden
    lanes = [lane_at(comparison, position) for position in range(len(comparison.lanes))]
    space = (width - len("^T other")) // max(1, len(lanes)) - 5
    names = [cell_len(title(lane.label)) for lane in lanes]
    long = sum(name > space for name in names)
    if long:  # they get the cells that short names do not need
        space += sum(max(0, space - name) for name in names) // long
    out = Content("")
    for position, lane in enumerate(lanes):
        streams = 10 if lane.streaming else 0
        name = side_name(position, len(lanes)) if hidden else one_line(title(lane.label), max(6, space - streams))
        sign = f"{position + 1}" if hidden else lane.name.upper()
        dot = " ●" if lane.streaming else ""
        meter = meters.get(lane.name)
        rate = f" {meter.rate:.0f}/s" if lane.streaming and meter and meter.rate and not hidden else ""
        style = "bold reverse" if position == front else "$faint"
        pointer = _POINTERS[target][0] if position == front else " "
        out += Content.assemble((f"{pointer}{sign} {name}", style), (f"{dot}{rate} ", style), " ")
    out += Content.assemble(("^T", "bold $primary"), (" other", "$faint"))
    gap = width - out.cell_length - len(mark) - 1
    return out + " " * gap + Content.styled(mark, "$success") if mark and gap > 1 and not hidden else out
