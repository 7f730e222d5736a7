"""Tests of the kit that hidden tests are written with."""

import sys
import warnings

import pytest
import torch

from insidegpt.checks import FLOATS, Case, Check, PropertyFailed, devices, expect
from insidegpt.mime import REPORT


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

    assert message(check_of(calls), answer) == "not written yet · 尚未作答"


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


def why(got, expected, mistakes=None, dtype=torch.float32):
    with pytest.raises(PropertyFailed) as failed:
        case(dtype).expect_close(got, expected, mistakes)
    return failed.value.args[0]


def test_close_means_shape_and_values():
    expected = torch.tensor([1.0, 2.0])
    case().expect_close(torch.tensor([1.00001, 2.0]), expected)
    assert why(torch.tensor([1.0, 2.5]), expected) == "off by up to 0.5"
    assert why(torch.tensor([[1.0, 2.0]]), expected) == "expected shape (2,), got (1, 2)"
    assert why(torch.tensor([1.0, float("nan")]), expected) == "there is a NaN or an infinity in the result"
    assert why([1.0, 2.0], expected) == "expected a tensor, got list"


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
    assert "lost its gradient" in standard(lambda a, b: (a * b).detach())[STANDARD[2]]
    assert "part of the path is cut off" in standard(lambda a, b: a * b.detach())[STANDARD[2]]
