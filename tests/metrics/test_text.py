"""Text: nltk is the oracle of BLEU, scipy of the divergence, the definition of Kneser-Ney."""

import math
from itertools import product

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from scipy.spatial.distance import jensenshannon

from agon.errors import UserError
from agon.metrics import text
from agon.metrics.samples import Samples

WORDS = ["the", "a", "cat", "dog", "bird", "sees", "likes", "finds", "and", "old", "red", "small"]


def sentences(count, seed=0, vocabulary=WORDS, least=1):
    """A Markov chain, so that runs of words repeat."""
    random = np.random.default_rng(seed)
    after = np.random.default_rng(7).dirichlet(np.full(len(vocabulary), 0.2), len(vocabulary))
    made = []
    for _ in range(count):
        word, line = random.integers(len(vocabulary)), []
        for _ in range(random.integers(least, 12)):
            line.append(vocabulary[word])
            word = random.choice(len(vocabulary), p=after[word])
        made.append(tuple(line))
    return made


def nltk_bleu(references, sentence):
    return sentence_bleu(references, sentence, weights=[0.25] * 4, smoothing_function=SmoothingFunction().method1)


def test_bleu_is_nltks():
    references, found = sentences(30), [*sentences(30, 1), ("unknown", "words"), ("the", "unknown"), ("the",)]
    expected = [nltk_bleu(references, sentence) for sentence in found]
    known = text.References(references)
    assert [known.bleu(sentence) for sentence in found] == pytest.approx(expected, rel=1e-12) and min(expected) == 0
    assert text.bleu(found, references) == pytest.approx(np.mean(expected), rel=1e-12)


def test_self_bleu_leaves_each_out_as_nltk_does():
    made = [*sentences(25), *sentences(5)]  # five stand twice
    expected = [nltk_bleu(made[:i] + made[i + 1 :], made[i]) for i in range(30)]
    assert text.self_bleu(made) == pytest.approx(np.mean(expected), rel=1e-12)
    lonely = [("the",) * 9, ("the", "cat"), ("a", "the", "dog")]  # the longest is nobody's nearest but its own
    assert text.self_bleu(lonely) == pytest.approx(np.mean([nltk_bleu(lonely[:i] + lonely[i + 1 :], lonely[i]) for i in range(3)]), rel=1e-12)


def test_distinct_and_divergence_by_hand_and_by_scipy():
    made = [("a", "b", "a", "b"), ("a", "b")]
    assert [text.distinct(made, n) for n in (1, 2, 3, 5)] == [2 / 6, 2 / 4, 2 / 2, 0]
    real, fake = sentences(40, least=2), sentences(40, 1, least=2)
    counts = []
    for part in (real, fake):
        pairs = [(s[i], s[i + 1]) for s in part for i in range(len(s) - 1)]
        counts.append([pairs.count(pair) / len(pairs) for pair in product(WORDS, WORDS)])
    assert text.ngram_js(real, fake) == pytest.approx(jensenshannon(*counts, base=2) ** 2, rel=1e-12)
    assert text.ngram_js(real, real) == 0 and text.ngram_js(real, [("x", "y")]) == pytest.approx(1)
    with pytest.raises(UserError, match="has 2 tokens"):
        text.ngram_js(real, [("x",)])


def reference_probability(train, order, discount, word, before):
    """Interpolated Kneser-Ney from its definition, by lists and without tables."""
    padded = [(text.START,) * (order - 1) + line + (text.END,) for line in train]
    runs = [tuple(line[i : i + order]) for line in padded for i in range(len(line) - order + 1)]
    words = {w for line in train for w in line} | {text.END}

    def level(n, before):
        if n == 0:
            return 1 / (len(words) + 1)
        grams = runs if n == order else list({run[-n - 1 :] for run in runs})  # lower orders: different words before
        after = [gram[-1] for gram in grams if gram[-n:-1] == before]
        lower = level(n - 1, before[1:])
        return lower if not after else max(after.count(word) - discount, 0) / len(after) + discount * len(set(after)) / len(after) * lower

    return level(order, tuple(before)[len(before) - order + 1 :])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_kneser_ney_is_its_definition(order):
    train = sentences(25)
    model = text.KneserNey(train, order, 0.6)
    for line in sentences(8, 3) + [("cat", "unknown", "cat", "the")]:
        padded = (text.START,) * (order - 1) + line + (text.END,)
        for i in range(order - 1, len(padded)):
            before = padded[i - order + 1 : i]
            assert model.probability(padded[i], before) == pytest.approx(reference_probability(train, order, 0.6, padded[i], before), rel=1e-12)


def test_the_likelihood_is_the_sum_of_logarithms():
    train = [("a", "b"), ("a",)]
    model = text.KneserNey(train, 2, 0.75)
    terms = [model.probability("a", (text.START,)), model.probability("b", ("a",)), model.probability(text.END, ("b",))]
    assert model.nll([("a", "b")]) == pytest.approx(-sum(map(math.log, terms)) / 3)
    real = sentences(400)
    good, shuffled = sentences(200, 1), [tuple(np.random.default_rng(0).permutation(line)) for line in sentences(200, 1)]
    assert text.ngram_nll(real, good) < text.ngram_nll(real, shuffled)


def test_known_damage_is_ordered_and_the_reals_stand_beside():
    lines = [" ".join(line) for line in sentences(200, least=3)]
    fakes = {
        "good": [" ".join(line) for line in sentences(200, 1, least=3)],
        "repeated": [" ".join(line) for line in sentences(10, 1, least=3)] * 20,
        "shuffled": [" ".join(np.random.default_rng(0).permutation(line)) for line in sentences(200, 1, least=3)],
    }
    made = {}
    for name, fake in fakes.items():
        samples = Samples.of_arrays(lines, fake, kind="text")
        made[name] = {entry["metric"]: entry for entry in text.measure(samples, list(text.METRICS))}
    value = {name: {metric: entry["value"] for metric, entry in entries.items()} for name, entries in made.items()}
    assert value["repeated"]["self_bleu"] == pytest.approx(1) and value["good"]["self_bleu"] < 0.9
    assert value["repeated"]["distinct_3"] < value["good"]["distinct_3"]
    assert value["shuffled"]["bleu"] < value["good"]["bleu"] and value["shuffled"]["ngram_nll"] > value["good"]["ngram_nll"] + 0.3
    assert value["good"]["ngram_js"] < value["repeated"]["ngram_js"] and value["good"]["ngram_js"] < value["shuffled"]["ngram_js"]
    for metric in ("self_bleu", "distinct_2", "ngram_nll"):
        entry = made["good"][metric]
        assert entry["details"]["halves"] == pytest.approx(entry["reference"]["perfect_sampler"]["value"], rel=0.15)


def test_characters_may_be_tokens():
    assert text.tokens_of(" ab c\n") == ("ab", "c") and text.tokens_of(" ab c\n", "characters") == ("a", "b", " ", "c")
    samples = Samples.of_arrays(["ab"] * 4, ["ab", "ab", "cd", "cd"], kind="text", about={"tokens": "characters"})
    (entry,) = text.measure(samples, ["distinct_1"])
    assert entry["value"] == 4 / 8 and entry["protocol"]["tokens"] == "characters"
    with pytest.raises(UserError, match="holds no word"):
        text.measure(Samples.of_arrays(["  "] * 4, ["a"] * 4, kind="text"), ["bleu"])
