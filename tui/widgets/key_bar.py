"""The last line of every page: the keys that work here or in the dialog on it, or for a while what is to be noticed.
Drawn as one widget, because Textual's footer mounts a widget for every key each time the focus moves."""

from __future__ import annotations

from textual.binding import Binding
from textual.content import Content
from textual.geometry import Size
from textual.notifications import Notification
from textual.reactive import var
from textual.screen import Screen
from textual.widget import Widget

from tui import keys
from tui.keys import display

_RIGHT = ("back", "app.help")
_SIGN = {
    "information": ("•", "bold $accent"), "warning": ("!", "bold $warning"), "error": ("✗", "bold $error"),
}  # fmt: skip
_UNDO = "Press u to undo."
_MOST, _LINES = 3, 3
"""Notices at a time, and lines of each; Alt+N lists them whole."""


class KeyBar(Widget):
    """Shows the bindings with `bar` set of the focused widget, the screen and the app; help stays at the right end, and
    before it what Escape does. Where a screen has modes, a badge at the left names the one that keys act in. Both ends
    stay where something is to be noticed."""

    notices: var[tuple[Notification, ...]] = var((), init=False, always_update=True)
    """What is shown instead of the keys, a line or more each, until its time is over. Set by the app."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self.watch(self.screen, "stack_updates", self._covered, init=False)

    def watch_notices(self) -> None:
        if self.notices:
            self.set_timer(max(0.05, min(notice.time_left for notice in self.notices)), self._forget)
        lines = max(1, self._noticed(self.size.width or 80).plain.count("\n") + 1)
        self.refresh(layout=lines != self.size.height)

    def _forget(self) -> None:
        left = tuple(notice for notice in self.notices if not notice.has_expired)
        if left != self.notices:
            self.notices = left

    def _noticed(self, width: int) -> Content:
        """Each notice with its sign, wrapped under its own start; the newest comes last."""
        if not self.notices:
            return Content("")
        badge, right = self._badge(), self._right(self._shown())
        lines: list[Content] = []
        for notice in self.notices[-_MOST:]:
            sign, style = _SIGN[notice.severity]
            wrapped = Content(self._said(notice)).wrap(max(20, width - badge.cell_length - 4))[:_LINES]
            lines += [Content.assemble((f" {sign if n == 0 else ' '} ", style), line) for n, line in enumerate(wrapped)]
        lines = [(badge if n == 0 else Content(" " * badge.cell_length)) + line for n, line in enumerate(lines)]
        if lines and (gap := width - lines[-1].cell_length - right.cell_length) > 1:
            lines[-1] += " " * gap + right
        return Content("\n").join(lines)

    def _said(self, notice: Notification) -> str:
        """A notice, without the key that undoes where that is a letter to type or undoes something else."""
        said = notice_text(notice)
        return said if not said.endswith(_UNDO) or self._can_undo() else said.removesuffix(_UNDO).rstrip()

    def _can_undo(self) -> bool:
        known = self._acting.active_bindings.get("u")
        return (
            known is not None and known.enabled and known.binding.action == "undo" and not self._is_typed(known.binding)
        )

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, self._noticed(width).plain.count("\n") + 1)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is self.screen:
            self.refresh()

    def _covered(self) -> None:
        self.refresh()

    @property
    def _acting(self) -> Screen[object]:
        """The screen that gets the keys: a dialog that covers this one and has no bar of its own, or this one."""
        top = self.app.screen
        return self.screen if top is self.screen or top.query(KeyBar) else top

    def _is_shown(self, binding: Binding) -> bool:
        return binding.show or (binding.id == "back" and self._back_word() is not None)

    def _back_word(self) -> str | None:
        return getattr(self._acting, "back_word", lambda: "Back")()

    def _is_typed(self, binding: Binding) -> bool:
        """Whether the focused field takes the key as text. Textual handles letters itself, but not `slash`."""
        shown, focused = display(binding.key), self._acting.focused
        return len(shown) == 1 and focused is not None and focused.check_consume_key(binding.key, shown)

    def render(self) -> Content:
        return self._noticed(self.size.width) if self.notices else self._keys()

    def _shown(self) -> list[Binding]:
        """The bindings to show, each action once."""
        shown: dict[str, Binding] = {}
        for _, binding, enabled, _ in self._acting.active_bindings.values():
            if not enabled or not self._is_shown(binding) or self._is_typed(binding):
                continue
            # Where the focused field has the action too, show the key that is declared first.
            if binding.action not in shown or keys.is_first(binding.id, binding.key):
                shown.pop(binding.action, None)
                shown[binding.action] = binding
        return list(shown.values())

    def _badge(self) -> Content:
        badge = getattr(self._acting, "badge", lambda: "")()
        return Content.assemble((f" {badge} ", "bold reverse")) if badge else Content("")

    def _right(self, shown: list[Binding]) -> Content:
        """What Escape does, and help."""
        right = Content("")
        for binding in sorted((b for b in shown if b.id in _RIGHT), key=lambda b: _RIGHT.index(b.id or "")):
            right += _hint(binding, self._back_word() if binding.id == "back" else None)
        return right

    def _keys(self) -> Content:
        shown = self._shown()
        line, right = self._badge() + " ", self._right(shown)
        width = self.size.width - right.cell_length
        key_word = getattr(self._acting, "key_word", lambda _: None)
        for binding in [b for b in shown if b.id not in _RIGHT]:
            word = key_word(binding.id)
            if word == "":
                continue
            hint = _hint(binding, word)
            if line.cell_length + hint.cell_length <= width:
                line += hint
        return line + " " * max(0, width - line.cell_length) + right


def notice_text(notice: Notification) -> str:
    """A notice with its title first, on the lines that it was written in."""
    words = "\n".join(" ".join(line.split()) for line in notice.message.splitlines())
    return f"{notice.title}: {words}" if notice.title else words


def _hint(binding: Binding, word: str | None = None) -> Content:
    key = binding.key.split(",")[0]
    label = f"[@click=app.simulate_key('{key}')]$label[/]"
    return Content.from_markup(f"[bold $primary]$key[/] {label}  ", key=display(key), label=word or binding.description)
