"""Every key of the app in one place: id, keys, action, the word in the key bar and the sentence in the help.
Nothing else declares a binding, so that the help screen, the key bar and a user's own keymap can never disagree."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One binding. `keys` is a comma-separated list, the first is the one shown; `bar` puts it in the key bar."""

    id: str
    keys: str
    action: str
    label: str
    help: str
    bar: bool = False
    priority: bool = False


def bindings(*groups: tuple[Key, ...]) -> list[BindingType]:
    """Textual bindings of the groups, in order."""
    return [
        Binding(k.keys, k.action, k.label, show=k.bar, priority=k.priority, id=k.id, tooltip=k.help)
        for group in groups
        for k in group
    ]


APP = (
    Key("app.help", "f1", "help", "Help", "Help for this screen, with all its keys", bar=True, priority=True),
    Key("app.data", "f2", "mode('data')", "Data", "Pairs and datasets: what the model learns from"),
    Key("app.train", "f3", "mode('train')", "Train", "Tune a model on a dataset, watch and stop runs"),
    Key("app.compare", "f4", "mode('compare')", "Compare", "Chat with two models side by side"),
    Key("app.export", "f5", "mode('export')", "Export", "Make files of a run that other programs read"),
    Key("app.palette", "ctrl+p,f12", "command_palette", "Actions", "Every action by name"),
    Key("app.quit", "ctrl+q,f10", "quit", "Quit", "Leave; a run goes on without this window", priority=True),
)

BACK = (Key("back", "escape", "back", "Back", "Go back one step; never quits"),)

TABLE = (
    Key("table.up", "up,k", "move(-1)", "Up", "Go to the pair above"),
    Key("table.down", "down,j", "move(1)", "Down", "Go to the pair below"),
    Key("table.page_up", "pageup", "page(-1)", "Page up", "Go up by one screen"),
    Key("table.page_down", "pagedown", "page(1)", "Page down", "Go down by one screen"),
    Key("table.first", "home", "first", "First", "Go to the newest pair"),
    Key("table.last", "end,G", "last", "Last", "Go to the oldest pair"),
    Key("table.open", "enter,e", "open", "Edit", "Read and change this pair", bar=True),
    Key("table.mark", "space", "mark", "Mark", "Mark or unmark this pair; actions go to all marked pairs", bar=True),
    Key("table.stretch_up", "shift+up,K", "stretch(-1)", "Mark up", "Mark while going up"),
    Key("table.stretch_down", "shift+down,J", "stretch(1)", "Mark down", "Mark while going down"),
    Key("table.mark_all", "a", "mark_all", "Mark all", "Mark every listed pair, or none"),
)

SEARCH = (
    Key("search.list", "down,enter", "list", "To the list", "Go from the search field to what was found", bar=True),
)

DATA = (
    Key("data.search", "slash,ctrl+f", "search", "Search", "Search questions and answers as you type", bar=True),
    Key("data.new", "n", "new", "New", "Write a new pair", bar=True),
    Key("data.ready", "r", "status('ready')", "Ready", "Mark as ready: the next run learns it", bar=True),
    Key("data.draft", "d", "status('draft')", "Draft", "Mark as a draft: not learnt yet"),
    Key("data.reject", "x", "status('rejected')", "Reject", "Mark as rejected: never learnt, but kept"),
    Key("data.dataset", "g", "dataset", "Dataset", "Choose which dataset is listed, or make one", bar=True),
    Key("data.add", "plus", "add_to_dataset", "Add to", "Put these pairs into a dataset"),
    Key("data.drop", "minus", "drop_from_dataset", "Take out", "Take these pairs out of the listed dataset; they stay"),
    Key("data.import", "i", "import_file", "Import", "Read pairs from a file", bar=True),
    Key("data.export", "o", "export_file", "Write file", "Write the listed dataset to a file"),
    Key("data.undo", "u,ctrl+z", "undo", "Undo", "Take back the last change"),
    Key("data.redo", "U,ctrl+y", "redo", "Redo", "Do again what was taken back"),
    Key("data.delete", "delete,backspace", "delete", "Delete", "Delete these pairs; u brings them back"),
    Key("data.status", "s", "next_status", "Status filter", "List any status, or only ready, draft or rejected pairs"),
    Key("data.kind", "t", "next_kind", "Kind filter", "List any kind, or only instruction or identity pairs"),
    Key("data.detail", "v", "detail", "View", "Show or hide the whole pair beside the list"),
    Key("data.rename", "R", "rename_dataset", "Rename dataset", "Give the listed dataset another name"),
    Key("data.split", "S", "split_dataset", "Deal out", "Deal the listed dataset out to train and validation"),
    Key("data.remove", "X", "remove_dataset", "Remove dataset", "Remove the listed dataset; its pairs stay"),
    Key("data.samples", "w", "samples", "Samples", "Load the sample data"),
)

