"""Tests of the link between judge and student: a call through it behaves as the same call made here."""

import copy
import types

import numpy as np
import pytest
import torch
from torch import nn

import linked_answers
import test_hidden_checks as hidden
from insidegpt.grading.transport import StudentGone
from insidegpt.models import load_model
from linked import student

ALL = [name for name in vars(linked_answers) if not name.startswith("_")]


@pytest.fixture(scope="module")
def judge():
    with student("linked_answers") as judge:
        yield judge


@pytest.fixture
def names(judge):
    namespace = {}
    judge.bind(namespace, [*ALL, "not_there"])
    return types.SimpleNamespace(**namespace)


# --- values -----------------------------------------------------------------------------------------------------


def test_names_are_bound_as_what_they_are_and_missing_ones_stay_unset(names):
    assert names.here == 3
    assert names.nested_list == [[1, 2], {"three": (4, 5.0, None, True)}]
    assert callable(names.double)
    assert isinstance(names.Cache, type) and issubclass(names.Net, nn.Module)
    assert not hasattr(names, "not_there")


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            -3,
            1 << 200,
            2.5,
            float("inf"),
            1 - 2j,
            "词\ud800",
            b"\0\xff",
            ...,
            range(2, 9, 3),
            slice(1, None),
            nn.functional.gelu,
        ),
        *((1, (2,)), [], {(1, 2): {3}}, frozenset({1}), torch.Size([2, 3]), torch.bfloat16, torch.device("cpu"), int),
    ],
    ids=repr,
)
def test_a_value_comes_back_equal_and_of_its_type(names, value):
    got = names.same(value)
    assert got == value and type(got) is type(value)


def test_arguments_arrive_by_position_and_by_keyword(names):
    assert names.called_with(1, 2, three=3) == ((1, 2), {"three": 3})


def test_tensors_of_every_kind_arrive_as_they_are(names):
    for name, expected in linked_answers.kinds_of_tensors().items():
        got = names.kinds_of_tensors()[name]
        assert type(got) is type(expected) and got.dtype == expected.dtype and got.shape == expected.shape
        assert got.requires_grad == expected.requires_grad
        assert torch.equal(got, expected)
        if name not in ("conj",):
            assert got.stride() == expected.stride()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_tensors_on_the_gpu_stay_there(names):
    x = torch.ones(3, device="cuda", requires_grad=True)
    out = names.double(x)
    out.sum().backward()
    assert out.device.type == "cuda" and x.grad.tolist() == [2, 2, 2]
    names.add_one_in_place(still := torch.zeros(2, device="cuda"))
    assert still.tolist() == [1, 1]


def test_numpy_keeps_scalars_and_arrays(names):
    array = np.arange(3.0)
    scalar, small, kind = names.numpy_things(array)
    assert type(scalar) is np.float64 and small.dtype == np.int16 and small.tolist() == [0, 1, 2] and kind == "f"


def test_a_networkx_graph_arrives_whole(names):
    got = names.graph()
    assert (
        got.is_directed() and got.graph == {"name": "g"} and list(got.edges(data=True)) == [("a", "b", {"weight": 0.5})]
    )


def test_what_cannot_be_handed_over_is_an_error_of_that_call_alone(names):
    with pytest.raises(TypeError, match="sparse"):
        names.sparse()
    with pytest.raises(Exception, match="too many to hand over"):
        names.too_much()
    assert names.double(2) == 4


# --- identity and memory ----------------------------------------------------------------------------------------


def test_the_same_object_is_the_same_object_on_both_sides(names):
    x, items = torch.ones(2), [1]
    assert names.same(x) is x
    assert names.same(items) is items
    assert names.is_same(x, x) and not names.is_same(x, x.clone())


def test_views_share_memory_on_both_sides(names):
    x = torch.arange(6.0).reshape(2, 3)
    assert names.storages_shared(x, x.T)
    assert not names.storages_shared(x, x.clone())
    row = names.first_row(x)
    row[0] = 100
    assert x[0, 0] == 100
    flat, turned = names.tied(torch.zeros(2, 2))
    flat[1] = 5
    assert turned[1, 0] == 5


def test_an_argument_changed_in_place_is_changed_here(names):
    x = torch.zeros(4)
    names.add_one_in_place(x[1:3])
    assert x.tolist() == [0, 1, 1, 0]


