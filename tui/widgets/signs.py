"""The signs for states, the same everywhere, so that no state is shown by colour alone.
Each is one cell wide and in the fonts that terminals have."""

from __future__ import annotations

from store.records import Status

STATUS_SIGN: dict[Status, str] = {"ready": "✓", "draft": "○", "rejected": "✗"}