EDITOR = (
    Key("editor.save", "ctrl+s,f8", "save", "Save", "Save this pair and go back", bar=True, priority=True),
    Key("editor.next", "ctrl+n,f9", "save_next", "Save, next", "Save and write another pair", bar=True, priority=True),
    Key("editor.revert", "ctrl+r,f6", "revert", "Start over", "Drop what is not saved", bar=True, priority=True),
)

PROSE = (
    Key("prose.top", "ctrl+home", "top", "Top", "Go to the beginning of the text"),
    Key("prose.bottom", "ctrl+end", "bottom", "Bottom", "Go to the end of the text"),
)

IMPORT = (Key("import.go", "ctrl+s,f8", "go", "Import", "Read the file into the dataset", bar=True, priority=True),)

CHOICE = (
    Key("choice.next", "right,space,l", "step(1)", "Next", "Take the next of the choices"),
    Key("choice.previous", "left,h", "step(-1)", "Previous", "Take the choice before"),
)

LANE = (Key("lane.bottom", "end,G", "bottom", "Newest", "Go to the newest line and follow it"),)

PROMPT = (
    Key("prompt.send", "enter", "send", "Send", "Send the prompt to every lane", bar=True),
    Key("prompt.newline", "ctrl+j,alt+enter,shift+enter", "newline", "New line", "Begin a new line in the prompt"),
)

COMPARE = (
    Key(
        "compare.swap",
        "f6,ctrl+t",
        "swap",
        "Other lane",
        "Go to the other lane (a narrow window shows one at a time)",
        bar=True,
    ),
    Key("compare.again", "r,ctrl+r", "again", "Again", "Answer the last prompt again by the same seed", bar=True),
    Key("compare.reseed", "R,ctrl+g", "reseed", "New seed", "Answer the last prompt again by a new seed"),
    Key("compare.edit", "e", "edit", "Edit", "Change the last prompt and send it again"),
    Key("compare.left", "1", "vote('left')", "Left better", "Vote: the left answer is better"),
    Key("compare.right", "2", "vote('right')", "Right better", "Vote: the right answer is better"),
    Key("compare.tie", "3", "vote('tie')", "Tie", "Vote: both are equally good"),
    Key("compare.bad", "4", "vote('both_bad')", "Both bad", "Vote: neither is any good"),
    Key("compare.unvote", "u", "unvote", "Undo vote", "Take the last vote back"),
    Key("compare.blind", "b", "blind", "Blind", "Hide and shuffle the sides of the next prompts until you vote"),
    Key("compare.diff", "d,f8", "diff", "Diff", "Show what differs between the two answers, word by word", bar=True),
    Key("compare.keep", "w", "keep", "Keep", "Save this answer as a pair of a dataset", bar=True),
    Key("compare.keep_over", "W", "keep_over", "Keep over", "Save this answer as a pair, the other lane's as rejected"),
    Key("compare.question", "Q", "question", "Question", "Send the question to a dataset, as a draft to be answered"),
    Key("compare.correct", "c", "correct", "Correct", "Mend this answer in the editor and save it as a pair", bar=True),
    Key("compare.copy", "y", "copy", "Copy", "Copy this answer"),
    Key("compare.model", "m", "model", "Model", "Choose the model of this lane", bar=True),
    Key("compare.settings", "s,f7", "settings", "Settings", "System prompt, temperature, seed and length", bar=True),
    Key(
        "compare.proof",
        "h,f9",
        "proof",
        "Proof",
        "Prove that each lane is what it says: the base plain, the tuned one tuned",
    ),
    Key("compare.new", "n,ctrl+n", "new", "New", "Begin a new conversation with the same lanes"),
    Key("compare.fork", "f", "fork", "Fork", "Go on from an earlier turn, in a conversation of its own"),
    Key("compare.chats", "o,ctrl+o", "chats", "Open", "Open an earlier conversation"),
    Key("compare.votes", "v", "votes", "Votes", "All votes, who wins, and how sure that is"),
    Key("compare.transcript", "x", "transcript", "Write", "Write this conversation to files (Markdown and JSONL)"),
    Key("compare.prompts", "P", "prompts", "Prompts", "Put a whole set of prompts to every lane, from a file or kept"),
    Key("compare.markdown", "M", "markdown", "Markdown", "Show finished answers as Markdown, or literally again"),
    Key("compare.add", "plus", "add_lane", "Add lane", "Add one more lane (up to four)"),
    Key("compare.few_shot", "E", "few_shot", "Examples", "Add a lane: the base with examples of a dataset"),
    Key("compare.drop", "minus", "drop_lane", "Close lane", "Close this lane"),
)

