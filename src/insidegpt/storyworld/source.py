"""The source: it draws stories, and it knows the exact probability of every text.

In one language a plot is a machine that emits a piece of text at a time. Its state is the place in the plot that it has
come to and the words that its variables have been given so far. A variable gets its word when a slot first shows it, so
whatever a text does not show is summed over. `Source.options` lists what a state can do next; everything else follows
the states that agree with a text (the forward algorithm).
"""

import heapq
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from insidegpt.storyworld.grammar import LANGUAGES, OneOf, Part, Plot, Sentence, Variable
from insidegpt.storyworld.vocabulary import Word

_JOINER = {"en": " ", "zh": ""}

# A story belongs to the split that has (index of key word 1 + 2 + 3) mod 10 in its list.
SPLITS = {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}
_RESIDUES = 10


@dataclass(frozen=True)
class Story:
    """One story in both languages, sentence by sentence."""

    plot: str
    sentences: tuple[tuple[str, str], ...]

    def text(self, language: str) -> str:
        """The whole story in `language`, "en" or "zh"."""
        column = LANGUAGES.index(language)
        return "".join(_joined(pair[column], language) for pair in self.sentences)[len(_JOINER[language]) :]


def _joined(sentence: str, language: str) -> str:
    return sentence if sentence.startswith("\n") else _JOINER[language] + sentence


@dataclass(frozen=True, eq=False)
class _Node:
    """A place in a plot: it emits a text or a form of a variable's word, or it has branches; `then` comes after it."""

    key: tuple[int, ...] = ()
    then: "_Node | None" = None
    text: str = ""
    variable: int | None = None
    language: str = ""
    form: str = ""
    branches: tuple[tuple[float, "_Node"], ...] = ()


_END = _Node()
Bindings = tuple[Word | None, ...]
State = tuple[_Node, Bindings]


@dataclass
class _Reached:
    """What following the states along a text has found."""

    complete: float  # probability of the text as a whole story
    prefix: list[float]  # prefix[j]: probability that a story starts with text[:j]
    beyond: list[tuple[str, float, State]]  # how it can go on after the text


