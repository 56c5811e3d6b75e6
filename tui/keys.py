"""Every key of the app in one place: id, keys, action, the word in the key bar and the sentence in the help.
No other module declares a binding, so the help screen, the key bar and a user's own keymap always agree. The keys that
open a mode are made here too (`of_mode`), from the rows of tui.modes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One binding. `keys` is a comma-separated list, the first is the one shown; `bar` puts it in the key bar.

    `priority` lets the key act before the focused widget sees it, except for keys that type a character.
    """

    id: str
    keys: str
    action: str
    label: str
    help: str
    bar: bool = False
    priority: bool = False

    @property
    def first(self) -> str:
        """The key that is shown where only one fits."""
        return self.keys.partition(",")[0]


_FIRST: dict[str, str] = {}


def bindings(*groups: tuple[Key, ...]) -> list[BindingType]:
    """Textual bindings of the groups, in order."""
    return [binding for group in groups for key in group for binding in _bindings_of(key)]


def _bindings_of(key: Key) -> Iterator[Binding]:
    _FIRST[key.id] = key.first
    for name in key.keys.split(","):
        priority = key.priority and len(display(name)) > 1
        yield Binding(name, key.action, key.label, show=key.bar, priority=priority, id=key.id, tooltip=key.help)


def is_first(id: str | None, key: str) -> bool:
    """Whether `key` is the one that a binding is shown with."""
    return _FIRST.get(id or "") == key


def of_mode(name: str, number: int, title: str, help: str) -> Key:
    """The key that opens a mode: F2 and Alt+2 for number 2."""
    return Key(f"app.{name}", f"f{number},alt+{number}", f"mode('{name}')", title, help)


HELP = (
    Key(
        "app.help",
        "f1,question_mark,alt+1",
        "help",
        "Help",
        "Help for this screen, with all its keys",
        bar=True,
        priority=True,
    ),
)

APP = (
    Key(
        "app.jump",
        "ctrl+l,alt+l",
        "jump",
        "Jump",
        "Label all fields, lists and buttons in view; type a label to go there",
        priority=True,
    ),
    Key("app.jobs", "alt+j,f11", "jobs", "Jobs", "List running and finished jobs; stop one"),
    Key("app.models", "alt+m", "models", "Models", "List the models; add, prepare or remove one"),
    Key("app.doctor", "alt+c", "doctor", "Doctor: check this machine", "Check what Tuningfork needs on this machine"),
    Key("app.notices", "alt+n", "notices", "Notices", "List the notices of this session again"),
    Key("app.suspend", "ctrl+z,alt+z", "suspend_process", "Suspend", "Go to the shell; fg comes back"),
    Key("app.palette", "ctrl+p,f12", "command_palette", "Actions", "Find actions and help by name"),
    Key("app.quit", "ctrl+q,f10", "quit", "Quit", "Quit; runs and exports continue in the background", priority=True),
)

BACK = (Key("back", "escape", "back", "Back", "Go back one step; never quits"),)

HELP_PAGE = (Key("help.close", "q,f1,question_mark", "back", "Close", "Close the help"),)

DIALOG = (
    Key("dialog.previous", "left,up", "app.focus_previous", "Previous", "Go to the previous button or field"),
    Key("dialog.next", "right,down", "app.focus_next", "Next", "Go to the next button or field"),
    Key("dialog.page_up", "pageup", "scroll_body(-1)", "Page up", "Scroll a long text up"),
    Key("dialog.page_down", "pagedown", "scroll_body(1)", "Page down", "Scroll a long text down"),
)

PICK = (
    Key("pick.up", "up", "move(-1)", "Up", "Go to the entry above", priority=True),
    Key("pick.down", "down", "move(1)", "Down", "Go to the entry below", priority=True),
)

PATHS = (
    Key("paths.complete", "tab", "complete", "Complete", "Complete the path, or go to the next one", bar=True),
    Key("paths.down", "down", "move(1)", "Down", "Go to the path below; Enter picks it"),
    Key("paths.up", "up", "move(-1)", "Up", "Go to the path above"),
)

WELCOME = (
    Key("welcome.samples", "1", "choose(0)", "Sample data", "Try it with sample data"),
    Key("welcome.import", "2", "choose(1)", "Import", "Import a file"),
    Key("welcome.new", "3", "choose(2)", "New", "Write the first pair"),
)

