"""Metrics of the overlap with reference texts: corpus BLEU and chrF as sacrebleu computes them, ROUGE as rouge-score
does. Both libraries are imported on first use.

BLEU: Papineni et al. 2002, https://aclanthology.org/P02-1040; chrF: Popović 2015, https://aclanthology.org/W15-3049;
Post 2018, https://arxiv.org/abs/1804.08771, on saying which tokenizer was used; ROUGE: Lin 2004,
https://aclanthology.org/W04-1013. Scores of BLEU and chrF are from 0 to 100, of ROUGE from 0 to 1.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.evaluation.metrics.base import Better, MeanMetric, ScoredAnswer
from store.search_text import is_word, tokens

if TYPE_CHECKING:
    import numpy as np


def tokenizer_for(texts: Sequence[str]) -> tuple[str, str]:
    """sacrebleu's tokenizer for the script that the texts are written in, and a sentence on a choice that must be told.

    Japanese and Korean are cut by MeCab where it is installed (sacrebleu[ja], sacrebleu[ko]), else into characters.
    """
    kana = hangul = han = letters = 0
    for char in "".join(texts):
        code = ord(char)
        letters += char.isalpha()
        kana += 0x3040 <= code <= 0x30FF
        hangul += 0xAC00 <= code <= 0xD7AF
        han += 0x4E00 <= code <= 0x9FFF
    if kana + hangul + han < letters / 4 or not letters:
        return "13a", ""
    if hangul > kana + han:
        name, language, module = "ko-mecab", "Korean", "mecab_ko"
    elif kana > (kana + han) / 10:
        name, language, module = "ja-mecab", "Japanese", "MeCab"
    else:
        return "zh", ""
    if importlib.util.find_spec(module) is not None:
        return name, ""
    return "char", f"{language} was cut into characters: {module} is not installed."


class _Corpus:
    """A metric of sacrebleu over all answers at once."""

    better: Better = "higher"
    digits = 1
    name = ""

    def _scorer(self) -> Any:
        raise NotImplementedError

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        import numpy as np

        # sacrebleu's own bootstrap and its paired tests work on these same statistics of single sentences
        hypotheses, references = [each.answer for each in answers], [[each.reference for each in answers]]
        return np.array(self._scorer()._extract_corpus_statistics(hypotheses, references), float)

    def value(self, sums: np.ndarray) -> np.ndarray:
        import numpy as np

        scorer = self._scorer()
        return np.array([scorer._compute_score_from_stats([int(each) for each in row]).score for row in sums], float)


class CorpusBleu(_Corpus):
    """BLEU over the whole test set, with the tokenizer that fits its references."""

    name, title = "bleu", "BLEU"

    def __init__(self, references: Sequence[str]) -> None:
        self.tokenizer, self._why = tokenizer_for(references)

    def _scorer(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(tokenize=self.tokenizer)

    @property
    def note(self) -> str:
        return f"sacrebleu's tokenizer {self.tokenizer}. {self._why}".strip()


class CorpusChrf(_Corpus):
    """chrF2 over the whole test set: characters, so no tokenizer."""

    name, title, note = "chrf", "chrF", ""

    def _scorer(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()


class _Words:
    """rouge-score's tokenizer keeps only a to z and digits, which leaves nothing of a Chinese text. This cuts as the
    search index does; on plain English both give the same."""

    def tokenize(self, text: str) -> list[str]:
        return [word for word in tokens(text).split() if is_word(word)]


class Rouge(MeanMetric):
    """F-measure of rouge1, rouge2 or rougeL, averaged over the answers."""

    note = "No stemming; of scripts without spaces between words each character is a token."

    def __init__(self, kind: str) -> None:
        self.name = kind.lower()
        self.title = "ROUGE-" + kind.removeprefix("rouge")
        self._kind = kind
        self._made: Any = None

    def score(self, answer: ScoredAnswer) -> float:
        if self._made is None:
            from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]

            self._made = RougeScorer([self._kind], tokenizer=_Words())
        return float(self._made.score(answer.reference, answer.answer)[self._kind].fmeasure)
