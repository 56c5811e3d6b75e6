"""One letter means one thing on every screen. A new key on a letter is added here, under what the letter means; where
it means something else, the key needs another letter."""

from __future__ import annotations

from collections import defaultdict

from tui import keys
from tui.keys import Key

MEANS = {
    "1": ("the first of what is offered, or good", "welcome.samples data.ready compare.left"),
    "2": ("the second of what is offered, or undecided", "welcome.import data.draft compare.right"),
    "3": ("the third of what is offered, or neither", "welcome.new data.reject compare.tie"),
    "4": ("both bad", "compare.bad"),
    "a": ("all of them", "table.mark_all proposed.take_form"),
    "A": ("alike", "data.alike"),
    "b": ("hide which model is which, or count what was hidden", "compare.blind votes.blind"),
    "B": ("change all that is marked", "data.change"),
    "c": ("correct", "compare.correct problems.fix"),
    "C": ("checkpoints", "runs.checkpoints"),
    "d": ("what differs", "compare.diff evaluate.diff runs.difference difference.other"),
    "D": ("the dataset", "data.dataset"),
    "e": (
        "edit",
        "table.open problems.open proposed.edit compare.edit probes.edit runs.note duplicates.edit alike.edit"
        " turns.edit",
    ),
    "E": ("examples in a prompt", "compare.few_shot"),
    "f": ("fork", "compare.fork tokens.fork"),
    "F": ("find and replace", "data.replace"),
    "g": ("to the top", "table.first lane.top tokens.first lines.first log.first"),
    "G": ("to the bottom", "table.last lane.bottom tokens.last lines.last log.last"),
    "h": ("history: of a pair, of the figures, of a run", "data.history evaluate.history runs.log"),
    "H": ("whether a lane is honest", "compare.lane_check"),
    "i": ("into the prompt", "compare.prompt"),
    "I": ("identity", "data.identity"),
    "j": ("down", "table.down lane.down tokens.down lines.down log.down"),
    "J": ("down, and more than move", "table.stretch_down chats.preview_down turns.down"),
    "k": ("up", "table.up lane.up tokens.up lines.up log.up"),
    "K": ("up, and more than move", "table.stretch_up chats.preview_up turns.up"),
    "l": ("link the lanes", "compare.link"),
    "L": ("what is wrong with the data", "data.problems train.named"),
    "m": ("choose a model", "compare.model votes.score probes.ask statistics.model"),
    "M": ("as Markdown", "compare.markdown"),
    "n": (
        "a new one, or the next one",
        "data.new compare.new votes.train train.new export.new evaluate.new probes.new lane.next_match"
        " tokens.next_change duplicates.next turns.new snapshots.new log.next models.new",
    ),
    "N": ("the one before", "lane.previous_match tokens.previous_change duplicates.previous log.previous"),
    "o": (
        "open: a file, a conversation, a model in Compare",
        "data.import compare.chats runs.compare export.compare checkpoints.compare",
    ),
    "O": ("only one kind", "data.kind"),
    "p": ("preview", "train.rows"),
    "P": ("sets of questions", "compare.prompts evaluate.probes"),
    "q": ("close what is only read", "help.close"),
    "Q": ("keep the question", "compare.question"),
    "r": ("resume, or restore", "runs.resume evaluate.resume checkpoints.resume snapshots.restore"),
    "R": ("rename", "data.rename"),
    "s": ("stop", "runs.stop jobs.stop export.cancel evaluate.stop models.stop"),
    "S": ("stop now", "runs.kill"),
    "t": ("list only some", "data.status evaluate.worse duplicates.share"),
    "T": ("the tokens of an answer", "compare.tokens"),
    "u": (
        "undo",
        "data.undo preferences.undo problems.undo compare.unvote votes.remove probes.undo checkpoints.undo"
        " duplicates.undo turns.undo",
    ),
    "U": ("redo", "data.redo"),
    "v": ("another view", "data.detail compare.votes runs.chart difference.chart"),
    "V": ("what you prefer: the list, or one vote after the other", "data.preferences compare.vote_set"),
    "w": ("keep", "compare.keep checkpoints.result duplicates.keep"),
    "W": ("keep over the other", "compare.keep_over"),
    "x": (
        "write files",
        "data.export compare.transcript answers.write votes.write evaluate.write checkpoints.export snapshots.export",
    ),
    "X": ("remove the dataset", "data.remove"),
    "y": ("copy", "data.copy compare.copy train.copy export.copy probes.copy"),
    "Y": ("copy something larger, or its path", "compare.copy_more export.path"),
    "z": ("mute", "problems.mute duplicates.apart turns.train"),
    "Z": ("mute all of it", "problems.mute_rule duplicates.all_apart"),
}
"""Letter or digit -> what it means, and the keys that do it."""


def test_one_letter_means_one_thing_on_every_screen() -> None:
    found = defaultdict(set)
    groups = (group for group in vars(keys).values() if isinstance(group, tuple) and group and type(group[0]) is Key)
    for key in (key for group in groups for key in group):
        for name in key.keys.split(","):
            if len(name) == 1:
                found[name].add(key.id)
    assert found == {letter: set(ids.split()) for letter, (_, ids) in MEANS.items()}
