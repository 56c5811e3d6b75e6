"""The last line of every screen: the keys that work here, as many as fit.
Drawn as one widget, because Textual's footer mounts a widget for every key each time the focus moves."""

from __future__ import annotations

from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from tui import keys
from tui.keys import display

_RIGHT = ("back", "app.help")


class KeyBar(Widget):
    """Shows the bindings with `bar` set of the focused widget, the screen and the app; help stays at the right end, and
    before it what Escape does."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is self.screen:
            self.refresh()

    def _is_shown(self, binding: Binding) -> bool:
        return binding.show or (binding.id == "back" and self._back_word() is not None)

    def _back_word(self) -> str | None:
        return getattr(self.screen, "back_word", lambda: "Back")()

    def _is_typed(self, binding: Binding) -> bool:
        """Whether the focused field takes the key as text. Textual handles letters itself, but not `slash`."""
        shown, focused = display(binding.key), self.screen.focused
        return len(shown) == 1 and focused is not None and focused.check_consume_key(binding.key, shown)

    def render(self) -> Content:
        shown: dict[str, Binding] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if not enabled or not self._is_shown(binding) or self._is_typed(binding):
                continue
            # Where the focused field has the action too, show the key that is declared first.
            if binding.action not in shown or keys.is_first(binding.id, binding.key):
                shown.pop(binding.action, None)
                shown[binding.action] = binding
        right = Content("")
        for binding in sorted((b for b in shown.values() if b.id in _RIGHT), key=lambda b: _RIGHT.index(b.id or "")):
            right += _hint(binding, self._back_word() if binding.id == "back" else None)
        line, width = Content(" "), self.size.width - right.cell_length
        for binding in [b for b in shown.values() if b.id not in _RIGHT]:
            hint = _hint(binding)
            if line.cell_length + hint.cell_length <= width:
                line += hint
        return line + " " * max(0, width - line.cell_length) + right


def _hint(binding: Binding, word: str | None = None) -> Content:
    key = binding.key.split(",")[0]
    label = f"[@click=app.simulate_key('{key}')]$label[/]"
    return Content.from_markup(f"[bold $primary]$key[/] {label}  ", key=display(key), label=word or binding.description)
