"""Snapshots of preferences and feedback, as SQL with the reason of each. Data only: never edited once released."""

OBJECTIVES = """
-- Where a frozen preference or feedback came from. A pair's row finds its source through pair_id, because pairs are
-- only marked as deleted; preferences and feedback are really removed, so their rows keep it themselves.
ALTER TABLE snapshot_row ADD COLUMN source TEXT CHECK (source IS NULL OR json_valid(source));
"""
