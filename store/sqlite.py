"""What the store's connections and its migrations both need: the clock and a light way to import sqlite-utils.
Knows no table."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from typing import Any

_import_lock = threading.Lock()


def now() -> int:
    """The time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def sqlite_utils() -> Any:
    """The sqlite_utils package, imported without the pandas and numpy that it would pull in (0.5 s, 80 MB)."""
    with _import_lock:
        hidden = [name for name in ("pandas", "numpy") if "sqlite_utils" not in sys.modules and name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes `import` raise ImportError
        try:
            return importlib.import_module("sqlite_utils")
        finally:
            for name in hidden:
                sys.modules.pop(name, None)