TABLE = (
    Key("table.up", "up,k", "move(-1)", "Up", "Go to the pair above"),
    Key("table.down", "down,j", "move(1)", "Down", "Go to the pair below"),
    Key("table.page_up", "pageup", "page(-1)", "Page up", "Go up one page"),
    Key("table.page_down", "pagedown", "page(1)", "Page down", "Go down one page"),
    Key("table.first", "home,g", "first", "First", "Go to the newest pair"),
    Key("table.last", "end,G", "last", "Last", "Go to the oldest pair"),
    Key("table.open", "enter,e", "open", "Edit", "Open this pair to read or edit it", bar=True),
    Key("table.mark", "space", "mark", "Mark", "Mark or unmark this pair; actions apply to all marked pairs", bar=True),
    Key("table.stretch_up", "shift+up,K", "stretch(-1)", "Mark up", "Mark while going up"),
    Key("table.stretch_down", "shift+down,J", "stretch(1)", "Mark down", "Mark while going down"),
    Key("table.mark_all", "a", "mark_all", "Mark all", "Mark all listed pairs, or none"),
)

LINES = (
    Key("lines.open", "enter", "select", "Open", "Open what is under the cursor", bar=True),
    Key("lines.up", "k", "cursor_up", "Up", "Go to the line above"),
    Key("lines.down", "j", "cursor_down", "Down", "Go to the line below"),
    Key("lines.first", "g", "first", "First", "Go to the first line"),
    Key("lines.last", "G", "last", "Last", "Go to the last line"),
)

SEARCH = (Key("search.list", "down,enter", "list", "To the list", "Go from the search field to the results", bar=True),)

DATA = (
    Key("data.search", "slash,ctrl+f", "search", "Search", "Search questions, answers and system texts", bar=True),
    Key("data.new", "n", "new", "New", "Write a new pair", bar=True),
    Key("data.ready", "1", "status('ready')", "Ready", "Set status to ready: the next run trains on it", bar=True),
    Key("data.draft", "2", "status('draft')", "Draft", "Set status to draft: not trained on yet"),
    Key("data.reject", "3", "status('rejected')", "Reject", "Set status to rejected: kept, but never trained on"),
    Key("data.dataset", "D", "dataset", "Dataset", "Choose which dataset to list, or create one", bar=True),
    Key("data.add", "plus", "add_to_dataset", "Add to", "Add these pairs to a dataset"),
    Key(
        "data.drop",
        "minus",
        "drop_from_dataset",
        "Take out",
        "Take these pairs out of the listed dataset without deleting them",
    ),
    Key("data.import", "o", "import_file", "Import", "Import pairs from a file", bar=True),
    Key("data.export", "x", "export_file", "Export", "Write the listed dataset to a file"),
    Key("data.undo", "u", "undo", "Undo", "Undo the last change"),
    Key("data.redo", "U,ctrl+y", "redo", "Redo", "Redo the last undone change"),
    Key("data.delete", "delete,backspace", "delete", "Delete", "Delete these pairs; u brings them back"),
    Key("data.change", "B", "change", "Change", "Change status, kind, tags or dataset of the chosen pairs"),
    Key("data.replace", "F", "replace", "Replace", "Find and replace a text in the chosen pairs"),
    Key("data.copy", "y", "copy", "Copy", "Copy this pair as a draft, and open the copy"),
    Key("data.history", "h", "history", "History", "Show what changed in this pair, and restore an earlier revision"),
    Key("data.status", "t", "next_status", "Status filter", "List any status, or only ready, draft or rejected pairs"),
    Key("data.kind", "O", "next_kind", "Kind filter", "List any kind, or only instruction or identity pairs"),
    Key("data.detail", "v", "detail", "View", "Show or hide the whole pair beside the list"),
    Key("data.rename", "R", "rename_dataset", "Rename dataset", "Rename the listed dataset"),
    Key(
        "data.split",
        "percent_sign",
        "split_dataset",
        "Split",
        "Split the listed dataset into train and validation pairs",
    ),
    Key("data.remove", "X", "remove_dataset", "Remove dataset", "Remove the listed dataset; its pairs stay"),
    Key("data.preferences", "V", "preferences", "Preferences", "List preferences and feedback of the listed dataset"),
    Key("data.problems", "L", "problems", "Problems", "List what is probably wrong in the listed dataset, and fix it"),
    Key("data.statistics", "number_sign", "statistics", "Statistics", "Show what the listed dataset is made of"),
    Key(
        "data.snapshots",
        "asterisk",
        "snapshots",
        "Snapshots",
        "List what was frozen; compare, restore or write a snapshot",
    ),
    Key("data.duplicates", "alt+d", "duplicates", "Review duplicates", "Review the duplicates of the listed dataset"),
    Key("data.alike", "A", "alike", "More like this", "List the pairs that are most like this one"),
    Key("data.identity", "I", "identity", "Identity", "Make pairs of five answers that teach a model who it is"),
    Key("data.samples", "ctrl+e,alt+s", "samples", "Samples", "Load the sample data"),
)

