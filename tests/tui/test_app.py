"""The frame around the screens: modes, help, palette, leaving, signals, themes, and what may not be imported."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from textual.color import Color
from textual.command import CommandList

from store import datasets, jobs, pairs, runs
from store.db import Store
from tests.house import ROOT
from tests.tui.conftest import PATIENCE_S, Drive, Driver
from tui import app as app_module
from tui import drafts, keys, modes, settings, themes
from tui.messages import LiveJobs
from tui.screens.data import finder
from tui.screens.dialogs.help import key_list, text
from tui.widgets.key_bar import KeyBar

HEAVY = ("torch", "transformers", "trl", "pandas", "numpy", "peft", "datasets", "pyarrow", "llama_cpp")
OPEN_APP = """
import asyncio, sys
from pathlib import Path
from store.db import Store
from store.home import Home
from tui.app import TuningforkApp

async def main():
    with Store.open(Home(Path(sys.argv[1])).ensure()) as store:
        app = TuningforkApp(store)
        async with app.run_test() as pilot:
            await pilot.pause(0.3)
            for key in sys.argv[3:]:
                await pilot.press(key)
                await pilot.pause(0.2)

asyncio.run(main())
print([name for name in sys.argv[2].split(",") if name in sys.modules])
"""


def python(code: str, *args: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_interface_stays_light() -> None:
    code = f"import sys, tui.app, tui.screens.data.screen\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(code) == "[]"


def test_opening_the_app_and_its_dialogs_stays_light(tmp_path: Path) -> None:
    found = python(OPEN_APP, str(tmp_path / "home"), ",".join(HEAVY), "escape", "n", "escape", "i", "escape", "f1")
    assert found == "[]"


@pytest.mark.parametrize(("ssh", "fps"), [("1.2.3.4 5 6.7.8.9 22", "80"), ("", "240")])
def test_frames_are_few_over_ssh(ssh: str, fps: str) -> None:
    env = {"SSH_CONNECTION": ssh, "SSH_TTY": ""}
    mine = "import os; os.environ.pop('TEXTUAL_FPS', None)"  # inherited from this process, which has set it
    code = f"{mine}; import tui; print(os.environ['TEXTUAL_FPS'])"
    assert python(code, **env) == fps


async def test_modes_by_key_and_by_click(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        for key, mode in (("f3", "train"), ("f4", "compare"), ("f5", "export"), ("f2", "data")):
            await app.press(key)
            await app.until(lambda mode=mode: app.app.current_mode == mode)
        await app.pilot.click("Masthead", offset=(app.text.splitlines()[0].index("Train"), 0))
        await app.until(lambda: app.app.current_mode == "train")


async def test_help_shows_the_page_and_every_key(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(100, 60)) as app:
        await app.see("12 pairs")
        await app.press("f1")
        await app.see("Help: Data", "A pair is one thing the model should learn", "Write a new pair")
        await app.press("f1")
        await app.see_page("DataScreen")
        await app.press("n", "f1")
        await app.see("Help: Pair", "Save this pair and go back")
        await app.press("escape")
        await app.see_page("PairEditor")


def test_every_page_of_help_is_written_and_lists_all_its_keys() -> None:
    written = {"data", "editor", "import", "welcome", "train", "compare", "export", "checkpoints", "difference"}
    assert written <= modes.pages().keys()
    for name, page in modes.pages().items():
        assert len(text(name)) > 100 or name not in written
        listed = key_list(page, 200).plain
        for group in page.acts + page.moves:
            for key in group:
                assert key.help in listed
    assert text("no-such-page") == ""


def test_every_file_of_help_can_be_opened_by_its_title() -> None:
    from tui.screens.dialogs import help

    files = {file.stem for file in (ROOT / "tui" / "help").glob("*.md")}
    assert help.index().keys() == files >= {"remote", "data"}
    assert len(set(help.index().values())) == len(files)


async def test_the_palette_opens_a_page_of_help(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(100, 40)) as app:
        await app.see("12 pairs")
        await app.press("ctrl+p")
        await app.see_page("CommandPalette")
        await app.type("help: remote")
        await app.see("Open this page of help")
        await app.press("enter")
        await app.see("Help: Remote control", "drives the open app from a script")
        await app.press("escape")
        await app.see_page("DataScreen")


def test_the_key_list_keeps_its_columns() -> None:
    for page in modes.pages().values():
        for line in key_list(page, 50).plain.splitlines():
            assert len(line) <= 50
            if line.startswith(" "):
                assert line[16:18].strip() == "" and not line[18:].startswith(" "), line
    listed = key_list(modes.pages()["compare"], 40).plain
    assert "  ^J Alt+Enter    Start a new line in\n  Shift+Enter     the prompt\n" in listed
    assert (
        "  ^J Alt+Enter    Start a new line in the prompt\n  Shift+Enter\n"
        in key_list(modes.pages()["compare"], 60).plain
    )


async def test_help_wraps_under_the_text_at_any_width(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(60, 160)) as app:
        await app.see("12 pairs")
        await app.press("f1")
        await app.see("instruction or identity pairs", "Go back one step; never quits")
        at = app.text.splitlines()
        (first,) = [n for n, line in enumerate(at) if "List any kind, or only" in line]
        assert at[first + 1].index("instruction or") == at[first].index("List any kind"), app.text
        await app.pilot.resize_terminal(100, 160)
        await app.see("List any kind, or only instruction or identity pairs", "Go back one step; never quits")


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("alt+enter", "Alt+Enter"),
        ("shift+enter", "Shift+Enter"),
        ("shift+up", "Shift+↑"),
        ("ctrl+s", "^S"),
        ("ctrl+home", "^Home"),
        ("f12", "F12"),
        ("U", "U"),
        ("f", "f"),
        ("slash", "/"),
        ("plus", "+"),
    ],
)
def test_a_key_is_written_one_way(key: str, shown: str) -> None:
    assert keys.display(key) == shown


def test_no_key_means_two_things_on_one_screen() -> None:
    together = {
        "data": (modes.everywhere(), keys.BACK, keys.DATA, keys.TABLE),
        "editor": (modes.everywhere(), keys.BACK, keys.EDITOR, keys.PROSE),
        "import": (modes.everywhere(), keys.BACK, keys.IMPORT),
        "export": (modes.everywhere(), keys.BACK, keys.EXPORT, keys.MULTI_CHOICE),
        "train": (modes.everywhere(), keys.BACK, keys.TRAIN, keys.RUNS),
        "checkpoints": (modes.everywhere(), keys.BACK, keys.CHECKPOINTS),
        "difference": (modes.everywhere(), keys.BACK, keys.DIFFERENCE),
    }
    for screen, groups in together.items():
        taken: dict[str, str] = {}
        for key in (key for group in groups for key in group):
            for one in key.keys.split(","):
                assert one not in taken, f"{screen}: {one} is {taken[one]} and {key.id}"
                taken[one] = key.id
    everything = [key for group in vars(keys).values() if isinstance(group, tuple) for key in group]
    for key in everything:
        names = key.keys.split(",")
        assert any(not name.startswith("ctrl+") for name in names) or key.id in {"prose.top", "prose.bottom"} | {
            other.id for other in everything if other.id.startswith(("compare.", "prompt."))
        }, f"{key.id} has no second way"
        assert not {"ctrl+h", "ctrl+i", "ctrl+m", "ctrl+left_square_bracket", "ctrl+b"} & set(names), key.id


@pytest.mark.parametrize("beat", range(60, 140, 4))
async def test_quitting_while_a_screen_reads_leaves_no_traceback(
    drive: Drive, some_pairs: list[str], monkeypatch: pytest.MonkeyPatch, beat: int
) -> None:
    real = finder.find

    def slowly(*asked: Any) -> Any:
        time.sleep(0.05)
        return real(*asked)

    monkeypatch.setattr(finder, "find", slowly)
    async with drive(size=(160, 45)) as app:
        await app.see("12 pairs")
        app.app.screen.reload()  # type: ignore[attr-defined]
        await asyncio.sleep(beat / 1000)  # at the end of the block the app closes: a worker's error is raised there


async def only(app: Driver, text: str) -> None:
    """Wait until the palette offers one action, the one with this text: it searches while one types, and Enter takes
    what it has found so far."""
    await app.until(lambda: app.app.screen.query_one(CommandList).option_count == 1 and text in app.text)


async def test_the_palette_finds_and_runs_actions_of_any_screen(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("ctrl+p")
        await app.see_page("CommandPalette")
        await app.type("data: new")
        await only(app, "Write a new pair")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.press("escape", "f3")
        await app.until(lambda: app.app.current_mode == "train")
        await app.press("f12")
        await app.see_page("CommandPalette")
        await app.type("data: status filter")
        await only(app, "Status filter")
        await app.press("enter")
        await app.see("t draft", "3 pairs of 12")


async def test_an_action_of_another_mode_reaches_its_screen_under_an_editor(
    drive: Drive, store: Store, some_pairs: list[str]
) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        await app.see_page("PairEditor")
        await app.type("half a thought")
        await app.press("f3")
        await app.until(lambda: app.app.current_mode == "train")
        await app.app.act("next_status", "data")
        await app.see("t draft", "3 pairs of 12")
        assert drafts.keys(store.home), "what was typed is kept"


async def test_themes_are_chosen_and_remembered(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        for theme in themes.ALL:
            app.app.choose_theme(theme.name)
            await app.see("Question 11", "nothing running")
        await app.until(lambda: settings.load(store.home).theme == themes.SIXTEEN.name)
    async with drive() as app:
        assert app.app.theme == themes.SIXTEEN.name
        await app.see("12 pairs")


async def test_a_theme_is_shown_while_the_palettes_cursor_is_on_it(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        for leave, left_with in (("escape", themes.DARK), ("enter", themes.GRUVBOX)):
            await app.press("ctrl+p")
            await app.see_page("CommandPalette")
            await app.type("theme: gruvbox")
            await app.see("Theme: Gruvbox")
            await app.press("down")
            await app.until(lambda: app.app.theme == themes.GRUVBOX.name)
            await app.press(leave)
            await app.until(lambda: app.page == "DataScreen")
            await app.until(lambda left_with=left_with: app.app.theme == left_with.name)


def test_text_is_readable_in_every_theme() -> None:
    """4.5 to 1, as WCAG 2 asks of text, on each ground of a theme; the 16 colours are the terminal's."""

    def light(color: Color) -> float:
        parts = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for theme in (themes.CATPPUCCIN, themes.GRUVBOX, themes.SOLARIZED_LIGHT, themes.CONTRAST):
        inks = [theme.foreground, theme.variables["faint"], theme.primary, theme.secondary, theme.error, theme.success]
        for ink in inks:
            for ground in (theme.background, theme.surface, theme.panel):
                assert ink and ground
                dark, bright = sorted((light(Color.parse(ink)), light(Color.parse(ground))))
                assert (bright + 0.05) / (dark + 0.05) >= (7 if theme is themes.CONTRAST else 4.5), (theme.name, ink)


