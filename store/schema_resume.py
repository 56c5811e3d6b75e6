"""Columns for how a run continues, as SQL with the reason of each. Data only: never edited once released."""

RESUME = """
-- The step of the checkpoint that the next attempt begins from; NULL begins at the start. Chosen and verified when the
-- run is queued, since a later checkpoint may be damaged or not be wanted.
ALTER TABLE run ADD COLUMN resume_from INTEGER;
UPDATE run SET resume_from = (SELECT max(step) FROM checkpoint WHERE run_id = run.id AND pruned_at IS NULL)
  WHERE state = 'queued';
-- Whether trying again would fail in the same way, so that nobody is advised to do it.
ALTER TABLE run ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0 CHECK (repeats IN (0, 1));
"""
