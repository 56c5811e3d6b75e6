"""Metrics of answers against the libraries that define them: sacrebleu, rouge-score, scikit-learn, transformers.
Fixed texts in English and Chinese."""

from __future__ import annotations

import doctest
import re
import string
from collections import Counter
from types import ModuleType

import numpy as np
import pytest

from engine.evaluation import metrics, resampling
from engine.evaluation.judges import exact, json_object, numeric, regex
from engine.evaluation.metrics import ScoredAnswer, answer_types, labels, matching, overlap
from store.errors import BadInput
from store.records import Probe

ENGLISH = [
    ("The radio is charged by its crank.", "You charge the radio by turning the crank."),
    ("Press and hold the red button for 5 seconds", "Hold the red button for five seconds."),
    ("I do not know.", "The battery lasts about nine hours."),
    ("Fenmoor & Daughters make it in Whitby.", "It is made by Fenmoor & Daughters in Whitby."),
]
CHINESE = [
    ("请按住红色按钮五秒钟。", "按住红色按钮五秒。"),
    ("电池可以用九个小时。", "电池大约能用九小时。"),
    ("我不知道。", "它由芬莫尔公司在惠特比制造。"),
]


def scored(pairs: list[tuple[str, str]]) -> list[ScoredAnswer]:
    return [ScoredAnswer("?", answer, reference) for answer, reference in pairs]


def value(name: str, pairs: list[tuple[str, str]], kind: answer_types.AnswerType = "text") -> float:
    (metric,) = metrics.chosen(kind, [reference for _, reference in pairs], [name])
    return float(metric.value(metric.stats(scored(pairs)).sum(axis=0, keepdims=True))[0])


