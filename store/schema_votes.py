"""Migration step "votes": what a vote is about becomes columns of the vote.
Data only, never edited once released. Before, turn, lanes and blind seed were keys among a vote's sampling settings."""

VOTES = """
-- The turn of the conversation (from 0), how many lanes it had, and the seed that a blind order follows from. NULL for
-- a vote that was cast outside a conversation. What is no whole number stays among the sampling settings.
ALTER TABLE vote ADD COLUMN turn INTEGER CHECK (turn >= 0);
ALTER TABLE vote ADD COLUMN lanes INTEGER CHECK (lanes >= 2);
ALTER TABLE vote ADD COLUMN blind_seed INTEGER;
UPDATE vote SET turn = json_extract(sampling, '$.turn'), sampling = json_remove(sampling, '$.turn')
  WHERE json_type(sampling, '$.turn') = 'integer' AND json_extract(sampling, '$.turn') >= 0;
UPDATE vote SET lanes = json_extract(sampling, '$.lanes'), sampling = json_remove(sampling, '$.lanes')
  WHERE json_type(sampling, '$.lanes') = 'integer' AND json_extract(sampling, '$.lanes') >= 2;
UPDATE vote SET blind_seed = json_extract(sampling, '$.blind_seed'), sampling = json_remove(sampling, '$.blind_seed')
  WHERE json_type(sampling, '$.blind_seed') = 'integer';
CREATE INDEX vote_conversation ON vote (chat_id, turn) WHERE deleted_at IS NULL;
"""