PREFERENCES = (
    Key("preferences.search", "slash,ctrl+f", "search", "Search", "Search prompts and answers as you type", bar=True),
    Key("preferences.remove", "delete,backspace", "remove", "Remove", "Remove this row; u brings it back", bar=True),
    Key("preferences.undo", "u", "undo", "Undo", "Undo the last change", bar=True),
)

PROBLEMS = (
    Key("problems.open", "e", "open", "Edit", "Open the pair under the cursor to correct it", bar=True),
    Key(
        "problems.fix",
        "c",
        "fix",
        "Correct",
        "Show what the rule under the cursor can correct in this dataset",
        bar=True,
    ),
    Key("problems.mute", "z", "mute(False)", "Mute", "Report this finding of this row no longer", bar=True),
    Key("problems.mute_rule", "Z", "mute(True)", "Mute rule", "Report what this rule finds in this dataset no longer"),
    Key("problems.undo", "u", "undo", "Undo", "Undo the last change", bar=True),
)

STATISTICS = (Key("statistics.model", "m", "model", "Model", "Count tokens of another model", bar=True),)

SNAPSHOTS = (
    Key("snapshots.new", "n", "freeze", "Freeze", "Freeze the listed dataset as it is now", bar=True),
    Key("snapshots.mark", "space", "mark", "Mark", "Mark it; Enter on another one compares the two", bar=True),
    Key("snapshots.restore", "r", "restore", "Restore", "Make a dataset of it; u on Data undoes that", bar=True),
    Key("snapshots.export", "x", "export", "Export", "Write the rows of this snapshot to a file", bar=True),
)

DUPLICATES = (
    Key("duplicates.keep", "w", "keep", "Keep", "Keep this pair and drop the others of its group", bar=True),
    Key(
        "duplicates.merge",
        "plus",
        "merge",
        "Combine",
        "Merge: give this pair the tags and datasets of its group, and delete the others",
        bar=True,
    ),
    Key("duplicates.apart", "z", "apart", "No duplicate", "This pair is no duplicate of the others: mute it", bar=True),
    Key("duplicates.all_apart", "Z", "all_apart", "None are", "No two pairs of this group are duplicates: mute it"),
    Key("duplicates.next", "n", "step(1)", "Next group", "Go to the next group", bar=True),
    Key("duplicates.previous", "N", "step(-1)", "Previous", "Go to the group before"),
    Key("duplicates.share", "t", "threshold", "Share", "Choose from which share of common text on pairs are listed"),
    Key("duplicates.edit", "e", "edit", "Edit", "Open the pair under the cursor"),
    Key("duplicates.undo", "u", "undo", "Undo", "Undo the last decision", bar=True),
)

ALIKE = (Key("alike.edit", "e", "edit", "Edit", "Open the pair under the cursor", bar=True),)

IDENTITY = (
    Key(
        "identity.show",
        "ctrl+s,f8",
        "show",
        "Show pairs",
        "Show the pairs, to choose and edit",
        bar=True,
        priority=True,
    ),
)

PROPOSED = (
    Key("proposed.take", "space", "take", "Leave out", "Leave this pair out, or take it again", bar=True),
    Key(
        "proposed.take_form", "a", "take_form", "Whole form", "Leave out all pairs of this form, or take them", bar=True
    ),
    Key("proposed.edit", "e", "edit", "Edit", "Edit this pair before it is saved", bar=True),
    Key("proposed.save", "ctrl+s,f8", "save", "Save", "Save the pairs that are taken, as one change", bar=True),
)

PROPOSED_PAIR = (
    Key("proposed_pair.keep", "ctrl+s,f8", "keep", "Keep", "Keep this text and go back", bar=True, priority=True),
    Key(
        "proposed_pair.turns", "f7,alt+h", "turns", "Turns", "Show and edit the earlier turns", bar=True, priority=True
    ),
    Key("proposed_pair.revert", "ctrl+r,alt+r", "revert", "Discard", "Discard your changes", bar=True, priority=True),
)

