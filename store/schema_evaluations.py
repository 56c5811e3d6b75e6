"""Migration step "evaluations": models asked the same rows once each, with every answer kept.
Data only, never edited once released."""

EVALUATIONS = """
-- The plan says what was frozen and how it is asked; the report is written when every answer is there.
CREATE TABLE evaluation (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('evaluation', 'verdict')),
  plan TEXT NOT NULL CHECK (json_valid(plan)), report TEXT CHECK (report IS NULL OR json_valid(report)),
  job_id INTEGER REFERENCES job (id) ON DELETE SET NULL, created_at INTEGER NOT NULL, ended_at INTEGER
) STRICT;
-- What is asked. Copied here: pairs change, an evaluation does not.
CREATE TABLE evaluation_row (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id) ON DELETE CASCADE, ord INTEGER NOT NULL,
  part TEXT NOT NULL, messages TEXT NOT NULL CHECK (json_valid(messages)), reference TEXT,
  expect TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(expect)), PRIMARY KEY (evaluation_id, ord)
) STRICT, WITHOUT ROWID;
-- Who is asked, and with what before the question. `identity` is a hash of the weights when the evaluation began.
CREATE TABLE evaluation_side (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id) ON DELETE CASCADE, ord INTEGER NOT NULL,
  label TEXT NOT NULL, model TEXT NOT NULL, role TEXT NOT NULL CHECK (role IN ('model', 'against', 'floor', 'other')),
  context TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(context)), sampling TEXT NOT NULL CHECK (json_valid(sampling)),
  identity TEXT NOT NULL, PRIMARY KEY (evaluation_id, ord)
) STRICT, WITHOUT ROWID;
CREATE TABLE evaluation_answer (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation (id) ON DELETE CASCADE, side INTEGER NOT NULL,
  ord INTEGER NOT NULL, text TEXT NOT NULL, stop TEXT NOT NULL, tokens INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL, seconds REAL NOT NULL, tokens_per_s REAL, loss REAL, loss_tokens INTEGER,
  dropped_turns INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (evaluation_id, side, ord)
) STRICT, WITHOUT ROWID;
"""
