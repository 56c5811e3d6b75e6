"""Migration step "review": what you decided about findings, so that no one asks again.
Data only, never edited once released."""

REVIEW = """
-- A rule that is not reported: everywhere, in one dataset, or of one row. A dataset is meant by its number and the time
-- it was made, because a number is given again after the newest dataset was removed; undoing that brings both back.
CREATE TABLE muted_rule (
  id INTEGER PRIMARY KEY, rule TEXT NOT NULL, dataset_id INTEGER NOT NULL DEFAULT 0,
  dataset_made_at INTEGER NOT NULL DEFAULT 0, uid TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL,
  UNIQUE (rule, dataset_id, dataset_made_at, uid), CHECK (dataset_id = 0 OR uid = '')
) STRICT;
-- Two pairs that look alike and are both wanted, by their uids in order.
CREATE TABLE not_duplicate (
  one TEXT NOT NULL, other TEXT NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (one, other), CHECK (one < other)
) STRICT;
"""