def test_everything_that_an_answer_changes_is_changed_here(names):
    model, items, table = nn.Linear(2, 2), [[7]], {"old": 1}
    generator, array, weight = torch.Generator().manual_seed(1), np.zeros(2), model.weight
    before, state = model.weight.detach().clone(), generator.get_state()
    names.changes_everything(model, items, table, generator, array)
    assert not model.training and model.colour == "red" and model.bias is None and "mask" in dict(model.named_buffers())
    assert model.weight is weight and torch.equal(weight, 2 * before)
    assert items == [[7], [7]] and items[0] is items[1]
    assert table == {"new": 1} and array.tolist() == [1, 1]
    torch.rand(3, generator=(mirror := torch.Generator().manual_seed(1)))
    assert not torch.equal(generator.get_state(), state) and torch.equal(generator.get_state(), mirror.get_state())


def test_nothing_is_kept_of_a_call_that_left_nothing_behind(names, judge):
    names.double(torch.ones(2))
    held, alive = len(judge.heap), names.objects_alive()
    for _ in range(20):
        names.double(torch.ones(2, requires_grad=True)).sum().backward()
        names.same({"a": [torch.ones(3)]})
        with pytest.raises(RuntimeError):
            names.raises("torch")
    names.double(1)
    assert len(judge.heap) <= held and names.objects_alive() <= alive


def test_global_random_numbers_dtype_and_gradient_mode_are_those_of_here(names):
    torch.manual_seed(5)
    expected = torch.rand(4), torch.rand(4)
    torch.manual_seed(5)
    assert torch.equal(names.draws(), expected[0])
    assert torch.equal(torch.rand(4), expected[1])
    assert names.default_dtype() == (torch.float32, True)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            assert names.default_dtype() == (torch.float64, False)
    finally:
        torch.set_default_dtype(torch.float32)


# --- gradients --------------------------------------------------------------------------------------------------


def test_gradients_flow_through_nested_results_as_they_do_here(names):
    def gradients(function):
        torch.manual_seed(0)
        x, w = torch.rand(3, 2, requires_grad=True), torch.rand(2, requires_grad=True)
        out = function(x * 1, w)
        total, (still, mask) = out["more"]
        assert out["y"].requires_grad and not still.requires_grad and mask.dtype == torch.bool
        return torch.autograd.grad(out["y"].square().sum() + 3 * total, [x, w])

    for got, expected in zip(gradients(names.square_and_sum), gradients(linked_answers.square_and_sum), strict=True):
        torch.testing.assert_close(got, expected)


def test_gradcheck_holds(names):
    x, w = torch.rand(3, 2, dtype=torch.float64, requires_grad=True), torch.rand(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, w: names.square_and_sum(x, w)["y"], (x, w.requires_grad_()))


def test_a_gradient_goes_through_two_calls_and_each_step_counts_once(names):
    x = torch.tensor([3.0], requires_grad=True)
    y = names.double(x)
    z = names.called_with(names.double(y), y, x)[0][0] + y
    assert torch.autograd.grad(z, [x, y], retain_graph=True) == (torch.tensor([6.0]), torch.tensor([3.0]))
    z.backward()
    assert x.grad == 6


def test_state_that_an_object_keeps_passes_gradients_of_earlier_calls(names):
    cache, first, second = names.Cache(4), torch.ones(1, requires_grad=True), torch.ones(2, requires_grad=True)
    cache.update(first * 2)
    cache.update(second).sum().backward()
    assert first.grad.tolist() == [2] and second.grad.tolist() == [1, 1]


def test_a_backward_inside_an_answer_leaves_its_gradients_here(names):
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    names.gradient_inside(w)
    assert w.grad.tolist() == [2, 4]


def test_an_argument_changed_in_place_has_the_history_of_the_change(names):
    x, w = torch.ones(2), torch.tensor(3.0, requires_grad=True)
    same, twice = names.in_place_of_something_computed(x, w)
    (x + twice).sum().backward()
    assert same is x and w.grad == 6 and x.tolist() == [3, 3] and not x.is_leaf
    y = (z := torch.ones(2, requires_grad=True)) * 1
    names.in_place_of_something_computed(y[:1], w)
    y.sum().backward()
    assert z.grad.tolist() == [3, 1]


# --- classes, objects, modules ----------------------------------------------------------------------------------


