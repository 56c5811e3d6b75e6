"""Migration step "unblind": what gave a blind vote away becomes a column of the vote.
Data only, never edited once released. Votes from before have no names: nothing looked for them then."""

UNBLIND = """
-- The names of either model that the answers showed before the vote, as a JSON list; empty for a vote that stayed blind
-- and for one that never was.
ALTER TABLE vote ADD COLUMN unblind TEXT NOT NULL DEFAULT '[]' CHECK (json_type(unblind) = 'array');
"""
