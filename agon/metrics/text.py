"""Text: is it fluent by n-grams of the real text, is it varied, and are its n-grams distributed as theirs.

BLEU: Papineni et al., 2002, https://aclanthology.org/P02-1040; Self-BLEU: Zhu et al., 2018 (Texygen), https://arxiv.org/abs/1802.01886; distinct-n: Li et
al., 2016, https://arxiv.org/abs/1510.03055; smoothing of the oracle: Kneser and Ney, 1995, https://doi.org/10.1109/ICASSP.1995.479394, interpolated as in
Chen and Goodman, 1999, https://doi.org/10.1006/csla.1999.0128. Tokens are what whitespace separates, or characters. Nearly all of these depend on the number
of sentences.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from agon.errors import UserError
from agon.metrics.halves import compare
from agon.metrics.samples import Samples
from agon.metrics.sides import Side

METRICS = {
    "bleu": "Mean BLEU-4 of the fakes against all real sentences (higher is better, and highest for copies: read it beside self_bleu)",
    "self_bleu": "Mean BLEU-4 of each fake against all other fakes: how alike they are (lower is better, down to the reals' own)",
    "distinct_1": "Distinct words by the number of words, of the fakes (higher is better, up to the reals' own)",
    "distinct_2": "Distinct pairs of words by their number, of the fakes (higher is better, up to the reals' own)",
    "distinct_3": "Distinct triples of words by their number, of the fakes (higher is better, up to the reals' own)",
    "ngram_js": "Jensen-Shannon divergence of the real and fake distributions of pairs of words, in bits, 0 to 1 (lower is better)",
    "ngram_nll": "Negative log likelihood of the fakes under a Kneser-Ney trigram model of the reals, nats a token (lower is better, down to the reals' own)",
}
KINDS = ("text",)
EXTRACTOR = ""
PAIRED = False
LABELLED = False
ORDER = 4  # of BLEU
EPSILON = 0.1  # counts for no match (Chen and Cherry, 2014, smoothing 1, as Texygen has it)
MODEL_ORDER, DISCOUNT = 3, 0.75
SPLITS = 5
MOST = 5_000  # sentences a side
START, END = "\x02", "\x03"  # in no line of text

Tokens = Sequence[str]


def tokens_of(line: str, unit: str = "words") -> tuple[str, ...]:
    """The line's words, or with ``unit="characters"`` its characters without the whitespace at its ends."""
    return tuple(line.split()) if unit == "words" else tuple(line.strip())


def ngrams(tokens: Tokens, n: int) -> Iterator[tuple[str, ...]]:
    """The len(tokens) - n + 1 runs of n tokens."""
    return zip(*(tokens[start:] for start in range(n)), strict=False)


class References:
    """Reference sentences for BLEU: the largest and second largest count of each n-gram in one sentence, so that any one can be left out at no cost."""

    def __init__(self, sentences: Sequence[Tokens], order: int = ORDER):
        self.order = order
        self.lengths = Counter(map(len, sentences))
        self.best: dict[tuple[str, ...], tuple[int, int, int]] = {}  # n-gram -> (largest, whose, second largest)
        for index, sentence in enumerate(sentences):
            for n in range(1, order + 1):
                for gram, count in Counter(ngrams(sentence, n)).items():
                    most, whose, second = self.best.get(gram, (0, -1, 0))
                    self.best[gram] = (count, index, most) if count > most else (most, whose, max(second, count))

    def bleu(self, sentence: Tokens, without: int = -1) -> float:
        """Sentence BLEU with equal weights; ``without``: a reference left out. Without a single known word it is 0."""
        logarithm = 0.0
        for n in range(1, self.order + 1):
            counts = Counter(ngrams(sentence, n))
            matched = sum(min(count, self._most(gram, without)) for gram, count in counts.items())
            if n == 1 and not matched:
                return 0.0
            logarithm += math.log((matched or EPSILON) / max(1, sum(counts.values()))) / self.order
        return min(1.0, math.exp(1 - self._nearest(len(sentence), without) / len(sentence))) * math.exp(logarithm)

    def _most(self, gram: tuple[str, ...], without: int) -> int:
        most, whose, second = self.best.get(gram, (0, -1, 0))
        return second if whose == without else most

    def _nearest(self, length: int, without: int) -> int:
        """The reference length nearest to ``length``, the shorter of two; a left-out sentence has ``length`` itself."""
        known = (kept for kept, count in self.lengths.items() if count - (without >= 0 and kept == length))
        return min(known, key=lambda kept: (abs(kept - length), kept))


def bleu(sentences: Sequence[Tokens], references: Sequence[Tokens], order: int = ORDER) -> float:
    """Mean sentence BLEU against all ``references`` at once, 0 to 1."""
    known = References(references, order)
    return float(np.mean([known.bleu(sentence) for sentence in sentences]))


def self_bleu(sentences: Sequence[Tokens], order: int = ORDER) -> float:
    """Mean sentence BLEU of each of two or more sentences against all others: 1 where every one stands twice."""
    known = References(sentences, order)
    return float(np.mean([known.bleu(sentence, index) for index, sentence in enumerate(sentences)]))


def distinct(sentences: Sequence[Tokens], n: int) -> float:
    """Different n-grams by the number of all n-grams; 0 where there are none."""
    seen = Counter(gram for sentence in sentences for gram in ngrams(sentence, n))
    return len(seen) / max(1, seen.total())