@pytest.mark.parametrize("module", [matching, labels, answer_types, resampling, exact, json_object, numeric, regex])
def test_the_worked_examples_are_right(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize(("pairs", "tokenizer"), [(ENGLISH, "13a"), (CHINESE, "zh")])
def test_bleu_and_chrf_are_sacrebleu_s(pairs: list[tuple[str, str]], tokenizer: str) -> None:
    import sacrebleu

    said, wanted = [one for one, _ in pairs], [[two for _, two in pairs]]
    assert value("bleu", pairs) == pytest.approx(sacrebleu.corpus_bleu(said, wanted, tokenize=tokenizer).score)
    assert value("chrf", pairs) == pytest.approx(sacrebleu.corpus_chrf(said, wanted).score)
    assert value("bleu", pairs) > 1


def test_the_tokenizer_follows_the_script() -> None:
    assert overlap.tokenizer_for(["The cat."]) == ("13a", "")
    assert overlap.tokenizer_for(["猫在垫子上。"]) == ("zh", "")
    for text, language in (("猫はマットの上にいます。", "Japanese"), ("고양이가 매트 위에 있다.", "Korean")):
        name, why = overlap.tokenizer_for([text])
        assert name != "char" or language in why  # MeCab may be installed


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_rouge_score_s(kind: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer([kind])
    found = np.mean([theirs.score(reference, answer)[kind].fmeasure for answer, reference in ENGLISH])
    assert value(kind.lower(), ENGLISH) == pytest.approx(found)


def test_rouge_of_chinese_is_over_characters() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    class Characters:
        def tokenize(self, text: str) -> list[str]:
            return [char for char in text if char not in "。"]

    theirs = RougeScorer(["rougeL"], tokenizer=Characters())
    found = np.mean([theirs.score(reference, answer)["rougeL"].fmeasure for answer, reference in CHINESE])
    assert value("rougel", CHINESE) == pytest.approx(found) and found > 0.3


def squad(text: str) -> list[str]:
    """What SQuAD's own script compares: lower case, without punctuation, then without articles."""
    plain = "".join(char for char in text.lower() if char not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def squad_f1(answer: str, reference: str) -> float:
    """F1 as in evaluate-v2.0.py."""
    one, two = squad(answer), squad(reference)
    common = sum((Counter(one) & Counter(two)).values())
    if not one or not two:
        return float(one == two)
    if not common:
        return 0.0
    precision, recall = common / len(one), common / len(two)
    return 2 * precision * recall / (precision + recall)


def test_token_f1_is_squad_s() -> None:
    pairs = [*ENGLISH, ("The Paris", "Paris"), ("", "Paris"), ("Paris, France", "paris")]
    # SQuAD glues what a sign stands between; none of these texts has such a word
    assert value("token_f1", pairs) == pytest.approx(np.mean([squad_f1(one, two) for one, two in pairs]))
    assert value("match", pairs) == pytest.approx(np.mean([squad(one) == squad(two) for one, two in pairs]))


LABELLED = [
    ("Positive.", "positive"), ("negative", "negative"), ("It is negative", "positive"), ("neutral", "neutral"),
    ("positive or negative?", "negative"), ("Neutral", "negative"), ("I cannot say", "neutral"),
    ("positive", "positive"),
]  # fmt: skip


def test_accuracy_macro_f1_and_confusion_are_scikit_learn_s() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    names = ["negative", "neutral", "positive"]
    wanted = [two for _, two in LABELLED]
    given = [labels.label_of(one, names) for one, _ in LABELLED]
    assert given.count(labels.NONE) == 2
    assert value("accuracy", LABELLED, "label") == pytest.approx(accuracy_score(wanted, given))
    macro = f1_score(wanted, given, labels=names, average="macro")
    assert value("macro_f1", LABELLED, "label") == pytest.approx(macro)
    table = labels.confusion(labels.Accuracy(names), scored(LABELLED))
    theirs = confusion_matrix(wanted, given, labels=[*names, labels.NONE])
    for row, label in enumerate(names):
        for column, other in enumerate([*names, labels.NONE]):
            assert table[label].get(other, 0) == theirs[row][column]


def test_the_error_of_ratings_is_scikit_learn_s() -> None:
    from sklearn.metrics import mean_absolute_error

    pairs = [("5 stars", "4"), ("★★", "2"), ("I give it 3 out of 5.", "5"), ("One star", "1"), ("四星", "3")]
    found = mean_absolute_error([4, 2, 5, 1, 3], [5, 2, 3, 1, 4])
    assert value("mae", pairs, "rating") == pytest.approx(found)
    assert value("mae", [*pairs, ("Maybe.", "1")], "rating") == pytest.approx((found * 5 + 4) / 6), (
        "as far off as can be"
    )
    assert value("label_found", [*pairs, ("2 or 3", "1")], "rating") == pytest.approx(5 / 6)


def test_multiple_choice_letters_are_labels_too() -> None:
    pairs = [("A", "A"), ("B.", "B"), ("the", "A"), ("C", "C")] * 2
    assert answer_types.guess([two for _, two in pairs] * 2) == "label"
    assert value("accuracy", pairs, "label") == pytest.approx(0.75)


def test_a_metric_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="needs answers of the type rating"):
        metrics.chosen("text", ["a long answer"], ["mae"])
    with pytest.raises(BadInput, match="no metric"):
        metrics.chosen("text", ["x"], ["blue"])
    with pytest.raises(BadInput, match="gives no rating"):
        metrics.chosen("rating", ["4", "good"])


@pytest.mark.parametrize(
    ("references", "kind"),
    [
        (["5", "3", "1", "4"], "rating"),
        (["five stars", "one star"], "rating"),
        (["city 1", "city 2", "city 3"], "short"),
        (["positive", "negative", "positive"] * 3, "label"),
        (["Paris", "Rome", "Oslo", "Bern"], "short"),
        (["Hold the red button for five seconds until the lamp turns green, then let go of it."] * 3, "text"),
        (["请按住红色按钮五秒钟直到灯变绿色然后松开"] * 2, "text"),
        ([], "text"),
    ],
)
def test_the_type_is_read_off_the_references(references: list[str], kind: str) -> None:
    assert answer_types.guess(references) == kind


def test_intervals_and_significance_of_bleu_agree_with_sacrebleu_s() -> None:
    from sacrebleu.significance import PairedTest

    pairs = ENGLISH * 12
    worse = [(answer if n % 3 else "No idea at all.", reference) for n, (answer, reference) in enumerate(pairs)]
    references = [two for _, two in pairs]
    (metric,) = metrics.chosen("text", references, ["bleu"])
    found = resampling.compared(metric, metric.stats(scored(worse)), metric.stats(scored(pairs)))
    assert found is not None and found.difference > 0 and found.low > 0
    from sacrebleu.metrics.bleu import BLEU

    systems = [("worse", [one for one, _ in worse]), ("better", [one for one, _ in pairs])]
    _, theirs = PairedTest(systems, {"BLEU": BLEU()}, [references], test_type="ar", n_samples=2000)()
    assert found.difference == pytest.approx(theirs["BLEU"][1].score - theirs["BLEU"][0].score)
    assert found.p == pytest.approx(theirs["BLEU"][1].p_value, abs=0.02)


def test_the_interval_of_a_share_covers_it_as_often_as_it_says() -> None:
    random, inside = np.random.default_rng(5), 0
    for _ in range(200):
        stats = np.stack([random.random(120) < 0.4, np.ones(120)], axis=1).astype(float)
        found = resampling.figure(matching.ExactMatch(), stats)
        assert found.low is not None and found.high is not None
        inside += found.low <= 0.4 <= found.high
    assert 180 <= inside <= 199


def test_two_equal_models_are_called_different_in_one_case_of_twenty() -> None:
    random, called = np.random.default_rng(6), 0
    for _ in range(200):
        one, two = (np.stack([random.random(60) < 0.5, np.ones(60)], axis=1).astype(float) for _ in range(2))
        found = resampling.compared(matching.ExactMatch(), one, two)
        called += found is not None and found.p < 0.05
    assert called <= 18


@pytest.mark.parametrize(
    ("question", "must", "answer", "passed"),
    [
        ("What is 6 times 7?", "42", "6 times 7 is 42.", True),
        ("What is 6 times 7?", "42", "6 * 7 = 42", True),
        ("What is 6 times 7?", "42", "It is 42. No, it is 43.", False),
        ("What is 6 times 7?", "42", "forty", False),
        ("How cold?", "-18", "−18 °C … 0 °C", False),
        ("How cold?", "-18", "-18 °C", True),
        ("How many grams?", "1000", "1,000 g", True),
    ],
)
def test_a_number_is_judged_strictly(question: str, must: str, answer: str, passed: bool) -> None:
    assert numeric.judgement(Probe("p", question, (must,)), answer).passed is passed
