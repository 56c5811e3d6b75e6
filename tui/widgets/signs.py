"""The signs that stand for states, the same everywhere, so that colour never says anything alone.
Each is one cell wide and in the fonts that terminals have."""

from __future__ import annotations

from store.records import Status

STATUS_SIGN: dict[Status, str] = {"ready": "✓", "draft": "○", "rejected": "✗"}