def test_an_object_keeps_its_state_between_calls(names):
    cache = names.Cache(3)
    assert type(cache).__name__ == "Cache" and len(cache) == 0 and cache.scale == 2.0
    cache.update(torch.ones(2))
    assert len(cache) == 2 and torch.equal(cache.keys, torch.ones(2))
    with pytest.raises(OverflowError, match="4 of 3"):
        cache.update(torch.ones(2))
    cache.room = 5
    assert len(cache.update(torch.ones(2))) == 4
    cache.reset()
    assert len(cache) == 0 and not hasattr(cache, "nothing")
    with pytest.raises(ValueError, match="no room: 0"):
        names.Cache(0)


def test_a_module_has_its_parameters_here(names):
    net = names.Net(3)
    assert isinstance(net, nn.Module) and isinstance(net.norm, nn.LayerNorm) and net.width == 3
    assert net.two.weight is net.one.weight and isinstance(net.one.weight, nn.Parameter)
    assert set(net.state_dict()) == set(linked_answers.Net(3).state_dict())
    mirror = linked_answers.Net(3)
    net.load_state_dict(mirror.state_dict())
    x = torch.rand(2, 3)
    torch.testing.assert_close(net(x, shift=1), mirror(x, shift=1))
    torch.testing.assert_close(net.half_way(x), mirror.half_way(x))
    assert net.calls == 1
    assert net.to(torch.float64)(x.double()).dtype == torch.float64
    net.eval()
    assert not net.training and not net.norm.training


def test_a_module_trains_as_it_does_here(names):
    def losses(kind):
        torch.manual_seed(0)
        net, x = kind(3), torch.rand(4, 3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        found = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    assert losses(names.Net) == pytest.approx(losses(linked_answers.Net), rel=1e-5)


def test_a_copy_of_a_module_is_a_module_of_its_own(names):
    net = names.Net(2)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.one.weight.zero_()
    assert net.one.weight.any() and not torch.equal(net(torch.ones(2)), twin(torch.ones(2)))
    linear = nn.Linear(2, 2)
    got = names.copies(linear)
    assert got is not linear and isinstance(got, nn.Linear) and torch.equal(got(torch.ones(2)), linear(torch.ones(2)))


def test_a_generator_gives_one_piece_at_a_time(names):
    found = names.pieces(torch.arange(5), 2)
    assert next(found).tolist() == [0, 1]
    assert [piece.tolist() for piece in found] == [[2, 3], [4]]


def test_an_iterator_of_pythons_own_gives_its_items(names):
    assert list(names.numbered("ab")) == [(0, "a"), (1, "b")]
    assert list(names.numbered("c")) == [(0, "c")]


def test_exceptions_arrive_with_type_and_message(names):
    for kind, expected in {
        "blank": NotImplementedError,
        "own": KeyError,
        "index": IndexError,
        "torch": RuntimeError,
    }.items():
        with pytest.raises(expected) as here:
            names.raises(kind)
        with pytest.raises(expected) as there:
            linked_answers.raises(kind)
        assert str(here.value) == str(there.value) and type(here.value).__name__ == type(there.value).__name__
    with pytest.raises(SystemExit):
        names.raises("exit")
    with pytest.raises(RuntimeError):
        names.raises("interrupt")


# --- what the judge lends ---------------------------------------------------------------------------------------


class Encoder:
    vocabulary = 5
    _secret = "expected"

    def __init__(self):
        self.calls = []

    def __call__(self, text):
        self.calls.append(text)
        if text == "bad":
            raise ZeroDivisionError("not that")
        return list(text.encode())

    def method(self):
        return "expected"


def test_a_function_of_the_judge_is_called_back(names):
    encode = Encoder()
    assert names.counts_calls(encode, ["a", "é"]) == ([[97], [195, 169]], 5)
    assert encode.calls == ["a", "é"]
    with pytest.raises(ZeroDivisionError, match="not that"):
        names.counts_calls(encode, ["bad"])


@pytest.mark.parametrize("name", ["_secret", "__class__", "__call__.__globals__", "method", "__init__", "__dict__"])
def test_nothing_but_public_data_is_seen_of_what_is_lent(names, name):
    with pytest.raises(AttributeError):
        names.calls_method(Encoder(), name) if name == "method" else names.looks_around(Encoder(), name).__globals__
    with pytest.raises(AttributeError):
        names.looks_around(lambda: 1, "__globals__")


def test_a_model_counts_its_calls_though_the_student_does_not_know_its_class(names):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.inner = 0, nn.Linear(2, 2)

        def forward(self, x):
            self.calls += 1
            return types.SimpleNamespace(logits=self.inner(x))

    model, x = Counting(), torch.rand(3, 2)
    assert torch.equal(names.generated(model, x), model.inner(x).argmax(-1))
    assert model.calls == 1


def test_a_context_manager_listens_to_the_judges_own_model(names):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.rand(4, 2)
    expected = model(x)
    with names.capture(model, ["0", "2"]) as seen:
        assert seen == {}
        assert torch.equal(model(x), expected)
        assert list(seen) == ["0", "2"] and torch.equal(seen["2"], expected) and not seen["2"].requires_grad
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="inside"), names.capture(model, ["0"]):
        raise ValueError("inside")
    assert not model[0]._forward_hooks
    with names.capture_forgetting_the_hooks(model, ["0"]) as seen:
        model(x)
        assert seen["0"].requires_grad
    assert model[0]._forward_hooks
    del seen