EDITOR = (
    Key("editor.save", "ctrl+s,f8", "save", "Save", "Save this pair and go back", bar=True, priority=True),
    Key("editor.next", "ctrl+n,f9", "save_next", "Save, next", "Save and start another pair", bar=True, priority=True),
    Key("editor.revert", "ctrl+r,alt+r", "revert", "Discard", "Discard unsaved changes", bar=True, priority=True),
    Key("editor.turns", "f7,alt+h", "turns", "Turns", "Show and edit the earlier turns", bar=True, priority=True),
    Key("editor.field", "alt+e", "field_outside", "Editor", "Write this field in your own editor ($VISUAL or $EDITOR)"),
    Key("editor.whole", "alt+w", "whole_outside", "Whole pair", "Write the whole pair in your own editor, as Markdown"),
)

TURNS = (
    Key("turns.new", "n", "new", "New", "Add a turn after this one, and write it", bar=True),
    Key("turns.edit", "e", "edit", "Edit", "Write the text of this turn"),
    Key("turns.train", "z", "train", "Only read", "Train on this answer, or only read it (weight 0)", bar=True),
    Key("turns.remove", "delete,backspace", "remove", "Remove", "Remove this turn; u brings it back", bar=True),
    Key("turns.up", "K,shift+up", "move(-1)", "Move up", "Move this turn up"),
    Key("turns.down", "J,shift+down", "move(1)", "Move down", "Move this turn down"),
    Key("turns.undo", "u", "undo", "Undo", "Undo the last change of these turns", bar=True),
    Key("turns.keep", "ctrl+s,f8", "keep", "Keep", "Keep the turns and go back to the pair", bar=True, priority=True),
    Key("turns.revert", "ctrl+r,alt+r", "revert", "Discard", "Go back to the turns as they are stored", priority=True),
)

PROSE = (
    Key("prose.top", "ctrl+home", "top", "Top", "Go to the start of the text"),
    Key("prose.bottom", "ctrl+end", "bottom", "Bottom", "Go to the end of the text"),
)

IMPORT = (Key("import.go", "ctrl+s,f8", "go", "Import", "Import the file into the dataset", bar=True, priority=True),)

CHOICE = (
    Key("choice.next", "right,space", "step(1)", "Next", "Select the next value"),
    Key("choice.previous", "left", "step(-1)", "Previous", "Select the previous value"),
)

LANE = (
    Key("lane.left", "left", "screen.swap(-1)", "Lane left", "Go to the lane at the left"),
    Key("lane.right", "right", "screen.swap(1)", "Lane right", "Go to the lane at the right"),
    Key("lane.up", "k", "scroll_up", "Up", "Scroll up one line"),
    Key("lane.down", "j", "scroll_down", "Down", "Scroll down one line"),
    Key("lane.top", "home,g", "scroll_home", "Top", "Go to the start of the conversation"),
    Key("lane.bottom", "end,G", "bottom", "Newest", "Go to the newest line and follow it"),
    Key("lane.next_match", "n", "screen.match(1)", "Next match", "In a search: go to the next match", bar=True),
    Key("lane.previous_match", "N", "screen.match(-1)", "Previous", "In a search: go to the match before", bar=True),
)

PROMPT = (
    Key("prompt.send", "enter", "send", "Send", "Send the prompt to every lane", bar=True),
    Key(
        "prompt.newline",
        "ctrl+j,alt+enter,shift+enter",
        "newline",
        "New line",
        "Start a new line in the prompt",
        bar=True,
    ),
    Key("prompt.lanes", "tab", "screen.lanes", "Lanes", "Go to the lane in front, where letters are keys", bar=True),
    Key("prompt.editor", "alt+e", "editor", "Editor", "Write the prompt in your own editor ($VISUAL or $EDITOR)"),
)

