"""Limits that the client, the server, comparisons and screens share, each said once.
Numbers only; whoever enforces one says so where it does."""

from __future__ import annotations

LANE_NAMES = "abcd"
"""The lanes of a comparison, in order."""