def test_a_context_manager_changes_what_the_judges_own_model_computes(names):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.rand(4, 2)
    with names.ablated(model, "2"):
        out = model(x)
        torch.testing.assert_close(out, model[2].bias.expand(4, 2))
        out.sum().backward()
    assert model[2].bias.grad.tolist() == [4, 4]
    assert not torch.equal(model(x), out)


def test_a_language_model_and_its_tokenizer_are_the_same_there(names):
    model, tokenizer = load_model()
    ids = tokenizer("the robot", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(names.generated(model, ids), model(ids).logits.argmax(-1))
        with names.capture(model, ["transformer.h.0.attn.c_proj"]) as seen:
            model(ids)
            assert next(iter(seen.values())).shape[:2] == ids.shape
    assert names.tokens(tokenizer, "the robot") == (tokenizer("the robot")["input_ids"], tokenizer.eos_token_id)


# --- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "said"), [("loops_for_ever", "in time"), ("dies", "has ended")])
def test_a_process_that_hangs_or_dies_is_told_at_once_then_and_later(name, said):
    with student("linked_answers") as judge:
        namespace = {}
        judge.bind(namespace, [name, "double"])
        judge.timeout = 1
        with pytest.raises(StudentGone, match=said):
            namespace[name]()
        with pytest.raises(StudentGone, match=said):
            namespace["double"](2)


# --- the hidden checks ------------------------------------------------------------------------------------------


def remote_name(kind, value):
    return f"{kind} {hidden.name(value)}"


def some_mutants():
    """The first mistake that each property catches."""
    found = {(mutant.exercise, mutant.caught_by): (chapter, mutant) for chapter, mutant in reversed(hidden.WRONG)}
    return [*found.values()]


@pytest.fixture(scope="module")
def graded():
    with student("linked_hidden") as judge:
        yield judge


def through(judge, name):
    namespace = {}
    judge.bind(namespace, [name])
    return namespace[name]


@pytest.mark.parametrize(("chapter", "exercise"), hidden.EXERCISES)
def test_a_solution_has_every_property_through_the_link(graded, chapter, exercise):
    check = hidden.checks(chapter)[exercise]
    assert hidden.failures(check.run(through(graded, f"{chapter} solution {exercise}"))) == []
    blank = through(graded, f"{chapter} blank {exercise}")
    assert {result.message for result in check.run(blank)} == {hidden.NOT_WRITTEN}


@pytest.mark.parametrize(("chapter", "exercise", "answer"), hidden.ANSWERS, ids=hidden.name)
def test_every_right_way_of_writing_it_has_every_property_through_the_link(graded, chapter, exercise, answer):
    assert (
        hidden.failures(hidden.checks(chapter)[exercise].run(through(graded, f"{chapter} answer {answer.__name__}")))
        == []
    )


@pytest.mark.parametrize(("chapter", "mutant"), some_mutants(), ids=lambda v: hidden.name(getattr(v, "answer", v)))
def test_a_mistake_fails_the_same_properties_with_the_same_words_through_the_link(graded, chapter, mutant):
    check = hidden.checks(chapter)[mutant.exercise]
    there = through(graded, f"{chapter} mutant {mutant.answer.__name__}")
    assert told(check.run(there)) == told(check.run(mutant.answer)) != []


def told(results):
    """What failed and why, but for what torch says of tensors that were changed in place: here their versions are
    counted together, through the link apart."""
    return [result for result in results if not result.passed and "modified by an inplace" not in result.message]