class Source:
    """Stories from `plots`, all equally probable, with the given variables.

    Key variables of plots have no parents and a number of values divisible by 10: so every split has exactly its share
    of the probability, and still has it when one or two of the three key words are known.
    """

    def __init__(self, plots: Sequence[Plot], variables: dict[str, Variable]):
        self.plots, self.variables = list(plots), variables
        self._index = {name: i for i, name in enumerate(variables)}
        self._list = list(variables.values())
        self._parents = [[self._index[parent] for parent in variable.parents] for variable in self._list]
        self._values: dict[tuple, Sequence[Word]] = {}
        self._rank: dict[int, dict[Word, int]] = {}
        for plot in self.plots:
            for name in plot.key:
                words = variables[name].values() if not variables[name].parents else ()
                if not words or len(words) % _RESIDUES:
                    raise ValueError(
                        f"The key variable {name!r} of plot {plot.name!r} has {len(words)} values of its own: "
                        f"take one without parents whose number of values is a multiple of {_RESIDUES}."
                    )
                self._rank[self._index[name]] = {word: rank for rank, word in enumerate(words)}
        self._start = {language: self._compile(language) for language in LANGUAGES}

    # Drawing

    def sample(self, rng: random.Random, split: str | None = None) -> Story:
        """One story, drawn with `rng`; from one split only when `split` is "train", "validation" or "test"."""
        while True:
            plot = rng.choice(self.plots)
            assignment: dict[str, Word] = {}
            for name, variable in self.variables.items():
                assignment[name] = rng.choice(variable.values(*(assignment[parent] for parent in variable.parents)))
            ranks = [self._rank[self._index[name]][assignment[name]] for name in plot.key]
            if split is None or sum(ranks) % _RESIDUES in _residues(split):
                break
        sentences = []
        for sentence in _walk(plot.story, rng):
            for name, variable in self.variables.items():
                if variable.momentary:
                    assignment[name] = rng.choice(variable.values())
            sentences.append(tuple(sentence.render(language, assignment) for language in LANGUAGES))
        return Story(plot.name, tuple(sentences))

    def stories(self, n: int, seed: int, split: str | None = None) -> Iterator[Story]:
        """`n` independent stories; the same seed gives the same stories."""
        rng = random.Random(seed)
        return (self.sample(rng, split) for _ in range(n))

    # Scoring

    def log_probability(self, text: str, language: str, split: str | None = None) -> float:
        """ln P(text) as a whole story in `language`, summed over everything the text does not show; -inf for no story.

        With `split`, the probability given that the story is drawn from that split.
        """
        complete = self._forward(text, language, split).complete
        return math.log(complete) if complete else -math.inf

    def surprisals(self, text: str, language: str, split: str | None = None) -> list[float]:
        """-ln P(character | text before it) for each character, then that of the end: len(text) + 1 numbers, in nats.

        They sum to -log_probability. Raises ValueError when the text is no story.
        """
        reached = self._forward(text, language, split)
        if not reached.complete:
            raise ValueError(f"This text is not a story of the source in {language!r}: {text[:60]!r}.")
        masses = [*reached.prefix, reached.complete]
        return [math.log(before / after) for before, after in itertools.pairwise(masses)]

    def prefix_log_probability(self, prefix: str, language: str, split: str | None = None) -> float:
        """ln P(a story in `language` starts with `prefix`); -inf when none does."""
        mass = self._forward(prefix, language, split).prefix[-1]
        return math.log(mass) if mass else -math.inf

    def next_options(self, prefix: str, language: str, split: str | None = None) -> dict[str, float]:
        """What the source says after `prefix`: pieces of text with their probabilities, which sum to 1.

        A piece is what one step of the plot emits, a stretch of fixed text or a word (two pieces may begin alike), or
        the rest of it when `prefix` ends inside; "" is the end of the story. Empty when no story starts with `prefix`.
        """
        found, _ = self.continuations(prefix, language, enough=bool, split=split)
        return {text: p for (text, _), p in found.items()}

    def continuations(
        self,
        prefix: str,
        language: str,
        enough: Callable[[str], bool],
        split: str | None = None,
        tolerance: float = 0.0,
    ) -> tuple[dict[tuple[str, bool], float], float]:
        """What the source says after `prefix`, each continuation followed until `enough(continuation)` or the end.

        The most probable ones are followed first; those that are left when they have no more than `tolerance` of the
        probability together are dropped. Returns ({(continuation, whether the story ends there): probability given the
        prefix}, probability dropped).
        """
        reached = self._forward(prefix, language, split)
        total = reached.prefix[-1]
        found: dict[tuple[str, bool], float] = defaultdict(float)
        if reached.complete:
            found["", True] = reached.complete / total
        order = itertools.count()
        followed = [(-p / total, next(order), text, state) for text, p, state in reached.beyond]
        heapq.heapify(followed)
        left = -math.fsum(p for p, *_ in followed)
        while followed and left > tolerance:
            p, _, text, state = heapq.heappop(followed)
            if enough(text) or state[0] is _END:
                found[text, state[0] is _END and not enough(text)] -= p
                left += p
            else:
                for more, q, following in self.options(state, split):
                    heapq.heappush(followed, (p * q, next(order), text + more, following))
        return dict(found), left if followed else 0.0

    def texts(self, language: str, split: str | None = None) -> Iterator[tuple[str, float]]:
        """The text of every derivation with its probability, one after the other; for small grammars.

        A text that several derivations give comes as often.
        """
        stack = [("", 1.0, self._start[language])]
        while stack:
            text, p, state = stack.pop()
            if state[0] is _END:
                yield text[len(_JOINER[language]) :], p
            stack.extend((text + piece, p * q, following) for piece, q, following in self.options(state, split))

    def options(self, state: State, split: str | None = None) -> Iterator[tuple[str, float, State]]:
        """What a state can do next: (text that it emits, probability, state after it)."""
        node, bindings = state
        for p, branch in node.branches:
            yield "", p, (branch, bindings)
        if node.text:
            yield node.text, 1.0, (node.then, bindings)
        elif node.variable is not None:
            momentary = self._list[node.variable].momentary
            for p, bound in self._bind(node.variable, bindings, node.key, split):
                word = bound[node.variable]
                yield word.form(node.language, node.form), p, (node.then, bindings if momentary else bound)

    def _bind(self, variable: int, bindings: Bindings, key: tuple[int, ...], split: str | None):
        """Every way to give `variable` a word, and its parents before it: (probability, bindings)."""
        if bindings[variable] is not None:
            return [(1.0, bindings)]
        ways = [(1.0, bindings)]
        for parent in self._parents[variable]:
            ways = [(p * q, bound) for p, before in ways for q, bound in self._bind(parent, before, key, split)]
        bound = []
        for p, before in ways:
            words = self._words(variable, before)
            left, right = before[:variable], before[variable + 1 :]
            bound += [(p / len(words), (*left, word, *right)) for word in words]
        if split is not None and variable in key:
            bound = [(p * weight, after) for p, after in bound if (weight := self._weight(after, key, split))]
        return bound

    def _words(self, variable: int, bindings: Bindings) -> Sequence[Word]:
        parents = tuple(bindings[parent] for parent in self._parents[variable])
        if (variable, parents) not in self._values:
            self._values[variable, parents] = self._list[variable].values(*parents)
        return self._values[variable, parents]

    def _weight(self, bindings: Bindings, key: tuple[int, ...], split: str) -> float:
        """P(split | the key words known so far) / P(split): 1 as long as one of them is missing."""
        if any(bindings[variable] is None for variable in key):
            return 1.0
        residues = _residues(split)
        rank = sum(self._rank[variable][bindings[variable]] for variable in key)
        return _RESIDUES / len(residues) if rank % _RESIDUES in residues else 0.0

    def _forward(self, text: str, language: str, split: str | None) -> _Reached:
        """Follow all the states that agree with `text`, those that meet in one place added up."""
        lead = _JOINER[language]
        text = lead + text
        reached: list[dict[State, float]] = [defaultdict(float) for _ in range(len(text) + 1)]
        reached[0][self._start[language]] = 1.0
        prefix = [1.0] + [0.0] * len(text)
        beyond: list[tuple[str, float, State]] = []
        complete = 0.0
        for position, states in enumerate(reached):
            while states:
                state, p = states.popitem()
                if state[0] is _END and position == len(text):
                    complete += p
                for piece, q, following in self.options(state, split):
                    agreed = _common_prefix(piece, text, position)
                    for end in range(position + 1, position + agreed + 1):
                        prefix[end] += p * q
                    if agreed == len(piece):
                        reached[position + agreed][following] += p * q
                    elif position + agreed == len(text):
                        beyond.append((piece[agreed:], p * q, following))
        return _Reached(complete, prefix[len(lead) :], beyond)

    def _compile(self, language: str) -> State:
        """The state that every story in `language` starts from."""
        starts = []
        for plot in self.plots:
            key = tuple(self._index[name] for name in plot.key)
            starts.append((1 / len(self.plots), self._node(plot.story, language, key, _END)))
        return _Node(branches=tuple(starts)), (None,) * len(self.variables)

    def _node(self, part: Part, language: str, key: tuple[int, ...], then: _Node) -> _Node:
        """The place where `part` begins, with `then` after it."""
        match part:
            case list():
                for inner in reversed(part):
                    then = self._node(inner, language, key, then)
            case OneOf():
                nodes = (self._node(inner, language, key, then) for inner in part.parts)
                then = _Node(branches=tuple(zip(part.probabilities, nodes, strict=True)))
            case Sentence():
                for i, (text, name, form) in reversed(list(enumerate(part.pieces(language)))):
                    if name:
                        then = _Node(key, then, "", self._index[name], language, form)
                    text = _joined(text, language) if i == 0 else text
                    if text:
                        then = _Node(key, then, text)
        return then


def _residues(split: str) -> range:
    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}: take one of {', '.join(SPLITS)}.")
    return SPLITS[split]


def _walk(part: Part, rng: random.Random) -> list[Sentence]:
    """The sentences of `part`, its choices drawn with `rng`."""
    match part:
        case list():
            return [said for inner in part for said in _walk(inner, rng)]
        case OneOf():
            return _walk(rng.choices(part.parts, part.probabilities)[0], rng)
    return [part]


def _common_prefix(piece: str, text: str, position: int) -> int:
    """How many of the first characters of `piece` stand in `text` from `position` on."""
    if text.startswith(piece, position):
        return len(piece)
    for i, character in enumerate(piece):
        if not text.startswith(character, position + i):
            return i
    return len(piece)
