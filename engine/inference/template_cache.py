"""Chat templates of prepared folders, loaded once for each content: a run's copy of its base's tokenizer is the
base's again. Threads share them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.models.chat_template import ChatTemplate

_KEPT = 8
_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class TemplateCache:
    """A small cache, the least recently used template dropped first."""

    def __init__(self) -> None:
        self._by_content: OrderedDict[str, ChatTemplate] = OrderedDict()
        self._contents: dict[tuple[object, ...], str] = {}
        self._lock = threading.Lock()

    def of(self, folder: Path) -> ChatTemplate:
        """The template of a folder with tokenizer.json.

        Raises BadInput or Unsupported when it has none that can be used.
        """
        with self._lock:
            content = self._content(folder)
            if content not in self._by_content:
                from engine.models.chat_template import (
                    ChatTemplate,  # tokenizers and jinja2: not before they are needed
                )

                self._by_content[content] = ChatTemplate.load(folder)
                if len(self._by_content) > _KEPT:
                    self._by_content.popitem(last=False)
            self._by_content.move_to_end(content)
            return self._by_content[content]

    def _content(self, folder: Path) -> str:
        files = [folder / name for name in _FILES if (folder / name).is_file()]
        version = tuple((path, stat.st_mtime_ns, stat.st_size) for path in files for stat in [path.stat()])
        if version not in self._contents:
            self._contents[version] = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
        return self._contents[version]
