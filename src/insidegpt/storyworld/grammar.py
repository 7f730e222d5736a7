"""How a plot is written down: bilingual sentences with slots, choices between them, and the variables in the slots.

A plot is data. `say` is one sentence in both languages, `one_of` a choice, a list one thing after the other:

    [say("{hero} had {thing.a}.", "{hero}有{thing.a}。"), maybe(say("It was old.", "它很旧。"))]

`{thing.a}` is the form `a` of the word that the variable `thing` stands for; `{hero}` is the plain form.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from insidegpt.storyworld.vocabulary import Word

LANGUAGES = ("en", "zh")
_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


@dataclass(frozen=True)
class Sentence:
    """A sentence in both languages, with slots."""

    en: str
    zh: str

    def pieces(self, language: str) -> list[tuple[str, str | None, str]]:
        """The template as (literal text, variable, form) triples; the last one has no variable."""
        template = getattr(self, language)
        pieces, end = [], 0
        for slot in _SLOT.finditer(template):
            pieces.append((template[end : slot.start()], slot[1], slot[2] or ""))
            end = slot.end()
        return [*pieces, (template[end:], None, "")]

    def render(self, language: str, assignment: dict[str, Word]) -> str:
        """The sentence, its slots filled with the words that `assignment` gives to the variables."""
        return "".join(
            text + (assignment[variable].form(language, form) if variable else "")
            for text, variable, form in self.pieces(language)
        )


say = Sentence  # plots read better with a verb


@dataclass(frozen=True)
class OneOf:
    """A choice between parts, with the probability of each."""

    parts: tuple["Part", ...]
    probabilities: tuple[float, ...]


Part = Sentence | OneOf | list["Part"]


@dataclass(frozen=True)
class Plot:
    """A kind of story. `key` names the three variables whose combination decides on the split a story belongs to."""

    name: str
    key: tuple[str, str, str]
    story: list[Part]


@dataclass(frozen=True)
class Variable:
    """A random word: uniform over `values(*words of the parents)`; a variable with one value is a function of them.

    A word stays the same for the whole story unless the variable is `momentary`: then each sentence draws its own.
    """

    parents: tuple[str, ...]
    values: Callable[..., Sequence[Word]]
    momentary: bool = False


def one_of(*parts: Part, weights: Sequence[float] | None = None) -> OneOf:
    """One of the parts, each equally probable unless weights are given."""
    weights = weights or [1] * len(parts)
    return OneOf(parts, tuple(weight / sum(weights) for weight in weights))


def maybe(part: Part) -> OneOf:
    """The part, or nothing, with equal probability."""
    return one_of(part, [])


def among(words: Sequence[Word]) -> Variable:
    """A variable that is any of the words."""
    return Variable((), lambda: words)


def momentary(words: Sequence[Word]) -> Variable:
    """A variable that is any of the words, drawn anew for each sentence, which uses it once at most."""
    return Variable((), lambda: words, momentary=True)


def unlike(words: Sequence[Word], *others: str) -> Variable:
    """A variable that is any of the words but those that the variables `others` stand for."""
    return Variable(others, lambda *taken: [word for word in words if word not in taken])


def given(*parents: str) -> Callable[[Callable[..., Sequence[Word]]], Variable]:
    """Decorator: the variable whose values the function lists when it is given the parents' words."""
    return lambda values: Variable(parents, values)