@pytest.mark.parametrize(
    ("environ", "theme"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm"}, themes.DARK),
        ({"TERM": "xterm-256color"}, themes.DARK),
        ({"TERM": "linux"}, themes.SIXTEEN),
        ({"TERM": "screen"}, themes.SIXTEEN),
        ({"TERM": "xterm-256color", "COLORFGBG": "0;15"}, themes.LIGHT),
    ],
)
def test_the_theme_fits_the_terminal(environ: dict[str, str], theme: object) -> None:
    assert themes.automatic(environ) == theme.name  # type: ignore[attr-defined]


async def test_no_color_is_obeyed(drive: Drive, some_pairs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with drive() as app:
        await app.see("12 pairs", "✓", "○", "✗", "▌")
        strips = app.app.screen._compositor.render_strips(app.app.size)
        from textual.filter import Monochrome

        filters = [each for each in app.app._filters if isinstance(each, Monochrome)]
        assert filters
        styles = [
            s.style for strip in strips for s in filters[0].apply(list(strip), app.app.background_colors[1]) if s.style
        ]
        colours = {style.color.triplet for style in styles if style.color and style.color.triplet}
        assert colours and all(c.red == c.green == c.blue for c in colours)


async def test_leaves_at_once_when_nothing_is_at_stake(drive: Drive, some_pairs: list[str]) -> None:
    for key in ("ctrl+q", "f10"):
        async with drive() as app:
            await app.see("12 pairs")
            await app.press(key)
            await app.until(lambda: not app.app.is_running)
            assert app.app.return_value == 0


async def test_says_that_a_run_goes_on_before_leaving(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    frozen = datasets.freeze(store, "shop")
    runs.create(
        store,
        name="ember-1",
        base="smollm2-135m",
        snapshot=frozen.hash,
        method="lora",
        config={},
        config_hash="x",
        seed=0,
    )
    run = runs.get(store, "ember-1")
    runs.open_attempt(store, run.id, host="h", pid=1, pid_started=1.0, token="t" * 32, log_path="x")
    async with drive() as app:
        await app.see("12 pairs", "● ember-1")
        await app.press("ctrl+q")
        await app.see("Quit Tuningfork?", "The run ember-1 continues without this window.")
        assert app.app.focused and app.app.focused.id == "go", "nothing is lost, so Enter leaves"
        await app.press("left", "enter")
        await app.see_page("DataScreen")
        assert app.app.is_running
        await app.press("f10", "escape")
        assert app.app.is_running
        await app.press("f10", "enter")
        await app.until(lambda: not app.app.is_running)
    assert runs.get(store, "ember-1").wanted == "run"


async def test_a_change_is_shown_however_slow_the_look(
    drive: Drive, store: Store, some_pairs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = app_module._live_jobs

    def slowly(store: Store) -> LiveJobs:
        time.sleep(2 * app_module._POLL_S)  # a machine that is busy with other work
        return look(store)

    monkeypatch.setattr(app_module, "_live_jobs", slowly)
    async with drive() as app:
        await app.until(lambda: not app.app.live.jobs)
        jobs.create(store, kind="export", module="none", name="ember-1", request={})
        await app.until(lambda: app.app.live.jobs)


async def test_leaving_with_unsaved_text_keeps_it(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        await app.see_page("PairEditor")
        await app.type("not saved")
        await app.press("ctrl+q")
        await app.see("Quit Tuningfork?", "Unsaved text is kept")
        await app.press("ctrl+q")
        await app.until(lambda: not app.app.is_running)
    found = drafts.load(store.home, drafts.NEW)
    assert found and found.question == "not saved"


async def test_errors_say_what_where_and_what_to_do(drive: Drive, some_pairs: list[str]) -> None:
    from store.errors import BadInput

    error = BadInput("the field [/x] is \x1b[31mwrong", where="a file:3", todo="Run: tuningfork doctor")
    async with drive() as app:
        await app.see("12 pairs")
        app.app.show_error(error)
        await app.see("That did not work", "The field [/x] is [31mwrong", "a file:3", "Run: tuningfork doctor")
        await app.press("enter")
        await app.see_page("DataScreen")
        app.app.notify_error(error)
        await app.until(lambda: app.notices == ["a file:3: the field [/x] is [31mwrong\n  Run: tuningfork doctor"])
        await app.see("a file:3: the field", "tuningfork doctor")


def test_settings_survive_nonsense(store: Store) -> None:
    path = settings.path(store.home)
    for body in ("", "[]", '{"theme": 7, "keymap": {"a": 1}, "name": "Nova", "more": true}'):
        path.write_text(body)
        found = settings.load(store.home)
        assert found.theme == "" and found.keymap is None
    assert found.name == "Nova"
    kept = settings.Settings(theme="x", name="Nova \ud800", keymap={"data.new": "N"})
    settings.save(store.home, kept)
    assert settings.load(store.home) == kept


async def test_a_user_keymap_moves_keys(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    settings.save(store.home, settings.Settings(keymap={"data.new": "N"}))
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        assert app.page == "DataScreen"
        await app.press("question_mark")
        await app.see("Help: Data")
        await app.until(
            lambda: "  N               Write a new pair" in app.app.screen.query_one("#keys").render().plain
        )
        await app.press("escape", "N")
        await app.see_page("PairEditor")


class Terminal:
    """The app in a process of its own, on a pseudo-terminal."""

    def __init__(self, home: Path, *words: str) -> None:
        self.master, slave = pty.openpty()
        env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "TUNINGFORK_HOME": str(home)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def see(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536).decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def hang_up(self) -> None:
        os.killpg(self.process.pid, signal.SIGHUP)
        os.close(self.master)


@pytest.mark.parametrize("how", ["hangup", "term"])
def test_a_lost_terminal_or_a_sigterm_keeps_what_was_typed(store: Store, some_pairs: list[str], how: str) -> None:
    terminal = Terminal(store.home.root)
    terminal.see("12 pairs")
    terminal.type("n")
    terminal.see("New pair")
    terminal.type("typed and never saved")
    terminal.see("saved")
    if how == "hangup":
        terminal.hang_up()
    else:
        terminal.process.terminate()
    code = terminal.process.wait(timeout=PATIENCE_S)
    assert code == 128 + (signal.SIGHUP if how == "hangup" else signal.SIGTERM)
    found = drafts.load(store.home, drafts.NEW)
    assert found and found.question == "typed and never saved"
    assert pairs.count(store) == 12


def test_first_paint_on_a_real_terminal_is_quick(store: Store, some_pairs: list[str]) -> None:
    """In processor time from start to end, against what the framework alone costs: other tests share the cores."""
    framework = _processor_time(subprocess.Popen([sys.executable, "-c", "import textual.app"]))
    terminal = Terminal(store.home.root)
    terminal.see("12 pairs")
    terminal.process.terminate()
    assert _processor_time(terminal.process) < 7 * framework  # an import of torch would add 6
    os.close(terminal.master)


def _processor_time(process: subprocess.Popen[bytes]) -> float:
    """Seconds, of a process that ends by itself."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("width", [60, 80])
async def test_no_dialog_cuts_its_buttons(drive: Drive, store: Store, some_pairs: list[str], width: int) -> None:
    from textual.widgets import Button

    from store.errors import BadInput
    from store.records import PairDraft
    from tui.screens.data.conflict import ConflictDialog
    from tui.screens.data.export_dialog import ExportDialog
    from tui.screens.data.sample_data import Samples, SamplesDialog, SamplesLoaded, load
    from tui.screens.dialogs.ask import Ask
    from tui.screens.dialogs.confirm import Confirm
    from tui.screens.dialogs.error import ErrorDialog
    from tui.screens.dialogs.notice import Notice

    long = "a long line that has to be wrapped " * 6
    dialogs = (
        ConflictDialog(pairs.get(store, some_pairs[0]), PairDraft(long, long)),
        Confirm("Delete 120,000 marked pairs", long, "Delete 120,000"),
        Confirm("Quit Tuningfork?", long, "Quit", cancel="Stay", harmless=True),
        Ask("Rename dataset", "New name", "shop", verb="Rename"),
        ErrorDialog(BadInput(long, where="a file:3", todo=long)),
        Notice("Imported", long, long),
        ExportDialog("shop"),
        SamplesDialog(),
        SamplesLoaded(Samples("Ember", load(store, {"name": "Ember", "author": "Northwind Labs"}))),
    )
    async with drive((width, 24)) as app:
        await app.see("164 pairs")
        for dialog in dialogs:
            app.app.push_screen(dialog)
            await app.until(lambda dialog=dialog: dialog.query(Button) and dialog.query(Button).last().size.width)
            await app.pilot.pause()
            room = dialog.query_one(".dialog").content_region
            for button in dialog.query(Button):
                assert room.contains_region(button.region), f"{type(dialog).__name__}: {button.label}"
                assert str(button.label) in app.text
            await app.press("escape")
            await app.see_page("DataScreen")


async def test_a_long_dialog_scrolls_and_keeps_its_buttons(drive: Drive, some_pairs: list[str]) -> None:
    from tui.screens.dialogs.confirm import Confirm

    lines = "\n".join(f"line {n}" for n in range(40))
    async with drive() as app:
        await app.see("12 pairs")
        app.app.push_screen(Confirm("Long", lines, "Do it"))
        await app.see("line 0", "Do it", "Cancel")
        assert "line 39" not in app.text
        await app.press("pagedown", "pagedown", "pagedown")
        await app.see("line 39", "Do it", "Cancel")
        await app.press("pageup", "pageup", "pageup")
        await app.see("line 0")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_notices_cover_nothing_and_are_listed(drive: Drive, some_pairs: list[str], size: tuple[int, int]) -> None:
    async with drive(size=size) as app:
        await app.see("12 pairs")
        app.app.notify("Something is worth a look.", severity="warning", timeout=60)
        app.app.notify("Saved.", title="A pair", timeout=5)
        await app.see("! Something is worth a look.", "• A pair: Saved.", "12 pairs", "Question 0: where")
        await app.until(lambda: "Saved." not in app.text)
        await app.see("! Something is worth a look.")
        app.app.clear_notifications()
        await app.see("F1 Help")
        await app.press("alt+n")
        await app.see("Notices", "A pair: Saved.", "Something is worth a look.")


async def test_under_a_dialog_the_key_bar_shows_the_keys_of_the_dialog(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs", "n New")
        await app.press("D")
        await app.see("Type to filter")
        bar = app.app.screen_stack[-2].query_one(KeyBar)
        assert "New" not in bar.render().plain and "Esc Close" in bar.render().plain
        await app.press("escape")
        await app.see("n New")


async def test_a_notice_leaves_help_and_the_way_back_in_view(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("enter")
        await app.see_page("PairEditor")
        app.app.notify("Saved.", timeout=600)
        await app.see("Saved.", "Esc Back", "F1 Help")
        app.app.notify("A long one. " * 30, timeout=600)
        await app.see("A long one.")


async def test_a_notice_names_the_key_that_undoes_only_where_it_does(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        app.app.notify("1 pair deleted. Press u to undo.", timeout=600)
        await app.see("1 pair deleted. Press u to undo.")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.see("1 pair deleted.", "Esc Back")
        assert "Press u" not in app.text, "the letter is typed here"
        await app.press("escape")
        await app.see("1 pair deleted. Press u to undo.")
