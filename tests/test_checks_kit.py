"""Tests of the kit that hidden tests are written with."""

import sys
import warnings

import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from insidegpt.checks import (
    FLOATS,
    Case,
    Check,
    PropertyFailed,
    describe,
    devices,
    expect,
    expect_refused,
    expect_shape,
    expect_tensor,
    expect_tensors,
)
from insidegpt.errors import UserError
from insidegpt.grading.report import collect
from insidegpt.outcome import NOT_WRITTEN, REPORT, Result, shares


def case(dtype=torch.float32):
    return Case(torch.device("cpu"), dtype)


def check_of(*tests, dtypes=(torch.float32,)):
    check = Check("exercise")
    for number, test in enumerate(tests):
        check.property(f"property {number}", f"性质 {number}", dtypes)(test)
    return check


def holds(answer, case):
    pass


def fails(answer, case):
    expect(False, "it is wrong", "它错了")


def calls(answer, case):
    answer()


def message(check, answer=None):
    (result,) = check.run(answer)
    return result.message


def test_the_points_are_the_share_of_the_properties_that_hold():
    assert check_of(holds, holds, fails)(None, points=4) == 2.67
    assert check_of(holds)(None, points=3) == 3.0
    assert isinstance(check_of(fails)(None, points=3), float)


def weighted():
    check = check_of(fails)
    check.property("central", "要点", (torch.float32,), weight=3)(holds)
    return check


def test_a_property_counts_by_its_weight():
    assert weighted()(None, points=4) == 3.0
    assert [result.weight for result in weighted().run(None)] == [1, 3]
    assert shares(weighted().run(None), 4) == [1.0, 3.0]


def test_a_failed_property_says_why_in_both_languages_and_where():
    assert message(check_of(fails)) == "it is wrong · 它错了 (cpu float32)"


def test_every_property_prints_one_line_with_its_name_in_both_languages(capsys):
    check_of(holds, fails)(None, points=1)
    assert capsys.readouterr().out.splitlines() == [
        "✓ property 0 · 性质 0",
        "✗ property 1 · 性质 1: it is wrong · 它错了 (cpu float32)",
    ]


def test_in_a_notebook_the_report_is_also_data():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            check_of(holds, fails)(None, points=1)
    finally:
        InteractiveShell.clear_instance()
    (output,) = captured.outputs
    report = output.data[REPORT]
    assert report["exercise"] == "exercise"
    assert report["properties"][0] == {"name": "property 0 · 性质 0", "passed": True, "message": "", "weight": 1}
    assert [(p["name"], p["passed"]) for p in report["properties"]] == [
        ("property 0 · 性质 0", True),
        ("property 1 · 性质 1", False),
    ]
    assert output.data["text/plain"].startswith("✓ property 0 · 性质 0\n✗ ")


def test_a_property_is_tried_in_every_dtype_on_every_device():
    seen = []
    check_of(lambda answer, case: seen.append((case.device, case.dtype)), dtypes=FLOATS).run(None)
    assert seen == [(device, dtype) for device in devices() for dtype in FLOATS]


def test_random_numbers_are_the_same_in_every_dtype():
    one, other = case(torch.float64).randn(3, 4), case(torch.float32).randn(3, 4)
    assert other.dtype == torch.float32
    assert torch.equal(one.float(), other)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(0), AssertionError(), RecursionError("deep")], ids=repr)
def test_an_answer_that_raises_fails_with_the_name_of_the_error(error):
    def answer():
        raise error

    assert message(check_of(calls), answer).startswith(f"it raised {type(error).__name__}")


def test_an_unwritten_answer_is_told_apart_from_a_wrong_one():
    def answer():
        raise NotImplementedError()

    assert message(check_of(calls), answer) == NOT_WRITTEN


def test_what_torch_does_not_implement_is_no_blank_answer():
    def answer():
        return torch.ones(1, device="meta").cpu()

    with pytest.raises(NotImplementedError):
        answer()
    assert message(check_of(calls), answer) != NOT_WRITTEN


def test_interrupting_stops_the_check():
    def answer():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_of(calls).run(answer)


