"""The search index, second form: every text of a pair and of a message, cut by search_text.py before it is indexed.
Released steps are never edited. The views say what the index holds, so that a rebuild and the triggers agree."""

from __future__ import annotations

from store.search_text import TOKENIZER

FTS_OPTIONS = f"tokenize=\"{TOKENIZER.replace(chr(34), chr(34) * 2)}\", prefix='1'"

SEARCH = f"""
-- The first form indexed question and answer alone, and knew only words with spaces between them.
DROP TRIGGER pair_fts_update;
DROP TABLE pair_fts;
CREATE VIEW pair_text AS SELECT id, indexed_pair(system, history, question, answer) AS body FROM pair;
-- Deleted pairs stay in the index and are left out when searching: taking words out is slow. There is no trigger for
-- new rows: pairs are made in one place, which fills the index in bulk, ten times as fast as row by row.
CREATE VIRTUAL TABLE pair_fts USING fts5(body, content='pair_text', content_rowid='id', {FTS_OPTIONS});
CREATE TRIGGER pair_fts_update AFTER UPDATE OF system, history, question, answer ON pair
  WHEN old.question <> new.question OR old.answer <> new.answer OR old.system <> new.system
    OR old.history <> new.history
BEGIN
  INSERT INTO pair_fts (pair_fts, rowid, body)
    VALUES ('delete', old.id, indexed_pair(old.system, old.history, old.question, old.answer));
  INSERT INTO pair_fts (rowid, body)
    VALUES (new.id, indexed_pair(new.system, new.history, new.question, new.answer));
END;

DROP TRIGGER message_fts_insert;
DROP TRIGGER message_fts_delete;
DROP TRIGGER message_fts_update;
DROP TABLE message_fts;
CREATE VIEW message_text AS SELECT id, indexed(text) AS body FROM message;
CREATE VIRTUAL TABLE message_fts USING fts5(body, content='message_text', content_rowid='id', {FTS_OPTIONS});
CREATE TRIGGER message_fts_insert AFTER INSERT ON message BEGIN
  INSERT INTO message_fts (rowid, body) VALUES (new.id, indexed(new.text));
END;
CREATE TRIGGER message_fts_delete AFTER DELETE ON message BEGIN
  INSERT INTO message_fts (message_fts, rowid, body) VALUES ('delete', old.id, indexed(old.text));
END;
CREATE TRIGGER message_fts_update AFTER UPDATE OF text ON message WHEN old.text <> new.text BEGIN
  INSERT INTO message_fts (message_fts, rowid, body) VALUES ('delete', old.id, indexed(old.text));
  INSERT INTO message_fts (rowid, body) VALUES (new.id, indexed(new.text));
END;

-- By which rules the index was filled: one row. Store.open fills it again when the rules are others.
CREATE TABLE search_rules (rules TEXT NOT NULL) STRICT;
INSERT INTO search_rules VALUES ('none');
"""
