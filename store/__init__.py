"""What must not be lost: pairs, datasets, runs, votes and results, in one SQLite file.
Imports the standard library, sqlite-utils and small pure libraries only; never torch, a UI, or the engine."""