def ngram_js(real: Sequence[Tokens], fake: Sequence[Tokens], n: int = 2) -> float:
    """Jensen-Shannon divergence (Lin, 1991, https://doi.org/10.1109/18.61115) of the two distributions of n-grams, in bits: 0 equal, 1 disjoint."""
    counts = [Counter(gram for sentence in part for gram in ngrams(sentence, n)) for part in (real, fake)]
    if not all(counts):
        raise UserError("No sentence of one side has {n} tokens. Expected longer ones, or characters as tokens.", n=n)
    grams = list(counts[0].keys() | counts[1].keys())
    p, q = (np.array([count[gram] for gram in grams]) / count.total() for count in counts)
    middle = (p + q) / 2
    return float(sum((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum() for part in (p, q)) / 2)


class KneserNey:
    """Interpolated Kneser-Ney model of ``order`` with one ``discount``: the highest order by counts, lower ones by the number of different words before.

    The lowest is interpolated with the uniform distribution over the training words, the sentence's end and one unknown word, so that nothing is impossible.
    """

    def __init__(self, sentences: Sequence[Tokens], order: int = MODEL_ORDER, discount: float = DISCOUNT):
        self.order, self.discount = order, discount
        tables: list[dict[tuple[str, ...], Counter[str]]] = [defaultdict(Counter) for _ in range(order)]
        seen: list[set[tuple[str, ...]]] = [set() for _ in range(order)]
        for sentence in sentences:
            padded = (START,) * (order - 1) + tuple(sentence) + (END,)
            for *before, word in ngrams(padded, order):
                tables[order - 1][tuple(before)][word] += 1
                for n in range(2, order + 1):
                    seen[n - 1].add((*before[order - n :], word))
        for n in range(1, order):
            for gram in seen[n]:
                tables[n - 1][gram[1:-1]][gram[-1]] += 1
        self.tables = [{context: (words, words.total()) for context, words in table.items()} for table in tables]
        self.size = len({*(word for sentence in sentences for word in sentence), END}) + 1

    def probability(self, word: str, before: Tokens = ()) -> float:
        """Of ``word`` after ``before`` (its last order - 1 tokens count)."""
        value = 1 / self.size
        for n, table in enumerate(self.tables):
            words, total = table.get(tuple(before[len(before) - n :]), (None, 0))
            if words is not None:
                value = max(words[word] - self.discount, 0) / total + self.discount * len(words) / total * value
        return value

    def nll(self, sentences: Sequence[Tokens]) -> float:
        """Nats a token, the ends of sentences among them: sum over all sentences by the number of all tokens."""
        total, count = 0.0, 0
        for sentence in sentences:
            padded = (START,) * (self.order - 1) + tuple(sentence) + (END,)
            for *before, word in ngrams(padded, self.order):
                total -= math.log(self.probability(word, before))
                count += 1
        return total / count


def ngram_nll(real: Sequence[Tokens], fake: Sequence[Tokens], order: int = MODEL_ORDER) -> float:
    """The fakes' negative log likelihood, nats a token, under a ``KneserNey`` model of the reals: the "oracle" NLL of SeqGAN
    (Yu et al., 2017, https://arxiv.org/abs/1609.05473, section 4) with data in the place of its random LSTM."""
    return KneserNey(real, order).nll(fake)


SCORES = {
    "bleu": lambda real, fake: bleu(fake, real),
    "self_bleu": lambda real, fake: self_bleu(fake),
    "distinct_1": lambda real, fake: distinct(fake, 1),
    "distinct_2": lambda real, fake: distinct(fake, 2),
    "distinct_3": lambda real, fake: distinct(fake, 3),
    "ngram_js": ngram_js,
    "ngram_nll": ngram_nll,
}
ABOUT = {
    "bleu": {"order": ORDER, "smoothing": f"{EPSILON} for no match", "references": "all reals"},
    "self_bleu": {"order": ORDER, "smoothing": f"{EPSILON} for no match", "references": "all other fakes"},
    "ngram_js": {"order": 2, "unit": "bits"},
    "ngram_nll": {"order": MODEL_ORDER, "smoothing": f"interpolated Kneser-Ney, discount {DISCOUNT}, uniform below", "unit": "nats a token"},
}


def gather(side: Side, unit: str) -> list[tuple[str, ...]]:
    """The sentences of a side that have a token, at most MOST of them drawn with a fixed seed."""
    made = [tokens_of(line, unit) for _, lines in side.chunks() for line in lines]
    made = [tokens for tokens in made if tokens]
    if not made:
        raise UserError("'{data}' holds no word. Expected a sentence a line.", data=side.name)
    if len(made) > MOST:
        made = [made[index] for index in np.sort(np.random.default_rng(0).choice(len(made), MOST, replace=False))]
    return made


def measure(samples: Samples, names: list[str]) -> list[dict]:
    """The asked ones; tokens are words, or what ``samples.about["tokens"]`` says."""
    unit = samples.about.get("tokens", "words")
    real, fake = gather(samples.real, unit), gather(samples.fake, unit)
    results = []
    for name in (name for name in SCORES if name in names):

        def score(rows: np.ndarray, others: np.ndarray, against_fake: bool, name=name) -> dict[str, float]:
            other = fake if against_fake else real
            return {name: SCORES[name]([real[row] for row in rows], [other[row] for row in others])}

        protocol = {"tokens": unit, "most": MOST, **ABOUT.get(name, {})}
        results += compare(samples, [name], len(real), len(fake), score, protocol=protocol, count=SPLITS)
    return results
