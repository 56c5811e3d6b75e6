"""Preferences become rows like pairs: with a uid, kept once in each dataset, in a split; feedback is searchable too.
And a member of a dataset may be pinned: its split was given with the data, so splitting again leaves it there."""

from __future__ import annotations

from store.schema_search import FTS_OPTIONS

PREFERENCES = f"""
ALTER TABLE dataset_pair ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));

DROP VIEW preference;
ALTER TABLE imported_preference RENAME TO old_preference;
CREATE TABLE imported_preference (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL CHECK (json_valid(prompt)),
  chosen TEXT NOT NULL, rejected TEXT NOT NULL, source TEXT NOT NULL CHECK (json_valid(source)),
  content_hash TEXT NOT NULL, dataset_id INTEGER REFERENCES dataset (id) ON DELETE CASCADE,
  split TEXT NOT NULL DEFAULT 'train' CHECK (split IN ('train', 'val', 'test')), created_at INTEGER NOT NULL
) STRICT;
INSERT INTO imported_preference
  SELECT id, lower(hex(randomblob(6))), prompt, chosen, rejected, source, content_hash, dataset_id, 'train', created_at
  FROM old_preference;
DROP TABLE old_preference;
CREATE UNIQUE INDEX imported_preference_content ON imported_preference (coalesce(dataset_id, 0), content_hash);
CREATE INDEX imported_preference_dataset ON imported_preference (dataset_id);
CREATE VIEW preference AS
  SELECT id AS vote_id, NULL AS import_id, NULL AS uid, prompt, CASE choice WHEN 'a' THEN a_text ELSE b_text END AS
    chosen, CASE choice WHEN 'a' THEN b_text ELSE a_text END AS rejected,
    json_object('vote', id, 'chosen', CASE choice WHEN 'a' THEN a_model ELSE b_model END,
      'rejected', CASE choice WHEN 'a' THEN b_model ELSE a_model END) AS source, NULL AS dataset_id,
    'train' AS split, created_at
  FROM vote WHERE choice IN ('a', 'b') AND a_text <> b_text AND deleted_at IS NULL
  UNION ALL SELECT NULL, id, uid, prompt, chosen, rejected, source, dataset_id, split, created_at
    FROM imported_preference;

CREATE VIEW preference_text AS SELECT id, indexed_preference(prompt, chosen, rejected) AS body FROM imported_preference;
CREATE VIRTUAL TABLE preference_fts USING fts5(body, content='preference_text', content_rowid='id', {FTS_OPTIONS});
CREATE TRIGGER preference_fts_insert AFTER INSERT ON imported_preference BEGIN
  INSERT INTO preference_fts (rowid, body) VALUES (new.id, indexed_preference(new.prompt, new.chosen, new.rejected));
END;
CREATE TRIGGER preference_fts_delete AFTER DELETE ON imported_preference BEGIN
  INSERT INTO preference_fts (preference_fts, rowid, body)
    VALUES ('delete', old.id, indexed_preference(old.prompt, old.chosen, old.rejected));
END;

CREATE VIEW feedback_text AS SELECT id, indexed_preference(prompt, answer, '') AS body FROM feedback;
CREATE VIRTUAL TABLE feedback_fts USING fts5(body, content='feedback_text', content_rowid='id', {FTS_OPTIONS});
CREATE TRIGGER feedback_fts_insert AFTER INSERT ON feedback BEGIN
  INSERT INTO feedback_fts (rowid, body) VALUES (new.id, indexed_preference(new.prompt, new.answer, ''));
END;
CREATE TRIGGER feedback_fts_delete AFTER DELETE ON feedback BEGIN
  INSERT INTO feedback_fts (feedback_fts, rowid, body)
    VALUES ('delete', old.id, indexed_preference(old.prompt, old.answer, ''));
END;
"""
