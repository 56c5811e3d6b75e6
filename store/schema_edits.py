"""Changes of datasets, memberships, preferences and feedback belong to an edit, as changes of pairs always did.
Released steps are never edited: a step that adds a column to one of these tables makes its triggers again,
and one that changes their rows opens an edit, or drops the triggers first."""

from __future__ import annotations

JOURNALED: dict[str, tuple[str, ...]] = {
    "dataset": ("id", "name", "description", "created_at"),
    "dataset_pair": ("dataset_id", "pair_id", "split", "pinned"),
    "imported_preference": (
        "id", "uid", "prompt", "chosen", "rejected", "source", "content_hash", "dataset_id", "split",
        "created_at",
    ),
    "feedback": (
        "id", "uid", "prompt", "answer", "good", "source", "content_hash", "dataset_id", "split", "created_at",
    ),
}  # fmt: skip


def triggers(table: str, columns: tuple[str, ...]) -> str:
    """The triggers that note each change of a table's rows in the open edit; outside an edit `edit_id` is NULL, and
    the change fails."""

    def row(side: str) -> str:
        return "json_object(" + ", ".join(f"'{name}', {side}.{name}" for name in columns) + ")"

    changed = " OR ".join(f"old.{name} IS NOT new.{name}" for name in columns)
    parts = (
        ("insert", "INSERT", "", "NULL", row("new")),
        ("update", "UPDATE", f" WHEN {changed}", row("old"), row("new")),
        ("delete", "DELETE", "", row("old"), "NULL"),
    )
    return "".join(
        f"""
CREATE TRIGGER edit_{table}_{name} AFTER {verb} ON {table}{when} BEGIN
  INSERT INTO edit_change (edit_id, table_name, before, after)
    VALUES ((SELECT edit_id FROM open_edit), '{table}', {before}, {after});
END;
"""
        for name, verb, when, before, after in parts
    )


EDITS = f"""
-- What cannot be undone is an edit too: undo stops there.
ALTER TABLE edit ADD COLUMN permanent INTEGER NOT NULL DEFAULT 0 CHECK (permanent IN (0, 1));
-- A row of another table than pair before and after an edit; NULL: there was none. Undo writes them back in reverse.
CREATE TABLE edit_change (
  id INTEGER PRIMARY KEY, edit_id INTEGER NOT NULL REFERENCES edit (id), table_name TEXT NOT NULL,
  before TEXT, after TEXT
) STRICT;
CREATE INDEX edit_change_edit ON edit_change (edit_id);
-- The edit that the running transaction belongs to: one row within it, none outside.
CREATE TABLE open_edit (one INTEGER PRIMARY KEY CHECK (one = 1), edit_id INTEGER NOT NULL REFERENCES edit (id)) STRICT;
{"".join(triggers(table, columns) for table, columns in JOURNALED.items())}
-- Removing a dataset takes its name from its snapshots; bringing it back gives it to them again.
CREATE TRIGGER edit_snapshot_update AFTER UPDATE OF dataset_id ON snapshot WHEN old.dataset_id IS NOT new.dataset_id
BEGIN
  INSERT INTO edit_change (edit_id, table_name, before, after)
    SELECT edit_id, 'snapshot', json_object('id', old.id, 'dataset_id', old.dataset_id),
      json_object('id', new.id, 'dataset_id', new.dataset_id) FROM open_edit;
END;
-- Until now changes of datasets were not recorded, so undoing the edits before would mix old and new.
INSERT INTO edit (kind, actor, label, permanent, created_at)
  SELECT 'do', 'tuningfork', 'upgrade of the store (before it, changes of datasets were not recorded)', 1,
    (SELECT max(created_at) FROM edit) WHERE EXISTS (SELECT 1 FROM edit);
"""
