"""Reads what the terminal sends as the keys that were pressed, where the framework's parser reads something else.
Pastes are tui.paste's; which key does what is in tui.keys."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.events import Key
from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character
from textual.message import Message

from tui.paste import PasteSafeParser

_KEYPAD = {"add": "plus", "subtract": "minus", "multiply": "asterisk", "divide": "slash", "decimal": "full_stop"}

_UNICODE_NAMES = {short: long for long, short in KEY_NAME_REPLACEMENTS.items()}


class _AltKey(Enum):
    """Alt and a digit or Enter, in the form in which the framework keeps the keys that it knows."""

    ALT_1, ALT_2, ALT_3, ALT_4, ALT_5, ALT_6, ALT_7, ALT_8, ALT_9 = (f"alt+{digit}" for digit in range(1, 10))
    ALT_ENTER = "alt+enter"


def read_alt_keys() -> None:
    """Read Escape and a digit or Enter, which terminals send for Alt and that key, as that key.

    Textual 8.2 takes digits for characters of a Mac's Option key, so Alt+3 would type a pound sign, and drops the
    Escape before Enter, so Alt+Enter would send a prompt. A Mac set to send such characters sends the characters
    themselves.
    """
    for key in _AltKey:
        end = "\r" if key is _AltKey.ALT_ENTER else key.value[-1]
        ANSI_SEQUENCES_KEYS[f"\x1b{end}"] = (key,)  # type: ignore[index]


def as_pressed(event: Key) -> Key:
    """The key with the character that it types, and with none where a modifier makes it a command.

    Textual 8.2 gives Alt+E the character `e`, so that a field types it, and `+` of kitty's protocol no character at
    all, so that it acts on the screen instead of being typed.

    >>> as_pressed(Key("alt+e", "e")).character, as_pressed(Key("shift+plus", None)).character
    (None, '+')
    """
    if event.key.startswith(("alt+", "ctrl+")):
        return event if event.character is None else Key(event.key, None)
    if event.character is not None:
        return event
    name = event.key.removeprefix("shift+")
    name = _KEYPAD.get(name, name)
    character = key_to_character(_UNICODE_NAMES.get(name, name))
    return event if character is None or not character.isprintable() else Key(name, character)


class TerminalParser(PasteSafeParser):
    """The framework's parser with pastes as text and every key as it was pressed."""

    def feed(self, data: str) -> Iterable[Message]:
        """Parse the next input; the empty string ends it."""
        return map(_as_pressed_key, super().feed(data))

    def tick(self) -> Iterable[Message]:
        """What waited for more input that did not come: Alt and a letter, whose Escape may begin a longer sequence."""
        return map(_as_pressed_key, super().tick())


def _as_pressed_key(message: Message) -> Message:
    return as_pressed(message) if type(message) is Key else message


def install() -> None:
    """Let the terminal's driver read its input through TerminalParser."""
    from textual.drivers import linux_driver

    read_alt_keys()
    linux_driver.XTermParser = TerminalParser  # type: ignore[misc]
