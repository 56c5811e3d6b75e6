"""The table of feedback, as SQL: single answers with a thumb up or down, kept in datasets beside pairs and preferences.
Data only: no code, and never edited once released. Times are UTC milliseconds; JSON columns are checked."""

FEEDBACK = """
-- An answer that somebody judged good or bad. A bad one must never be trained on as if it were right, so it is no pair.
-- The same judgement is kept once in each dataset.
CREATE TABLE feedback (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL CHECK (json_valid(prompt)),
  answer TEXT NOT NULL CHECK (answer <> ''), good INTEGER NOT NULL CHECK (good IN (0, 1)),
  source TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(source)), content_hash TEXT NOT NULL,
  dataset_id INTEGER REFERENCES dataset (id) ON DELETE CASCADE,
  split TEXT NOT NULL DEFAULT 'train' CHECK (split IN ('train', 'val', 'test')),
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX feedback_content ON feedback (content_hash, ifnull(dataset_id, 0));
CREATE INDEX feedback_dataset ON feedback (dataset_id);
"""
