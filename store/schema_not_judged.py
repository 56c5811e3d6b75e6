"""Columns for answers that no judge could judge, as SQL. Data only, never edited once released."""

NOT_JUDGED = """
-- Such an answer counts neither as passed nor as failed: `n` counts those that were judged.
ALTER TABLE eval ADD COLUMN not_judged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE eval_item ADD COLUMN judged INTEGER NOT NULL DEFAULT 1 CHECK (judged IN (0, 1));
"""
