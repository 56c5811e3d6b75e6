"""The tables of background jobs, as SQL with the reason of each. Data only: never edited once released."""

JOBS = """
-- A job is one long piece of work in a process of its own: an export, an import. Training runs have their own tables.
-- `module` is what `python -m` starts, `request` what it reads; so any process can start the next job of the queue.
CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL, module TEXT NOT NULL,
  request TEXT NOT NULL CHECK (json_valid(request)),
  state TEXT NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'lost')),
  wanted TEXT NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'stop', 'kill')),
  host TEXT, pid INTEGER, pid_started REAL, token TEXT NOT NULL UNIQUE, log_path TEXT, heartbeat_at INTEGER,
  progress TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(progress)),
  result TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(result)), error TEXT CHECK (error IS NULL OR json_valid(error)),
  created_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER
) STRICT;
CREATE INDEX job_live ON job (kind, id) WHERE ended_at IS NULL;
-- What a job says on its way; progress is not among it, it is overwritten.
CREATE TABLE job_event (
  id INTEGER PRIMARY KEY AUTOINCREMENT, job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
  level TEXT NOT NULL CHECK (level IN ('info', 'warning', 'error')), text TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX job_event_job ON job_event (job_id, id);
"""