COMPARE = (
    Key(
        "compare.swap",
        "ctrl+t,alt+t",
        "swap",
        "Other lane",
        "Go to the other lane (a narrow window shows one at a time)",
        bar=True,
    ),
    Key("compare.prompt", "i", "prompt", "Prompt", "Go to the prompt, where letters are text", bar=True),
    Key("compare.keep", "w", "keep", "Keep", "Save this answer as a pair of a dataset", bar=True),
    Key("compare.correct", "c", "correct", "Correct", "Correct this answer and save it as a pair", bar=True),
    Key("compare.left", "1", "vote('left')", "Left better", "Vote: the left answer is better", bar=True),
    Key("compare.right", "2", "vote('right')", "Right better", "Vote: the right answer is better", bar=True),
    Key("compare.tie", "3", "vote('tie')", "Tie", "Vote: both are equally good", bar=True),
    Key("compare.bad", "4", "vote('both_bad')", "Both bad", "Vote: neither is good", bar=True),
    Key("compare.unvote", "u", "unvote", "Undo vote", "Undo the last vote of this conversation", bar=True),
    Key("compare.again", "ctrl+r,alt+r", "again", "Again", "Answer the last prompt again with the same seed", bar=True),
    Key("compare.reseed", "ctrl+g,alt+g", "reseed", "New seed", "Answer the last prompt again with a new seed"),
    Key("compare.edit", "e", "edit", "Edit", "Edit the last prompt and send it again"),
    Key("compare.blind", "b", "blind", "Blind", "Hide and shuffle the sides of the next prompts until you vote"),
    Key("compare.diff", "d,f8", "diff", "Diff", "Show what differs between the two answers, word by word", bar=True),
    Key(
        "compare.tokens",
        "T",
        "tokens",
        "Logprobs",
        "Show by how much tuning changed the probability of each token of this answer",
    ),
    Key("compare.taught", "exclamation_mark", "taught", "Taught by", "Find the pairs that taught the run this answer"),
    Key("compare.keep_over", "W", "keep_over", "Keep over", "Save this answer as a pair, the other lane's as rejected"),
    Key("compare.question", "Q", "question", "Question", "Save the question to a dataset, as a draft to answer later"),
    Key("compare.find", "slash,ctrl+f", "find", "Find", "Find a text in the conversation; then n and N", bar=True),
    Key("compare.link", "l", "link", "Link", "Let the lanes scroll together, or each by itself"),
    Key("compare.copy", "y", "copy", "Copy", "Copy this answer"),
    Key("compare.copy_more", "Y", "copy_more", "Copy more", "Copy a turn, this lane, or the whole conversation"),
    Key("compare.model", "m", "model", "Model", "Choose the model of this lane", bar=True),
    Key(
        "compare.settings",
        "comma,f7",
        "settings",
        "Settings",
        "Set system prompt, temperature, seed and length",
        bar=True,
    ),
    Key(
        "compare.lane_check",
        "H,f9",
        "lane_check",
        "Lane check",
        "Check that the base lane is the plain base model, and the tuned lane the tuned one",
    ),
    Key("compare.new", "n,ctrl+n", "new", "New", "Start a new conversation with the same lanes"),
    Key("compare.fork", "f", "fork", "Fork", "Continue from an earlier turn, in a new conversation"),
    Key("compare.chats", "o,ctrl+o", "chats", "Open", "Open an earlier conversation"),
    Key("compare.votes", "v", "votes", "Votes", "List all votes, which model wins, and how certain that is"),
    Key("compare.vote_set", "V", "vote_set", "Vote a set", "Vote through a set of prompts, blind, one after the other"),
    Key("compare.transcript", "x", "transcript", "Write files", "Write this conversation as Markdown and JSONL files"),
    Key("compare.prompts", "P", "prompts", "Prompts", "Send a set of prompts to every lane, saved or from a file"),
    Key("compare.markdown", "M", "markdown", "Markdown", "Show finished answers as Markdown, or as plain text"),
    Key("compare.add", "plus", "add_lane", "Add lane", "Add one more lane (up to four)"),
    Key("compare.few_shot", "E", "few_shot", "Examples", "Add a lane: the base model with examples from a dataset"),
    Key("compare.drop", "minus", "drop_lane", "Close lane", "Close this lane"),
)

CHATS = (
    Key("chats.search", "slash,ctrl+f", "search", "Search", "Search prompts and answers", bar=True),
    Key("chats.remove", "delete,backspace", "remove", "Remove", "Remove this conversation", bar=True),
    Key("chats.preview_down", "shift+down,J", "scroll_preview(1)", "Preview down", "Read on in the preview"),
    Key("chats.preview_up", "shift+up,K", "scroll_preview(-1)", "Preview up", "Read back in the preview"),
)

ANSWERS = (
    Key("answers.write", "x", "write", "Write files", "Write all answers as Markdown and JSONL files", bar=True),
)

VOTES = (
    Key("votes.remove", "delete,backspace,u", "remove", "Undo", "Undo this vote", bar=True),
    Key("votes.blind", "b", "blind_only", "Blind only", "Count all votes, or only those that stayed blind", bar=True),
    Key("votes.train", "n", "train", "Train on these", "Train on these votes: a new run by DPO", bar=True),
    Key("votes.score", "m", "score", "Reward model", "Score the answers of these votes by a reward model", bar=True),
    Key("votes.write", "x", "write", "Write files", "Write all preferences to files for training", bar=True),
)

