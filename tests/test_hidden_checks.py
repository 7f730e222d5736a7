"""Tests of the hidden tests: right answers earn everything, wrong ones are caught by name, blanks earn nothing."""

import copy
import importlib
import warnings
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch

from insidegpt.checks import Check
from insidegpt.grading.submission import exercise_of, is_graded
from insidegpt.outcome import NOT_WRITTEN, shares

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted(path.stem for path in (ROOT / "tests" / "hidden").glob("[!_]*.py"))


def checks(chapter):
    """Every check of a chapter by the name of its exercise."""
    module = importlib.import_module(f"hidden.{chapter}")
    return {value.exercise: value for value in vars(module).values() if isinstance(value, Check)}


@cache
def _source(chapter):
    return nbformat.read(ROOT / "solutions" / chapter / f"{chapter}.ipynb", as_version=4)


def source(chapter):
    """A copy of a chapter's source notebook, for nbgrader to work on."""
    return copy.deepcopy(_source(chapter))


@cache
def notebook_names(chapter, blank=False):
    """What a chapter's exercise notebook defines: the solutions, or what a student starts from."""
    notebook = source(chapter)
    if blank:
        from nbgrader.preprocessors import ClearSolutions

        notebook, _ = ClearSolutions().preprocess(notebook, {})
    names = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and not is_graded(cell):
            exec(cell.source, names)
    return names


def graded_cells(notebook):
    """The notebook's graded cells by the names of their exercises."""
    return {exercise_of(cell): cell for cell in notebook.cells if is_graded(cell)}


def points(chapter, exercise):
    """What the exercise is worth, from the notebook's graded cell."""
    return graded_cells(source(chapter))[exercise].metadata.nbgrader.points


def mutants(chapter):
    return importlib.import_module(f"mutants.{chapter}").MUTANTS


def name(value):
    return getattr(value, "__name__", str(value))


EXERCISES = [(chapter, exercise) for chapter in CHAPTERS for exercise in checks(chapter)]
ANSWERS = [
    (chapter, exercise, answer)
    for chapter in CHAPTERS
    for exercise, answers in importlib.import_module(f"answers.{chapter}").ANSWERS.items()
    for answer in answers
]
WRONG = [(chapter, mutant) for chapter in CHAPTERS for mutant in mutants(chapter).wrong]
WORTHLESS = [(chapter, *pair) for chapter in CHAPTERS for pair in mutants(chapter).worthless_answers]


def failures(results):
    return [f"{result.name}: {result.message}" for result in results if not result.passed]


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_the_solution_has_every_property(chapter, exercise):
    assert failures(checks(chapter)[exercise].run(notebook_names(chapter)[exercise])) == []


@pytest.mark.parametrize(("chapter", "exercise", "answer"), ANSWERS, ids=name)
def test_every_right_way_of_writing_it_has_every_property(chapter, exercise, answer):
    assert failures(checks(chapter)[exercise].run(answer)) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_at_least_three_right_answers_were_written_for_every_exercise(chapter):
    answers = importlib.import_module(f"answers.{chapter}").ANSWERS
    assert set(answers) == set(checks(chapter))
    assert all(len(written) >= 3 for written in answers.values())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_graded_cell_calls_its_check_with_its_points(chapter):
    graded = graded_cells(source(chapter))
    assert set(graded) == set(checks(chapter))
    for exercise, cell in graded.items():
        assert f"from hidden.{chapter} import {exercise} as check" in cell.source
        assert f"check({exercise}, points={cell.metadata.nbgrader.points})" in cell.source


def run_visible_part(chapter, exercise, answer):
    """Run a graded cell as a student sees it, with this answer in place of the solution's."""
    from nbgrader.preprocessors import ClearHiddenTests

    notebook, _ = ClearHiddenTests().preprocess(source(chapter), {})
    cell = graded_cells(notebook)[exercise]
    assert "hidden" not in cell.source
    exec(cell.source, notebook_names(chapter) | {exercise: answer})


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_the_example_that_students_see_holds_for_the_solution(chapter, exercise, capsys):
    run_visible_part(chapter, exercise, notebook_names(chapter)[exercise])
    assert set(capsys.readouterr().out.splitlines()) == {"True"}


