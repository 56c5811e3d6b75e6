"""Migration step "choices": what you decided and noted about a run.
Data only, never edited once released."""

CHOICES = """
-- The step of the checkpoint that you made the run's result; NULL leaves it to what training kept: the finished
-- adapter, else the newest checkpoint. Resuming the run clears it.
ALTER TABLE run ADD COLUMN result_step INTEGER;
-- What you noted about the run, on one line.
ALTER TABLE run ADD COLUMN note TEXT NOT NULL DEFAULT '';
"""
