"""What the student's process knows for hidden checks: solutions, right answers, mistakes, as `chapter kind name`."""

import importlib

import test_hidden_checks as hidden

for _chapter in hidden.CHAPTERS:
    # the modules that an exercise gives to learners, under their own names as in a notebook
    globals().update(
        {name: value for name, value in hidden.notebook_names(_chapter).items() if isinstance(value, type)}
    )
    for _exercise in hidden.checks(_chapter):
        for _state, _blank in (("solution", False), ("blank", True)):
            globals()[f"{_chapter} {_state} {_exercise}"] = hidden.notebook_names(_chapter, blank=_blank)[_exercise]
    for _name, _value in vars(importlib.import_module(f"answers.{_chapter}")).items():
        globals()[f"{_chapter} answer {_name}"] = _value
    for _mutant in hidden.mutants(_chapter).wrong:
        globals()[f"{_chapter} mutant {_mutant.answer.__name__}"] = _mutant.answer