@pytest.mark.parametrize(("chapter", "mutant"), WRONG, ids=lambda value: name(getattr(value, "answer", value)))
def test_the_visible_part_takes_no_points_away_that_the_check_gives(chapter, mutant):
    if any(result.passed for result in checks(chapter)[mutant.exercise].run(mutant.answer)):
        run_visible_part(chapter, mutant.exercise, mutant.answer)


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_a_blank_answer_earns_nothing_and_is_told_so(chapter, exercise):
    answer = notebook_names(chapter, blank=True)[exercise]
    assert checks(chapter)[exercise](answer, points(chapter, exercise)) == 0
    assert {result.message for result in checks(chapter)[exercise].run(answer)} == {NOT_WRITTEN}


@pytest.mark.parametrize(("chapter", "exercise", "answer"), WORTHLESS, ids=name)
def test_a_worthless_answer_earns_nothing(chapter, exercise, answer):
    assert [result.name for result in checks(chapter)[exercise].run(answer) if result.passed] == []


@pytest.mark.parametrize(("chapter", "mutant"), WRONG, ids=lambda value: name(getattr(value, "answer", value)))
def test_a_known_mistake_is_named_and_costs_points(chapter, mutant):
    check = checks(chapter)[mutant.exercise]
    results = {result.name.split(" · ")[0]: result for result in check.run(mutant.answer)}
    assert not results[mutant.caught_by].passed
    assert mutant.says in results[mutant.caught_by].message
    assert mutant.spares is None or results[mutant.spares].passed
    assert 0 <= check(mutant.answer, 10) < 10


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_every_property_is_the_one_that_catches_some_mistake(chapter, exercise):
    properties = {result.name.split(" · ")[0] for result in checks(chapter)[exercise].run(None)}
    assert properties == {mutant.caught_by for mutant in mutants(chapter).wrong if mutant.exercise == exercise}


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_what_defines_an_exercise_counts_about_half_of_it(chapter, exercise):
    results = checks(chapter)[exercise].run(None)
    worth = zip(results, shares(results, 1), strict=True)
    assert {result.weight for result in results} == {1, 3}
    assert 0.4 < sum(share for result, share in worth if result.weight == 3) < 0.75


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_a_check_prints_one_bilingual_line_a_property_whatever_the_answer_does(chapter, exercise, capfd):
    def noisy(*args, **kwargs):
        import sys

        print("spam")
        print("spam", file=sys.stderr)
        warnings.warn("spam", stacklevel=1)
        return notebook_names(chapter)[exercise](*args, **kwargs)

    check = checks(chapter)[exercise]
    assert check(noisy, 4) == 4
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert len(lines) == len(check.run(None))
    assert all(line.startswith("✓ ") and " · " in line for line in lines)
    assert err == ""


GARBAGE = [
    None,
    3,
    "text",
    (),
    [torch.zeros(1)],
    {},
    (None, None),
    torch.tensor(1),
    torch.zeros(2, 2, dtype=torch.int64),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_garbage_earns_nothing_and_raises_nothing(chapter, exercise, garbage, capfd):
    assert checks(chapter)[exercise](lambda *args, **kwargs: garbage, 3) == 0
    assert checks(chapter)[exercise](garbage, 3) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "error", [KeyError("k"), RuntimeError(""), SystemExit(1), RecursionError(), StopIteration()], ids=repr
)
@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_an_answer_that_raises_earns_nothing_and_the_reason_is_told(chapter, exercise, error):
    def raises(*args, **kwargs):
        raise error

    results = checks(chapter)[exercise].run(raises)
    assert not any(result.passed for result in results)
    assert all(type(error).__name__ in result.message for result in results)


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES)
def test_a_check_leaves_the_global_random_state_as_it_was(chapter, exercise):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    checks(chapter)[exercise].run(notebook_names(chapter)[exercise])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: the checks ran on the CPU alone")
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_an_answer_that_leaves_the_gpu_is_caught(chapter):
    caught = []
    for exercise, check in checks(chapter).items():
        answer = notebook_names(chapter)[exercise]

        def on_cpu(*args, answer=answer):
            return answer(*(a.cpu() if isinstance(a, torch.Tensor) else a for a in args))

        caught += [r for r in check.run(on_cpu) if r.name.startswith("keeps dtype and device") and "cuda" in r.message]
    assert caught and not any(result.passed for result in caught)
