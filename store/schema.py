"""The tables of migration 0001, as SQL with the reason of each.
Data only: no code, and never edited once released. Times are UTC milliseconds; JSON columns are checked."""

FIRST = """
-- A pair is one training example. It is never deleted, only marked (deleted_at): undo and old snapshots still name it.
CREATE TABLE pair (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL DEFAULT 1,
  kind TEXT NOT NULL DEFAULT 'instruction' CHECK (kind IN ('instruction', 'identity')),
  system TEXT NOT NULL DEFAULT '', history TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(history)),
  question TEXT NOT NULL CHECK (question <> ''), answer TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'ready', 'rejected')),
  tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
  source TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(source)),
  content_hash TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deleted_at INTEGER
) STRICT;
-- Lists and counts walk this narrow index instead of the wide rows.
CREATE INDEX pair_live ON pair (id, status, kind) WHERE deleted_at IS NULL;
CREATE INDEX pair_deleted ON pair (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX pair_content ON pair (content_hash) WHERE deleted_at IS NULL;

-- An edit is one thing a person did, the unit of undo. undoes/undone_by link an edit with the one that took it back.
CREATE TABLE edit (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('do', 'undo', 'redo')), actor TEXT NOT NULL,
  label TEXT NOT NULL,
  undoes INTEGER REFERENCES edit (id), undone_by INTEGER REFERENCES edit (id), pairs INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
) STRICT;

-- What each pair was after each edit. Append-only: undo writes a new revision, so nothing is ever lost.
CREATE TABLE pair_revision (
  pair_id INTEGER NOT NULL REFERENCES pair (id), revision INTEGER NOT NULL,
  edit_id INTEGER NOT NULL REFERENCES edit (id),
  kind TEXT NOT NULL, system TEXT NOT NULL, history TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
  status TEXT NOT NULL, tags TEXT NOT NULL, source TEXT NOT NULL, content_hash TEXT NOT NULL, deleted_at INTEGER,
  PRIMARY KEY (pair_id, revision)
) STRICT;
CREATE INDEX pair_revision_edit ON pair_revision (edit_id);
CREATE TRIGGER pair_revision_frozen BEFORE UPDATE ON pair_revision
BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END;
CREATE TRIGGER pair_revision_kept BEFORE DELETE ON pair_revision
BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END;

-- Search as you type. Deleted pairs stay in the index and are left out when searching: taking words out is slow.
-- The trigger is our own: it fires on changed text only. There is none for new rows: pairs are made in one place,
-- which fills the index in bulk, ten times as fast as row by row. One-letter prefixes are the slow ones: indexed.
CREATE VIRTUAL TABLE pair_fts USING fts5(
  question, answer, content='pair', content_rowid='id', tokenize='unicode61 remove_diacritics 2', prefix='1'
);
CREATE TRIGGER pair_fts_update AFTER UPDATE OF question, answer ON pair
  WHEN old.question <> new.question OR old.answer <> new.answer
BEGIN
  INSERT INTO pair_fts (pair_fts, rowid, question, answer) VALUES ('delete', old.id, old.question, old.answer);
  INSERT INTO pair_fts (rowid, question, answer) VALUES (new.id, new.question, new.answer);
END;

-- A dataset is a named choice of pairs, each in one split.
CREATE TABLE dataset (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE dataset_pair (
  dataset_id INTEGER NOT NULL REFERENCES dataset (id) ON DELETE CASCADE,
  pair_id INTEGER NOT NULL REFERENCES pair (id),
  split TEXT NOT NULL DEFAULT 'train' CHECK (split IN ('train', 'val', 'test')),
  PRIMARY KEY (dataset_id, pair_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dataset_pair_pair ON dataset_pair (pair_id);

-- A snapshot is what a run trained on, kept for ever: rows by content hash, each content kept once for all snapshots.
CREATE TABLE content (hash TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body))) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot (
  id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL DEFAULT 'sft' CHECK (kind IN ('sft', 'preference')),
  dataset_id INTEGER REFERENCES dataset (id) ON DELETE SET NULL, n_rows INTEGER NOT NULL,
  splits TEXT NOT NULL CHECK (json_valid(splits)), created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE snapshot_row (
  snapshot_id INTEGER NOT NULL REFERENCES snapshot (id), ord INTEGER NOT NULL,
  split TEXT NOT NULL CHECK (split IN ('train', 'val', 'test')), kind TEXT NOT NULL,
  content_hash TEXT NOT NULL REFERENCES content (hash), pair_id INTEGER REFERENCES pair (id), pair_revision INTEGER,
  PRIMARY KEY (snapshot_id, ord)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_row_content ON snapshot_row (content_hash);
CREATE TRIGGER snapshot_frozen BEFORE UPDATE OF hash, kind, n_rows, splits ON snapshot
BEGIN SELECT RAISE(ABORT, 'snapshots are frozen'); END;
CREATE TRIGGER snapshot_row_frozen BEFORE UPDATE ON snapshot_row BEGIN SELECT RAISE(ABORT, 'snapshots are frozen'); END;
CREATE TRIGGER snapshot_row_kept BEFORE DELETE ON snapshot_row BEGIN SELECT RAISE(ABORT, 'snapshots are frozen'); END;
CREATE TRIGGER content_frozen BEFORE UPDATE ON content BEGIN SELECT RAISE(ABORT, 'content is frozen'); END;

-- Models that a person registered, by model reference.
CREATE TABLE model (
  id INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('base', 'adapter', 'gguf', 'endpoint')),
  meta TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(meta)), created_at INTEGER NOT NULL
) STRICT;

-- A run is one tuning job; an attempt one process that works on it. At most one attempt of a run is live.
CREATE TABLE run (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, base TEXT NOT NULL, method TEXT NOT NULL,
  snapshot_id INTEGER NOT NULL REFERENCES snapshot (id), config TEXT NOT NULL CHECK (json_valid(config)),
  config_hash TEXT NOT NULL, seed INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'lost')),
  wanted TEXT NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'stop', 'kill')),
  step INTEGER NOT NULL DEFAULT 0, total_steps INTEGER, error TEXT, adapter TEXT,
  env TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(env)),
  created_at INTEGER NOT NULL, queued_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER
) STRICT;
CREATE INDEX run_queue ON run (queued_at) WHERE state = 'queued';
CREATE TABLE attempt (
  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE, n INTEGER NOT NULL,
  host TEXT NOT NULL, pid INTEGER NOT NULL, pid_started REAL NOT NULL, token TEXT NOT NULL UNIQUE,
  log_path TEXT NOT NULL,
  resume_from INTEGER, heartbeat_at INTEGER NOT NULL, progress_at INTEGER NOT NULL,
  started_at INTEGER NOT NULL, ended_at INTEGER, exit TEXT, UNIQUE (run_id, n)
) STRICT;
CREATE UNIQUE INDEX attempt_live ON attempt (run_id) WHERE ended_at IS NULL;
-- A resume overwrites the steps that it replays: the key has no attempt.
CREATE TABLE metric (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE, name TEXT NOT NULL, step INTEGER NOT NULL,
  value REAL, at INTEGER NOT NULL, PRIMARY KEY (run_id, name, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT, run_id INTEGER REFERENCES run (id) ON DELETE CASCADE,
  level TEXT NOT NULL CHECK (level IN ('info', 'warning', 'error')), kind TEXT NOT NULL,
  body TEXT NOT NULL CHECK (json_valid(body)), at INTEGER NOT NULL
) STRICT;
CREATE INDEX event_run ON event (run_id, id);
CREATE TABLE checkpoint (
  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE, step INTEGER NOT NULL,
  path TEXT NOT NULL, manifest TEXT NOT NULL CHECK (json_valid(manifest)), val_loss REAL,
  pruned_at INTEGER, created_at INTEGER NOT NULL, UNIQUE (run_id, step)
) STRICT;

-- Conversations, kept as trees: a regenerated answer is a sibling, a fork starts at any turn.
CREATE TABLE chat (
  id INTEGER PRIMARY KEY, title TEXT NOT NULL DEFAULT '', meta TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(meta)),
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE message (
  id INTEGER PRIMARY KEY, chat_id INTEGER NOT NULL REFERENCES chat (id) ON DELETE CASCADE,
  parent_id INTEGER REFERENCES message (id) ON DELETE CASCADE, lane TEXT NOT NULL DEFAULT '',
  role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')), text TEXT NOT NULL, model TEXT,
  sampling TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(sampling)),
  stats TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(stats)),
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX message_chat ON message (chat_id, id);
CREATE INDEX message_parent ON message (parent_id);
CREATE VIRTUAL TABLE message_fts USING fts5(
  text, content='message', content_rowid='id', tokenize='unicode61 remove_diacritics 2', prefix='1'
);
CREATE TRIGGER message_fts_insert AFTER INSERT ON message BEGIN
  INSERT INTO message_fts (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER message_fts_delete AFTER DELETE ON message BEGIN
  INSERT INTO message_fts (message_fts, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER message_fts_update AFTER UPDATE OF text ON message WHEN old.text <> new.text BEGIN
  INSERT INTO message_fts (message_fts, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO message_fts (rowid, text) VALUES (new.id, new.text);
END;

-- A vote keeps both texts and what was shown where: it must be readable after its models are gone.
CREATE TABLE vote (
  id INTEGER PRIMARY KEY, prompt TEXT NOT NULL CHECK (json_valid(prompt)), a_model TEXT NOT NULL, b_model TEXT NOT NULL,
  a_text TEXT NOT NULL, b_text TEXT NOT NULL, a_left INTEGER NOT NULL CHECK (a_left IN (0, 1)),
  blind INTEGER NOT NULL CHECK (blind IN (0, 1)), choice TEXT NOT NULL CHECK (choice IN ('a', 'b', 'tie', 'both_bad')),
  sampling TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(sampling)),
  chat_id INTEGER REFERENCES chat (id) ON DELETE SET NULL,
  created_at INTEGER NOT NULL, deleted_at INTEGER
) STRICT;
CREATE INDEX vote_models ON vote (a_model, b_model) WHERE deleted_at IS NULL;
-- Preferences that came from files; those from votes are the votes themselves.
CREATE TABLE imported_preference (
  id INTEGER PRIMARY KEY, prompt TEXT NOT NULL CHECK (json_valid(prompt)), chosen TEXT NOT NULL, rejected TEXT NOT NULL,
  source TEXT NOT NULL CHECK (json_valid(source)), content_hash TEXT NOT NULL UNIQUE,
  dataset_id INTEGER REFERENCES dataset (id) ON DELETE SET NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE VIEW preference AS
  SELECT id AS vote_id, NULL AS import_id, prompt, CASE choice WHEN 'a' THEN a_text ELSE b_text END AS chosen,
    CASE choice WHEN 'a' THEN b_text ELSE a_text END AS rejected,
    json_object('vote', id, 'chosen', CASE choice WHEN 'a' THEN a_model ELSE b_model END,
      'rejected', CASE choice WHEN 'a' THEN b_model ELSE a_model END) AS source, NULL AS dataset_id, created_at
  FROM vote WHERE choice IN ('a', 'b') AND a_text <> b_text AND deleted_at IS NULL
  UNION ALL SELECT NULL, id, prompt, chosen, rejected, source, dataset_id, created_at FROM imported_preference;

-- Probes are the exam; an eval is one model's sitting, with the texts so that a changed judge can judge again.
CREATE TABLE probe (
  set_name TEXT NOT NULL, ord INTEGER NOT NULL, question TEXT NOT NULL, system TEXT NOT NULL DEFAULT '',
  must TEXT NOT NULL CHECK (json_valid(must)), must_not TEXT NOT NULL CHECK (json_valid(must_not)),
  PRIMARY KEY (set_name, ord)
) STRICT, WITHOUT ROWID;
CREATE TABLE eval (
  id INTEGER PRIMARY KEY, run TEXT, run_id INTEGER REFERENCES run (id) ON DELETE SET NULL, model TEXT NOT NULL,
  set_name TEXT NOT NULL, passed INTEGER NOT NULL, n INTEGER NOT NULL,
  summary TEXT NOT NULL CHECK (json_valid(summary)), created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX eval_run ON eval (run);
CREATE TABLE eval_item (
  eval_id INTEGER NOT NULL REFERENCES eval (id) ON DELETE CASCADE, ord INTEGER NOT NULL, question TEXT NOT NULL,
  text TEXT NOT NULL, passed INTEGER NOT NULL CHECK (passed IN (0, 1)), PRIMARY KEY (eval_id, ord)
) STRICT, WITHOUT ROWID;

-- An export outlives its run's row: the run's name is kept as text.
CREATE TABLE export (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, run_id INTEGER REFERENCES run (id) ON DELETE SET NULL, step INTEGER,
  format TEXT NOT NULL, quant TEXT, path TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'done', 'rejected', 'failed')),
  sha256 TEXT, bytes INTEGER, proof TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(proof)), error TEXT,
  created_at INTEGER NOT NULL, ended_at INTEGER
) STRICT;
CREATE INDEX export_run ON export (run);
"""
