"""Wrong answers that the hidden checks must catch, one module a chapter.

Each is registered with its exercise, the property expected to catch it and words that the message must contain:

    MUTANTS = Mutants()

    @MUTANTS.add("self_attention", caught_by="scores divided by √d_k", says="√d_in")
    def scaled_by_the_width_of_x(x, w_q, w_k, w_v): ...

`spares` names a property that must hold nevertheless, where failing it would blame the wrong thing.
An answer that has understood nothing is registered with `worthless` instead: it must earn no points at all.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A wrong answer; `caught_by` and `spares` are English names of properties, `says` English words of the message."""

    exercise: str
    answer: object
    caught_by: str
    says: str
    spares: str | None


class Mutants:
    """The wrong answers of one chapter."""

    def __init__(self):
        self.wrong: list[Mutant] = []
        self.worthless_answers: list[tuple[str, object]] = []

    def add(self, exercise: str, caught_by: str, says: str, spares: str | None = None):
        """Decorator: register a wrong answer."""

        def register(answer):
            self.wrong.append(Mutant(exercise, answer, caught_by, says, spares))
            return answer

        return register

    def worthless(self, exercise: str):
        """Decorator: register an answer that must earn nothing."""

        def register(answer):
            self.worthless_answers.append((exercise, answer))
            return answer

        return register