DIFF = (Key("diff.swap", "tab", "app.focus_next", "Other side", "Scroll the other side", bar=True),)

TOKENS = (
    Key("tokens.left", "left", "step(-1)", "Left", "Go to the token before"),
    Key("tokens.right", "right", "step(1)", "Right", "Go to the next token"),
    Key("tokens.up", "up,k", "line(-1)", "Up", "Go to the token above"),
    Key("tokens.down", "down,j", "line(1)", "Down", "Go to the token below"),
    Key("tokens.first", "home,g", "first", "First", "Go to the first token"),
    Key("tokens.last", "end,G", "last", "Last", "Go to the last token"),
    Key(
        "tokens.next_change",
        "n",
        "changed(1)",
        "Next change",
        "Go to the next token that tuning made ten times as likely, or as unlikely",
        bar=True,
    ),
    Key("tokens.previous_change", "N", "changed(-1)", "Previous", "Go to the one before", bar=True),
)

TOKEN_FORK = (
    Key("tokens.fork", "f", "fork", "Fork", "Continue the answer with another token than this one", bar=True),
)

TAUGHT = (Key("taught.open", "enter", "open", "Open", "Open this pair to correct it", bar=True),)

SETTINGS = (Key("settings.save", "ctrl+s,f8", "save", "Apply", "Apply these settings", priority=True),)

PICKER = (Key("picker.list", "enter", "pick", "List", "List everything that can be chosen here", bar=True),)

TRAIN = (
    Key("train.new", "n", "new", "New run", "Choose dataset, model and recipe for a new run", bar=True),
    Key("train.start", "ctrl+s,f8", "start", "Start", "Start the run with these settings", bar=True),
    Key("train.more", "f7", "more", "More settings", "Show or hide the settings that are rarely changed", bar=True),
    Key("train.copy", "y", "copy", "Copy settings", "Copy these settings as a file for train --config"),
    Key("train.rows", "p", "rows", "Preview", "Show what the model will learn, token by token", bar=True),
    Key("train.named", "L", "named", "Open rows", "Open a row that the check names, to correct it", bar=True),
)

RUNS = (
    Key("runs.stop", "s", "stop", "Stop", "Save a checkpoint, then stop this run; it can be resumed", bar=True),
    Key("runs.kill", "S", "stop_now", "Stop now", "Stop this run at once, without a checkpoint"),
    Key("runs.first", "less_than_sign", "put_first", "Start next", "Let this run start before the others that wait"),
    Key("runs.resume", "r", "resume", "Resume", "Continue from the last checkpoint", bar=True),
    Key("runs.compare", "o", "compare", "Compare", "Chat with this run beside its base model", bar=True),
    Key(
        "runs.diagnose",
        "exclamation_mark",
        "diagnose",
        "Diagnose",
        "Find what went wrong, and start the run that fixes it",
        bar=True,
    ),
    Key("runs.chart", "v", "chart", "Chart", "Draw the next of loss, probes, drift, learning rate and tokens/s"),
    Key("runs.remove", "delete,backspace", "remove", "Remove", "Remove this run and its files", bar=True),
    Key("runs.checkpoints", "C", "checkpoints", "Checkpoints", "List what this run saved, and what is kept", bar=True),
    Key("runs.note", "e", "note", "Note", "Write or change your note on this run", bar=True),
    Key("runs.find", "slash,ctrl+f", "find", "Find", "Find a run by its name or its note", bar=True),
    Key("runs.difference", "d", "difference", "Diff", "Show its settings, and what differs from another run", bar=True),
    Key("runs.log", "h", "log", "Log", "Read the log of this run as its process wrote it", bar=True),
)

LOG_TEXT = (
    Key("log.up", "k", "scroll_up", "Up", "Scroll up one line"),
    Key("log.down", "j", "scroll_down", "Down", "Scroll down one line"),
    Key("log.first", "home,g", "first", "First", "Go to the oldest line"),
    Key("log.last", "end,G", "bottom", "Newest", "Go to the newest line and follow it", bar=True),
)

RUN_LOG = (
    Key("log.find", "slash,ctrl+f", "find", "Find", "Find a text in the log; then n and N", bar=True),
    Key("log.next", "n", "match(1)", "Next match", "In a search: go to the next match", bar=True),
    Key("log.previous", "N", "match(-1)", "Previous", "In a search: go to the match before", bar=True),
)

