"""Migration step "evals": a result says which judge scored it, each answer how well and why.
Data only, never edited once released. Before, there was one judge, which looked for words."""

EVALS = """
ALTER TABLE eval ADD COLUMN judge TEXT NOT NULL DEFAULT 'contains';
-- From 0 to 1, and a few words on why. Not known of answers that were judged before this step.
ALTER TABLE eval_item ADD COLUMN score REAL CHECK (score BETWEEN 0 AND 1);
ALTER TABLE eval_item ADD COLUMN reason TEXT NOT NULL DEFAULT '';
"""
