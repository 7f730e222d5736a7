"""What a check found, as the notebook hands it to the grader. No torch here: who only reads it starts at once."""

from __future__ import annotations

from dataclasses import dataclass

REPORT = "application/vnd.insidegpt.report+json"
"""The notebook output with what a hidden check found: `{"exercise", "properties": [the fields of Result]}`."""

NOTE = "application/vnd.insidegpt.note+json"
"""The notebook output with a sentence for the learner, in both languages, from the program that ran the notebook."""

Text = tuple[str, str]
"""The same sentence in English and in Chinese."""

NOT_WRITTEN = "not written yet · 尚未作答"


@dataclass(frozen=True)
class Result:
    """What one property showed: its bilingual name, whether it held, if not why (else ''), and how much it counts."""

    name: str
    passed: bool
    message: str
    weight: int = 1


def shares(results: list[Result], points: float) -> list[float]:
    """How many of an exercise's points each property stands for: `points` split by weight."""
    total = sum(r.weight for r in results)
    return [points * r.weight / total for r in results]
