"""What a store of a million pairs needs less of: each state of a pair is kept once, what an import adds is noted by the
range, and the search index has no second copy by first letters. Released steps are never edited."""

from __future__ import annotations

from store.search_text import TOKENIZER

_STATE = ("kind", "system", "history", "question", "answer", "status", "tags", "source", "content_hash", "deleted_at")


def _columns(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _STATE)


_MEMBER = "json_object({})".format(
    ", ".join(f"'{name}', {{side}}.{name}" for name in ("dataset_id", "pair_id", "split", "pinned"))
)
_FTS_OPTIONS = f'tokenize="{TOKENIZER.replace(chr(34), chr(34) * 2)}"'

PAST = f"""
ALTER TABLE pair_revision RENAME TO old_revision;
DROP INDEX pair_revision_edit;
DROP TRIGGER pair_revision_frozen;
DROP TRIGGER pair_revision_kept;
-- Which edit made which revision of a pair. What the pair was then is in pair_past, or it is the pair (its last one).
CREATE TABLE pair_revision (
  pair_id INTEGER NOT NULL REFERENCES pair (id), revision INTEGER NOT NULL,
  edit_id INTEGER NOT NULL REFERENCES edit (id), PRIMARY KEY (pair_id, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX pair_revision_edit ON pair_revision (edit_id);
-- What a pair was in a revision that is not its last: kept when it is changed, so a pair that never was is kept once.
CREATE TABLE pair_past (
  pair_id INTEGER NOT NULL REFERENCES pair (id), revision INTEGER NOT NULL,
  kind TEXT NOT NULL, system TEXT NOT NULL, history TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
  status TEXT NOT NULL, tags TEXT NOT NULL, source TEXT NOT NULL, content_hash TEXT NOT NULL, deleted_at INTEGER,
  PRIMARY KEY (pair_id, revision)
) STRICT;
INSERT INTO pair_revision SELECT pair_id, revision, edit_id FROM old_revision;
INSERT INTO pair_past SELECT r.pair_id, r.revision, {_columns("r")} FROM old_revision r JOIN pair p ON p.id = r.pair_id
  WHERE r.revision <> p.revision OR ({_columns("r")}) IS NOT ({_columns("p")});
DROP TABLE old_revision;
CREATE TRIGGER pair_revision_frozen BEFORE UPDATE ON pair_revision
BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END;
CREATE TRIGGER pair_revision_kept BEFORE DELETE ON pair_revision
BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END;
CREATE TRIGGER pair_past_frozen BEFORE UPDATE ON pair_past
BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END;
CREATE TRIGGER pair_past_kept BEFORE DELETE ON pair_past
BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END;
-- An edit may change a pair in two steps: what it was before the first counts.
CREATE TRIGGER pair_past_keep BEFORE UPDATE OF revision, {", ".join(_STATE)} ON pair BEGIN
  INSERT OR IGNORE INTO pair_past VALUES (old.id, old.revision, {_columns("old")});
END;
CREATE VIEW pair_state AS
  SELECT r.pair_id, r.revision, r.edit_id,
    {", ".join(f"iif(s.pair_id IS NULL, p.{name}, s.{name}) AS {name}" for name in _STATE)}
  FROM pair_revision r JOIN pair p ON p.id = r.pair_id
  LEFT JOIN pair_past s ON s.pair_id = r.pair_id AND s.revision = r.revision;

-- Half of a hash finds a pair as well, in an index half as large: each import looks every row up in it.
DROP INDEX pair_content;
CREATE INDEX pair_content ON pair (substr(content_hash, 1, 16)) WHERE deleted_at IS NULL;

-- The members that an import adds are one change for each range of new pairs, not one for each pair (edits.py). `n` is
-- how many rows a change is.
ALTER TABLE edit_change ADD COLUMN n INTEGER NOT NULL DEFAULT 1;
ALTER TABLE open_edit ADD COLUMN by_range INTEGER NOT NULL DEFAULT 0 CHECK (by_range IN (0, 1));
DROP TRIGGER edit_dataset_pair_insert;
CREATE TRIGGER edit_dataset_pair_insert AFTER INSERT ON dataset_pair
  WHEN coalesce((SELECT by_range FROM open_edit), 0) = 0
BEGIN
  INSERT INTO edit_change (edit_id, table_name, before, after)
    VALUES ((SELECT edit_id FROM open_edit), 'dataset_pair', NULL, {_MEMBER.format(side="new")});
END;
DROP TRIGGER edit_dataset_pair_delete;
CREATE TRIGGER edit_dataset_pair_delete AFTER DELETE ON dataset_pair
  WHEN coalesce((SELECT by_range FROM open_edit), 0) = 0
BEGIN
  INSERT INTO edit_change (edit_id, table_name, before, after)
    VALUES ((SELECT edit_id FROM open_edit), 'dataset_pair', {_MEMBER.format(side="old")}, NULL);
END;

-- The first screen of a search comes from the newest pairs (search.py), so one letter needs no index of its own.
DROP TABLE pair_fts;
CREATE VIRTUAL TABLE pair_fts USING fts5(body, content='pair_text', content_rowid='id', {_FTS_OPTIONS});
UPDATE search_rules SET rules = 'none';
"""