CHATS = (
    Key("chats.search", "slash,ctrl+f", "search", "Search", "Search what was asked and answered", bar=True),
    Key("chats.remove", "delete,x", "remove", "Remove", "Remove this conversation", bar=True),
)

ANSWERS = (
    Key("answers.write", "x", "write", "Write files", "Write all answers to files (Markdown and JSONL)", bar=True),
)

VOTES = (
    Key("votes.remove", "delete,u", "remove", "Take back", "Take this vote back", bar=True),
    Key("votes.write", "x", "write", "Write files", "Write all preferences to files that trainers read", bar=True),
)

DIFF = (Key("diff.swap", "tab", "app.focus_next", "Other side", "Scroll the other side", bar=True),)

SETTINGS = (Key("settings.save", "ctrl+s,f8", "save", "Use", "Use these settings", priority=True),)

PICKER = (Key("picker.list", "enter", "pick", "List", "List everything that can be chosen here", bar=True),)

TRAIN = (
    Key("train.new", "n", "new", "New run", "Choose dataset, model and recipe for a new run", bar=True),
    Key("train.start", "ctrl+s,f8", "start", "Start", "Start the run as it stands here", bar=True),
    Key("train.more", "f7", "more", "More settings", "Show or hide the settings that are rarely changed", bar=True),
    Key("train.rows", "p", "rows", "Preview", "Show what the model will learn, token by token", bar=True),
)

RUNS = (
    Key("runs.stop", "s", "stop", "Stop", "Stop this run after saving a checkpoint; it can be resumed", bar=True),
    Key("runs.kill", "S", "stop_now", "Stop now", "End this run at once, without a checkpoint"),
    Key("runs.resume", "r", "resume", "Resume", "Go on from the last checkpoint", bar=True),
    Key("runs.compare", "c", "compare", "Compare", "Chat with this run beside its base model", bar=True),
    Key("runs.remove", "delete,x", "remove", "Remove", "Remove this run and its files", bar=True),
)

TICKS = (Key("ticks.toggle", "space", "tick", "Tick", "Tick or untick the one under the cursor", bar=True),)

EXPORT = (
    Key("export.new", "n", "new", "Export", "Choose format and quants for this run", bar=True),
    Key("export.start", "ctrl+s,f8", "start", "Start", "Make what is chosen", bar=True),
    Key("export.cancel", "s", "cancel", "Cancel", "Cancel the export that goes on; nothing of it stays", bar=True),
    Key("export.copy", "y", "copy", "Copy", "Copy the command under the cursor", bar=True),
    Key("export.path", "p", "copy_path", "Copy path", "Copy the path of this export", bar=True),
    Key("export.compare", "c", "compare", "Compare", "Chat with the exported file beside its run", bar=True),
    Key("export.remove", "delete,x", "remove", "Delete", "Delete this export and its files", bar=True),
)


_DISPLAY = {
    "escape": "Esc", "enter": "Enter", "space": "Space", "slash": "/", "delete": "Del", "backspace": "Backspace",
    "plus": "+", "minus": "-", "question_mark": "?", "pageup": "PgUp", "pagedown": "PgDn", "up": "↑", "down": "↓",
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
        return f"{modifier.capitalize()}+{display(rest)}"
    return key.upper() if len(key) > 1 and key[0] == "f" else key


@dataclass(frozen=True, slots=True)
class Page:
    """A screen's keys as help and palette list them: what acts, and how to get around."""

    title: str
    acts: tuple[tuple[Key, ...], ...] = ()
    moves: tuple[tuple[Key, ...], ...] = ()


PAGES: dict[str, Page] = {
    "data": Page("Data", (DATA,), (TABLE, SEARCH)),
    "train": Page("Train", (TRAIN, RUNS), (PICKER, CHOICE)),
    "compare": Page("Compare", (COMPARE,), (PROMPT, LANE)),
    "export": Page("Export", (EXPORT,), (CHOICE, TICKS)),
    "chats": Page("Conversations", (CHATS,)),
    "votes": Page("Votes", (VOTES,)),
    "answers": Page("Answers", (ANSWERS,)),
    "editor": Page("Pair", (EDITOR,), (PROSE, CHOICE)),
    "import": Page("Import", (IMPORT,), (CHOICE,)),
    "welcome": Page("Welcome"),
}
"""By the name of the page in tui/help."""

_FIRST = {
    key.id: key.keys.split(",")[0]
    for page in PAGES.values() for group in page.acts + page.moves for key in group
}  # fmt: skip


def is_first(id: str | None, key: str) -> bool:
    """Whether `key` is the one that a binding is shown with."""
    return _FIRST.get(id or "") == key
