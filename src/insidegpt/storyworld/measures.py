"""The source as a yardstick: its perplexity, and how often the best possible predictor names the next token."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from insidegpt.storyworld.source import Source
from insidegpt.tokenizer import LONGEST_TOKEN

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def estimate_perplexity(
    source: Source,
    language: str,
    length: Callable[[str], int],
    n: int = 500,
    seed: int = 0,
    split: str | None = None,
) -> tuple[float, float]:
    """The source's perplexity per unit of text and its standard error, from `n` stories with exact probabilities.

    length: units in a story, its end included, as `lambda text: len(text) + 1` for characters. It is exp of (nats per
    story / units per story): no model has a lower perplexity on stories from the source, whatever it knows.
    """
    texts = [story.text(language) for story in source.stories(n, seed, split)]
    nats = [-source.log_probability(text, language, split) for text in texts]
    units = [length(text) for text in texts]
    rate = sum(nats) / sum(units)
    deviation = statistics.stdev(x - rate * u for x, u in zip(nats, units, strict=True))
    perplexity = math.exp(rate)
    return perplexity, perplexity * deviation / math.sqrt(n) / statistics.mean(units)


def entropy(source: Source, language: str, n: int = 500, seed: int = 0) -> tuple[float, float]:
    """The entropy of a story in nats and its standard error.

    A distribution of entropy H has at least exp(H) outcomes, so exp bounds the number of stories from below.
    """
    nats = [-source.log_probability(story.text(language), language) for story in source.stories(n, seed)]
    return statistics.mean(nats), statistics.stdev(nats) / math.sqrt(n)


def best_token_accuracy(
    source: Source, text: str, language: str, tokenizer: "Tokenizer", tolerance: float = 1e-3
) -> list[tuple[float, float]]:
    """For each token of a story and its end: bounds on the highest probability that the source gives any next token.

    Their mean over stories is the accuracy that the best possible predictor reaches. What the source can say next is
    followed until the piece that the tokenizer cuts out before it merges is complete or, in the long pieces of Chinese,
    until it is twice as long as the longest token, on the assumption that what comes later does not move the next
    token's end. Up to `tolerance` of the probability is not followed; it parts the bounds.
    """
    encoding = tokenizer.encode(text)
    pieces = [start for _, (start, _) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    bounds = []
    for i in range(len(encoding.ids) + 1):
        # A token may end inside a character: then that character is still to come.
        end = encoding.offsets[i][0] if i < len(encoding.ids) else len(text)
        first = 0 if i == 0 else encoding.offsets[i - 1][0]
        start = max((piece for piece in pieces if piece <= first), default=0)
        known = [token for token, (a, _) in zip(encoding.ids[:i], encoding.offsets[:i], strict=True) if a >= start]
        bounds.append(_best(source, text[:end], start, known, language, tokenizer, tolerance))
    return bounds


def _best(
    source: Source,
    prefix: str,
    start: int,
    known: list[int],
    language: str,
    tokenizer: "Tokenizer",
    tolerance: float,
) -> tuple[float, float]:
    """Bounds on the highest probability of a token after `prefix`, whose tokens from `start` on are `known`."""
    piece = prefix[start:]

    def complete(continuation: str) -> bool:
        *_, (_, (last, _)) = tokenizer.pre_tokenizer.pre_tokenize_str(piece + continuation) or [("", (0, 0))]
        return last > len(piece) or len(continuation.encode()) >= 2 * LONGEST_TOKEN

    continuations, dropped = source.continuations(prefix, language, complete, tolerance=tolerance)
    probability: dict[int | None, float] = defaultdict(float)
    for (continuation, _), p in continuations.items():
        tokens = tokenizer.encode(piece + continuation).ids
        if tokens[: len(known)] == known:
            probability[tokens[len(known)] if len(tokens) > len(known) else None] += p
    best, total = max(probability.values()), math.fsum(probability.values()) + dropped
    return best / total, (best + dropped) / total