MODELS = (
    Key("models.new", "n", "new", "Add", "Add a model: a folder, a .gguf file, org/name or an address", bar=True),
    Key("models.stop", "s", "stop", "Stop", "Stop preparing; the next try continues there", bar=True),
    Key("models.remove", "delete,backspace", "remove", "Remove", "Remove it from the list; its files stay", bar=True),
)

DOCTOR = (Key("doctor.again", "ctrl+r,alt+r", "again", "Again", "Check everything again", bar=True),)

DIFFERENCE = (
    Key("difference.other", "d", "other_run", "Other run", "Choose the run that it is compared with", bar=True),
    Key("difference.chart", "v", "chart", "Chart", "Draw the next of loss, probes, drift, rate and tokens/s", bar=True),
    Key(
        "difference.axis",
        "equals_sign",
        "axis",
        "Steps or time",
        "Draw over the steps, or over the training time",
        bar=True,
    ),
    Key("difference.more", "f7", "more", "More settings", "Show or hide the settings that the recipe made", bar=True),
)

CHECKPOINTS = (
    Key("checkpoints.compare", "o", "compare", "Compare", "Chat with this checkpoint beside the base model", bar=True),
    Key("checkpoints.export", "x", "export", "Export", "Open Export with this step", bar=True),
    Key("checkpoints.result", "w", "make_result", "Keep as result", "Let the run's name stand for this one", bar=True),
    Key("checkpoints.undo", "u", "undo", "Undo", "Undo the last change of the result", bar=True),
    Key("checkpoints.remove", "delete,backspace", "remove", "Remove", "Remove this checkpoint and its files", bar=True),
    Key("checkpoints.resume", "r", "resume", "Resume", "Continue the run from this checkpoint", bar=True),
)

MULTI_CHOICE = (Key("multi_choice.toggle", "space", "toggle_value", "Select", "Select or unselect a line", bar=True),)

JOBS = (Key("jobs.stop", "s,delete", "stop", "Stop", "Stop this job; a run saves a checkpoint first", bar=True),)

EXPORT = (
    Key("export.new", "n", "new", "Export", "Choose a format and quantizations for this run", bar=True),
    Key("export.start", "ctrl+s,f8", "start", "Start", "Start the export", bar=True),
    Key("export.cancel", "s", "cancel", "Cancel", "Cancel this export and remove its unfinished files", bar=True),
    Key("export.copy", "y", "copy", "Copy", "Copy the command under the cursor", bar=True),
    Key("export.path", "Y", "copy_path", "Copy path", "Copy the path of this export", bar=True),
    Key("export.push", "greater_than_sign", "push", "Push", "Upload this export to the Hugging Face hub", bar=True),
    Key("export.compare", "o", "compare", "Compare", "Chat with the exported file beside its run", bar=True),
    Key("export.remove", "delete,backspace", "remove", "Delete", "Delete this export and its files", bar=True),
)

EVALUATE = (
    Key("evaluate.new", "n", "new", "Evaluate", "Ask models the test rows of a dataset", bar=True),
    Key("evaluate.stop", "s", "stop", "Stop", "Stop this evaluation; its answers are kept", bar=True),
    Key("evaluate.resume", "r", "resume", "Continue", "Ask what this evaluation still misses", bar=True),
    Key("evaluate.worse", "t", "worse", "Got worse", "Show only the rows that got worse, or all", bar=True),
    Key("evaluate.diff", "d", "diff", "Diff", "Show what differs between the answers, word by word", bar=True),
    Key(
        "evaluate.probes",
        "P",
        "probes",
        "Probes",
        "List and edit probe sets, and ask a model their questions",
        bar=True,
    ),
    Key("evaluate.history", "h", "history", "History", "Plot how the figures moved over the evaluations", bar=True),
    Key("evaluate.write", "x", "write", "Write files", "Write the report as HTML, Markdown, CSV and JSON files"),
    Key("evaluate.remove", "delete,backspace", "remove", "Delete", "Delete this evaluation and its answers"),
)

