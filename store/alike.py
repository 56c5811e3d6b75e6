"""Pairs that are about the same as a given one: "more like this".
Reads only; duplicates, which are nearly the same text, are in curate/duplicates.py."""

from __future__ import annotations

from store import pairs, search_text
from store.curate import duplicates
from store.db import Store
from store.records import Pair


def alike(store: Store, uid: str, limit: int = 50) -> list[tuple[Pair, float]]:
    """The live pairs that share the most with a pair, each with the share of words that both have of all (0 to 1).

    Found by the pair's words in the search index, where a rare word counts more than a frequent one (BM25, Robertson
    and Zaragoza, "The Probabilistic Relevance Framework", 2009); the best `limit` are then sorted by the share.
    Empty when the pair has no words.
    """
    pair = pairs.get(store, uid)
    wanted = search_text.any_of(f"{pair.question}\n{pair.answer}")
    if wanted is None:
        return []
    sql = (
        "SELECT p.id FROM pair_fts f CROSS JOIN pair p ON p.id = f.rowid WHERE pair_fts MATCH ? AND p.id <> ?"
        " AND p.deleted_at IS NULL ORDER BY bm25(pair_fts), p.id LIMIT ?"
    )
    words = _words(pair)
    found = pairs.page(store, store.column(sql, (wanted, pair.id, limit)))
    shares = [(each, duplicates.likeness(words, _words(each))) for each in found]
    return sorted(shares, key=lambda share: (-share[1], share[0].id))


def _words(pair: Pair) -> frozenset[str]:
    return frozenset(filter(search_text.is_word, search_text.tokens(f"{pair.question}\n{pair.answer}").split()))