def test_a_long_error_is_cut_to_one_line():
    def answer():
        raise ValueError("x" * 1000 + "\nsecond line")

    assert len(message(check_of(calls), answer)) < 500
    assert "\n" not in message(check_of(calls), answer)


def test_what_an_answer_prints_and_warns_is_kept_out_of_the_cell(capfd):
    def answer():
        print("spam")
        print("spam", file=sys.stderr)
        warnings.warn("spam", stacklevel=1)

    check_of(calls)(answer, points=1)
    out, err = capfd.readouterr()
    assert "spam" not in out
    assert err == ""


def test_an_answer_cannot_change_the_global_random_state():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    check_of(calls).run(lambda: torch.manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_global_random_numbers_differ_between_seeds_but_not_between_runs():
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        check_of(lambda answer, case: seen.append(torch.rand(1).item())).run(None)
    assert seen[0] == seen[1]


def test_an_answer_that_turns_gradients_off_harms_no_later_property():
    recorded = []
    check_of(calls, lambda answer, case: recorded.append(torch.is_grad_enabled())).run(
        lambda: torch.set_grad_enabled(False)
    )
    assert recorded == [True]
    assert torch.is_grad_enabled()


@pytest.fixture
def odd_defaults():
    """Default dtype and device as a notebook may have left them."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)


def test_defaults_that_the_notebook_set_do_not_reach_the_check(odd_defaults):
    seen = []
    check_of(lambda answer, case: seen.append(describe(torch.rand(1)))).run(None)
    assert seen == ["cpu float32"]
    assert message(check_of(fails)) == "it is wrong · 它错了 (cpu float32)"
    assert describe(torch.rand(1)) == "meta float64"


def why(got, expected, mistakes=None, dtype=torch.float32):
    with pytest.raises(PropertyFailed) as failed:
        case(dtype).expect_close(got, expected, mistakes)
    return failed.value.args[0]


def test_close_means_shape_and_values():
    expected = torch.tensor([1.0, 2.0])
    case().expect_close(torch.tensor([1.00001, 2.0]), expected)
    assert why(torch.tensor([1.0, 2.5]), expected) == "off by up to 0.5"
    assert why(torch.tensor([[1.0, 2.0]]), expected) == "expected shape (2,), got (1, 2)"
    assert why(torch.tensor([1.0, float("nan")]), expected).startswith("there is a NaN or an infinity: exp overflowed")
    assert why([1.0, 2.0], expected) == "expected one tensor, got list"


def fails_with(words):
    return pytest.raises(PropertyFailed, match=words)


def test_a_wrong_shape_is_told_with_the_right_one():
    expect_shape("weights", torch.zeros(2, 3), (2, 3))
    with fails_with(r"weights has shape \(2, 3\); it should be \(3, 2\)"):
        expect_shape("weights", torch.zeros(2, 3), (3, 2))


def test_a_pair_is_two_tensors():
    one = torch.zeros(1)
    assert expect_tensor(one) is one
    assert expect_tensors([one, one], "a", "b") == (one, one)
    with fails_with(r"one tensor came back; return 2: \(a, b\)"):
        expect_tensors(torch.zeros(2), "a", "b")
    for odd in (None, (one,), (one, None), {"a": one, "b": one}):
        with fails_with("expected 2 tensors"):
            expect_tensors(odd, "a", "b")


def refusal(error):
    def call():
        raise error

    return lambda answer, case: expect_refused(call, ("stride 5", "步长 5 时"), (4, -5))


def test_a_refusal_is_a_value_error_with_a_sentence_that_names_the_numbers():
    assert message(check_of(refusal(ValueError("步长 -5 不在 1-4 之内")))) == ""
    assert message(check_of(lambda answer, case: expect_refused(list, ("it", "它")))).startswith("it was accepted")
    for error, words in [
        (KeyError("stride -5 of 4"), "stride 5 raised KeyError"),
        (ValueError("stride 5 of 4"), "is no sentence that names 4 and -5"),
        (ValueError("4, -5"), "is no sentence that names 4 and -5"),
        (NotImplementedError(), NOT_WRITTEN),
        (UserError("the process has ended", "进程已结束"), "the process has ended · 进程已结束"),
    ]:
        assert words in message(check_of(refusal(error)))


PLAIN, BEAMS = [((2,),)], [((3,), ()), ((2, 1), (3,))]


def test_leading_dimensions_give_what_each_entry_gives_alone():
    case().expect_batch(lambda x: x.softmax(-1), (2, 3), leads=PLAIN)
    case().expect_batch(lambda a, b: (a @ b.mT, b.sum() + a), (2, 3), (4, 3), leads=[((), ())])
    case().expect_batch(lambda a, b: a @ b.mT, (2, 3), (4, 3), leads=BEAMS)
    for wrong, words in [
        (lambda x: x.softmax(0), r"in shape \(2, 2, 3\) a sequence in the batch gets another result than alone"),
        (lambda x: x.squeeze(), r"expected shape \(1, 2, 3\), got \(2, 3\)"),
        (
            lambda x: torch.einsum("td->dt", x),
            r"shape \(2, 2, 3\) raised RuntimeError: .*count dimensions from the end",
        ),
        (lambda x: torch.ones_like(x), "different sequences got the same result"),
        (lambda x: x + torch.rand(1), "two calls with the same input gave different results"),
    ]:
        with fails_with(words):
            case().expect_batch(wrong, (2, 3), leads=[*PLAIN, ((1,),)])
    with fails_with(r"shape \(2, 3\) with \(3, 4, 3\) raised"):
        case().expect_batch(lambda a, b: a @ b.expand(*a.shape[:-2], 4, 3).mT, (2, 3), (4, 3), leads=[((), (3,))])


def test_an_unwritten_answer_is_no_mistake_about_dimensions():
    def unwritten(x):
        raise NotImplementedError

    assert (
        message(check_of(lambda answer, case: case.expect_batch(answer, (2, 3), leads=PLAIN)), unwritten) == NOT_WRITTEN
    )


def test_results_that_follow_the_order_of_the_words():
    moved, x = ("it moved", "它动了"), case().randn(4, 3)
    case().expect_follows_order(lambda x: x - x.mean(0), x, moved)
    for wrong, words in [
        (lambda x: x.mean(0) + x * torch.arange(4.0)[:, None], "it moved"),
        (lambda x: x.cumsum(0), "there is a causal mask"),
        (lambda x: x * torch.rand(1), "two calls with the same input gave different results"),
    ]:
        with fails_with(words):
            case().expect_follows_order(wrong, x, moved)


def test_the_mistake_that_gives_the_result_becomes_the_message():
    mistakes = {("first", "一"): torch.tensor(1.0), ("second", "二"): torch.tensor([2.0])}
    assert why(torch.tensor(1.0), torch.tensor(3.0), mistakes) == "first"
    assert why(torch.tensor([2.0]), torch.tensor(3.0), mistakes) == "second"


def test_any_other_result_gets_the_sentence_given_for_it():
    known, other = {("known", "已知"): torch.tensor(1.0)}, ("other", "其他")
    with pytest.raises(PropertyFailed, match="known"):
        case().expect_close(torch.tensor(1.0), torch.tensor(3.0), known, otherwise=other)
    with pytest.raises(PropertyFailed, match="other"):
        case().expect_close(torch.tensor(2.0), torch.tensor(3.0), known, otherwise=other)
    case().expect_close(torch.tensor(3.0), torch.tensor(3.0), known, otherwise=other)


def test_a_right_result_passes_even_where_a_mistake_gives_the_same():
    case().expect_close(torch.tensor(1.0), torch.tensor(1.0), {("wrong", "错"): torch.tensor(1.0)})


def test_low_precision_is_judged_by_its_own_tolerance():
    expected = torch.tensor(1 / 3, dtype=torch.float64)
    for dtype in FLOATS:
        case(dtype).expect_close(expected.to(dtype), expected)
    assert why(torch.tensor(0.34, dtype=torch.float64), expected, dtype=torch.float64).startswith("off by")


def test_a_lost_dtype_is_not_also_called_a_wrong_value():
    expected = torch.tensor(1 / 3, dtype=torch.float64)
    case(torch.float64).expect_close(expected.float(), expected)


def standard(answer):
    check = Check("exercise")
    check.add_standard_properties(lambda case: (case.randn(2, 3), case.randn(2, 3)))
    return {result.name.split(" · ")[0]: result.message for result in check.run(answer)}


STANDARD = ["keeps dtype and device", "leaves its inputs untouched", "gradients reach every input"]


def test_a_plain_function_of_tensors_has_the_standard_properties():
    assert standard(lambda a, b: a * b) == dict.fromkeys(STANDARD, "")
    assert standard(lambda a, b: (a + b, a.exp() * b)) == dict.fromkeys(STANDARD, "")


def test_gradients_may_pass_through_a_softmax_in_float32():
    def half(a, b):
        return (a * b).softmax(-1, dtype=torch.float32).to(a.dtype)

    assert standard(half) == dict.fromkeys(STANDARD, "")


def test_an_answer_that_ignores_an_argument_has_no_standard_property():
    assert all("does not depend on argument 2" in said for said in standard(lambda a, b: a * 2).values())
    assert all("does not depend on argument 1" in said for said in standard(lambda a, b: torch.zeros_like(a)).values())


@pytest.mark.parametrize("nothing", [None, (), (None,), 3, "text"], ids=repr)
def test_an_answer_without_tensors_has_no_standard_property(nothing):
    assert all("expected tensors" in said for said in standard(lambda a, b: nothing).values())


def test_each_standard_property_has_teeth():
    def in_place(a, b):
        a += b
        return a

    assert "float64 went in, cpu float32 came out" in standard(lambda a, b: a.float() * b.float())[STANDARD[0]]
    assert "argument 1 was changed in place" in standard(in_place)[STANDARD[1]]
    assert "switched to requires_grad" in standard(lambda a, b: a * b.requires_grad_())[STANDARD[1]]
    assert "lost its gradient" in standard(lambda a, b: (a * b).detach())[STANDARD[2]]
    assert "part of the path is cut off" in standard(lambda a, b: a * b.detach())[STANDARD[2]]


def graded(source, *outputs):
    """A notebook with one graded cell of 4 points, as it is after running."""
    mark = {"grade": True, "grade_id": "test-exercise", "locked": True, "points": 4, "solution": False, "task": False}
    cell = new_code_cell(source, metadata={"nbgrader": {**mark, "schema_version": 3}}, outputs=[*outputs])
    return new_notebook(cells=[cell])


def report_of(shown):
    """The exercise in the report on a notebook in which this was displayed as what the check found."""
    (exercise,) = collect("chapter", graded("check()", new_output("display_data", {REPORT: shown}))).exercises
    return exercise


def test_a_report_tells_what_each_property_counts():
    properties = [
        {"name": "a · 甲", "passed": True, "message": "", "weight": 3},
        {"name": "b · 乙", "passed": False, "message": "no · 否"},
    ]
    exercise = report_of({"properties": properties})
    assert exercise.counted() == [
        (Result("a · 甲", True, "", 3), "3"),
        (Result("b · 乙", False, "no · 否", 1), "1"),
    ]


@pytest.mark.parametrize(
    "shown", [None, {}, {"properties": [{"a": 1}]}, {"properties": [None]}, {"properties": 3}], ids=repr
)
def test_a_malformed_report_has_no_properties(shown):
    assert report_of(shown).properties == []


def test_a_notebook_in_which_torch_lacks_an_implementation_is_not_called_unwritten():
    from insidegpt.grading.execute import ExecuteSubmission

    said = {}
    for reason in ("", "'no kernel'"):
        notebook = graded(f"raise NotImplementedError({reason})")
        ExecuteSubmission().preprocess(notebook, {"metadata": {"path": "."}})
        said[reason] = notebook.cells[0].outputs[-1].evalue
    assert said[""] == NOT_WRITTEN
    assert said["'no kernel'"].startswith("the visible test raised NotImplementedError: no kernel")