PROBES = (
    Key("probes.edit", "e", "edit", "Edit", "Edit this probe", bar=True),
    Key("probes.new", "n", "new", "New", "Write a new probe; in the list of sets: a new set", bar=True),
    Key("probes.ask", "m", "ask", "Ask model", "Ask a model the probes of this set", bar=True),
    Key(
        "probes.copy", "y", "copy", "Copy", "Copy this probe; in the list of sets: the set, to edit the copy", bar=True
    ),
    Key(
        "probes.delete",
        "delete,backspace",
        "delete",
        "Delete",
        "Delete this probe; in the list of sets: the set; u brings it back",
        bar=True,
    ),
    Key(
        "probes.settings", "comma,f7", "settings", "Settings", "Set judge, rubric and score for the whole set", bar=True
    ),
    Key("probes.undo", "u", "undo", "Undo", "Undo the last change of this screen", bar=True),
)

PROBE = (Key("probe.save", "ctrl+s,f8", "save", "Save", "Save this probe and go back", bar=True, priority=True),)


_DISPLAY = {
    "escape": "Esc", "enter": "Enter", "space": "Space", "slash": "/", "delete": "Del", "backspace": "Backspace",
    "plus": "+", "minus": "-", "question_mark": "?", "pageup": "PgUp", "pagedown": "PgDn", "up": "↑", "down": "↓",
    "percent_sign": "%", "exclamation_mark": "!", "less_than_sign": "<", "comma": ",", "number_sign": "#",
    "greater_than_sign": ">", "asterisk": "*", "equals_sign": "=",
    "left": "←", "right": "→", "tab": "Tab", "shift+tab": "Shift+Tab", "home": "Home", "end": "End",
}  # fmt: skip


def display(key: str) -> str:
    """How one key is written on the screen: `ctrl+s` as `^S`, `alt+enter` as `Alt+Enter`, `f2` as `F2`, `U` as `U`."""
    if key in _DISPLAY:
        return _DISPLAY[key]
    modifier, plus, rest = key.partition("+")
    if modifier == "ctrl":
        return "^" + (display(rest) if len(rest) > 1 else rest.upper())
    if plus:
        name = rest.upper() if modifier == "alt" and len(rest) == 1 else display(rest)
        return f"{modifier.capitalize()}+{name}"
    return key.upper() if len(key) > 1 and key[0] == "f" else key


@dataclass(frozen=True, slots=True)
class Page:
    """A screen's keys as help and palette list them: what acts, and how to get around."""

    title: str
    acts: tuple[tuple[Key, ...], ...] = ()
    moves: tuple[tuple[Key, ...], ...] = ()


PAGES: dict[str, Page] = {
    "chats": Page("Conversations", (CHATS,)),
    "votes": Page("Votes", (VOTES,)),
    "answers": Page("Answers", (ANSWERS,)),
    "tokens": Page("Tokens", (TOKEN_FORK,), (TOKENS,)),
    "taught": Page("Taught by", (TAUGHT,), (LINES,)),
    "preferences": Page("Preferences", (PREFERENCES,)),
    "problems": Page("Problems", (PROBLEMS,)),
    "statistics": Page("Statistics", (STATISTICS,), (LINES,)),
    "snapshots": Page("Snapshots", (SNAPSHOTS,), (LINES,)),
    "snapshot_diff": Page("Snapshot diff", (), (LINES,)),
    "duplicates": Page("Duplicates", (DUPLICATES,)),
    "alike": Page("More like this", (ALIKE,)),
    "identity": Page("Identity", (IDENTITY,), (MULTI_CHOICE, CHOICE)),
    "proposed": Page("Proposed pairs", (PROPOSED,)),
    "proposed_pair": Page("Proposed pair", (PROPOSED_PAIR,), (PROSE,)),
    "history": Page("History of the figures", (), (LINES,)),
    "probes": Page("Probe sets", (PROBES,)),
    "probe": Page("Probe", (PROBE,), (PROSE, CHOICE)),
    "probe_answers": Page("Answers to probes"),
    "editor": Page("Pair", (EDITOR,), (PROSE, CHOICE)),
    "turns": Page("Earlier turns", (TURNS,), (LINES, PROSE, CHOICE)),
    "checkpoints": Page("Checkpoints", (CHECKPOINTS,)),
    "models": Page("Models", (MODELS,), (LINES,)),
    "doctor": Page("Doctor", (DOCTOR,), (LINES,)),
    "run_log": Page("Log of a run", (RUN_LOG,), (LOG_TEXT,)),
    "difference": Page("Runs compared", (DIFFERENCE,)),
    "import": Page("Import", (IMPORT,), (CHOICE,)),
    "welcome": Page("Welcome", (WELCOME,)),
}
"""Pages that open on top of a mode, by their name in tui/help. The modes' own pages are in tui.modes."""
