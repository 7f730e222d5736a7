"""Hidden reference tests of the chapter `graph`."""

from __future__ import annotations

import math
from collections.abc import Callable

import networkx as nx
import torch
from torch import Tensor

from insidegpt.checks import ONCE, Case, Check, Text, describe, expect, expect_shape, expect_tensor


def stochastic(scores: Tensor) -> Tensor:
    """Rows that sum to 1, every word reading every word: (…, T, T)."""
    return scores.softmax(-1)


def causal(scores: Tensor) -> Tensor:
    """Rows that sum to 1, with exact zeros right of the diagonal: (…, T, T)."""
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1)


def tensors_in(arguments) -> list[Tensor]:
    found = []
    for argument in arguments:
        found += tensors_in(argument) if isinstance(argument, (tuple, list)) else [argument]
    return found


def expect_depends(
    case: Case, answer, scores: tuple[Tensor, ...], make: Callable[..., tuple], shape: tuple[int, ...]
) -> Tensor:
    """The answer for these scores; fails unless it has this shape, is finite, repeatable, and needs every argument."""
    out, again = (expect_tensor(answer(*make(*scores))) for _ in range(2))
    expect_shape("the result", out, shape)
    expect(bool(torch.isfinite(out).all()), "there is a NaN or an infinity in the result", "结果里出现了 NaN 或无穷大")
    expect(
        case.close(again, out),
        "two calls with the same input gave different results: something random is inside",
        "同样的输入，两次调用的结果不同：里面有随机的成分",
    )
    for k in range(len(scores)):
        other = expect_tensor(answer(*make(*(s.flip(-1) if i == k else s for i, s in enumerate(scores)))))
        expect(
            not case.close(other, out),
            f"the result does not depend on argument {k + 1}",
            f"结果与第 {k + 1} 个参数无关",
        )
    return out


def add_form_properties(
    check: Check,
    scores: Callable[[Case], tuple[Tensor, ...]],
    make: Callable[..., tuple],
    shape: tuple[int, ...],
    gradients: bool = True,
) -> None:
    """Add the properties of form that a function of attention weights has here.

    scores: free numbers, fresh at each call; make: the arguments out of them, so that rows sum to 1 whatever the
    scores are; shape: the result's. Gradients are tried for the scores: only along them do the rows keep their sum.
    """

    @check.property("keeps dtype and device", "保持 dtype 与设备")
    def keeps_dtype(answer, case):
        out = expect_depends(case, answer, scores(case), make, shape)
        expect(
            (out.dtype, out.device.type) == (case.dtype, case.device.type),
            f"{case} went in, {describe(out)} came out",
            f"输入是 {case}，输出却是 {describe(out)}",
        )

    # In place what `.float()` or `.double()` gives back is changed only where that was no copy.
    @check.property("leaves its inputs untouched", "不改动输入", (torch.float32, torch.float64))
    def untouched(answer, case):
        given = make(*scores(case))
        before = [t.clone() for t in tensors_in(given)]
        expect_tensor(answer(*given))
        for now, then in zip(tensors_in(given), before, strict=True):
            expect(
                torch.equal(now, then) and not now.requires_grad,
                "an argument was changed in place",
                "有一个参数被原地修改了",
            )
        expect_depends(case, answer, scores(case), make, shape)

    if not gradients:
        return

    @check.property("gradients reach every input", "梯度传到每个输入", (torch.float64,))
    def differentiable(answer, case):
        given = scores(case)
        expect_depends(case, answer, given, make, shape)
        for leaf in given:
            leaf.requires_grad_()
        expect(
            expect_tensor(answer(*make(*given))).requires_grad,
            "the result has lost its gradient (detach, .data, item, numpy, no_grad or torch.tensor cut it off)",
            "结果没有梯度了（detach、.data、item、numpy、no_grad、torch.tensor 都会切断梯度）",
        )
        expect(
            torch.autograd.gradcheck(
                lambda *leaves: answer(*make(*leaves)),
                given,
                eps=1e-3,
                atol=1e-5,
                raise_exception=False,
                fast_mode=True,
            ),
            "the gradient differs from the difference quotient: part of the path is cut off, or a 0 in the attention "
            "makes it infinite",
            "梯度与差商不符：有一段计算图被切断了，或者注意力里的 0 让它成了无穷大",
        )


# --- to_digraph -----------------------------------------------------------------------------------------------

to_digraph = Check("to_digraph")

TOKENS = ["the", " dog", " the", " cat", "."]
# Sixteenths are exact in every precision.
SIXTEENTHS = torch.tensor([[16, 0, 0, 0, 0], [9, 7, 0, 0, 0], [5, 8, 3, 0, 0], [1, 2, 11, 2, 0], [6, 0, 4, 3, 3]])
READS_ALL = torch.tensor([[2, 5, 4, 4, 1], [3, 1, 6, 1, 5], [7, 2, 1, 3, 3], [1, 9, 2, 2, 2], [4, 4, 5, 2, 1]])

Nodes, Edges = dict, dict


def graph_of(answer, attention: Tensor, tokens: list[str], threshold: float) -> tuple[Nodes, Edges]:
    """{node: token} and {(from, to): weight} of the graph that an answer returned."""
    given = answer(attention, list(tokens), threshold)
    expect(
        all(callable(getattr(given, part, None)) for part in ("is_directed", "is_multigraph", "edges", "nodes")),
        f"expected a networkx.DiGraph, got {type(given).__name__}",
        f"应返回 networkx.DiGraph，得到的是 {type(given).__name__}",
    )
    expect(
        bool(given.is_directed()) and not given.is_multigraph(),
        "the graph has no directions (or several edges between two nodes): make a networkx.DiGraph",
        "图没有方向（或两点之间有多条边）：请用 networkx.DiGraph",
    )
    nodes = {node: data.get("token") for node, data in given.nodes(data=True)}
    edges = {(start, end): data.get("weight") for start, end, data in given.edges(data=True)}
    return nodes, edges


def expected_edges(weights: Tensor, threshold: float) -> Edges:
    """{(word read, reader): weight} without loops."""
    return {
        (j, i): weight
        for i, row in enumerate(weights.tolist())
        for j, weight in enumerate(row)
        if i != j and weight > 0 and weight >= threshold
    }


def expect_joined(edges: Edges, expected: Edges) -> None:
    """Fail unless the same words are joined, whatever the directions and loops."""
    got, wanted = ({frozenset(edge) for edge in some if edge[0] != edge[1]} for some in (edges, expected))
    expect(
        got == wanted,
        f"{len(got)} pairs of words are joined; it should be {len(wanted)}, and the nodes are the positions 0, 1, 2, …",
        f"连起来的词有 {len(got)} 对；应有 {len(wanted)} 对，而且节点是位置 0、1、2……",
    )


def sixteenths(case: Case, table: Tensor) -> Tensor:
    return case.tensor(table / 16)


@to_digraph.property("arrows run from the word read to the reader", "箭头从被读的词指向读的词", weight=3)
def graph_direction(answer, case):
    for table in (SIXTEENTHS, READS_ALL):
        attention = sixteenths(case, table)
        expected = expected_edges(table / 16, 0.05)
        _, edges = graph_of(answer, attention, TOKENS, 0.05)
        edges = {edge: weight for edge, weight in edges.items() if edge[0] != edge[1]}
        expect_joined(edges, expected)
        expect(
            set(edges) != {edge[::-1] for edge in expected} or set(edges) == set(expected),
            "the arrows are the wrong way round: they run from the word that is read to the word that reads",
            "箭头反了：应从被读的词指向读的词",
        )
        expect(set(edges) == set(expected), "some arrows point the wrong way", "有些箭头方向不对")
        for edge, weight in expected.items():
            expect(
                edges[edge] is not None and not isinstance(edges[edge], str),
                f"the edge {edge} has no attribute weight",
                f"边 {edge} 没有属性 weight",
            )
            expect(
                abs(float(edges[edge]) - weight) < 1e-9,
                f"the edge from {edge[0]} to {edge[1]} has the weight {float(edges[edge]):.4f}; it should be "
                f"attention[{edge[1]}, {edge[0]}] = {weight:.4f}",
                f"从 {edge[0]} 到 {edge[1]} 的边，权重是 {float(edges[edge]):.4f}；应为 "
                f"attention[{edge[1]}, {edge[0]}] = {weight:.4f}",
            )


@to_digraph.property("keeps what reaches the threshold", "保留达到阈值的权重", ONCE, weight=3)
def graph_threshold(answer, case):
    for threshold in (0.25, 0.1875, 0.0):
        _, edges = graph_of(answer, sixteenths(case, SIXTEENTHS), TOKENS, threshold)
        got = {frozenset(edge) for edge in edges if edge[0] != edge[1]}
        wanted, above, zeros = (
            {frozenset(edge) for edge in some}
            for some in (
                expected_edges(SIXTEENTHS / 16, threshold),
                expected_edges(SIXTEENTHS / 16, threshold + 1e-6),
                ((i, j) for i in range(5) for j in range(i)),
            )
        )
        expect(
            got == wanted or got != above,
            f"a weight of just {threshold} is missing: at least the threshold, not more than it",
            f"恰好为 {threshold} 的权重不见了：达到阈值就算，不必超过",
        )
        expect(
            got == wanted or threshold > 0 or got != zeros,
            "with the threshold 0 there are arrows of weight 0: nobody reads there",
            "阈值为 0 时出现了权重为 0 的箭头：那里并没有谁在读",
        )
        expect(
            got == wanted,
            f"with the threshold {threshold}, {len(got)} pairs of words are joined; it should be {len(wanted)}",
            f"阈值为 {threshold} 时，连起来的词有 {len(got)} 对；应有 {len(wanted)} 对",
        )


@to_digraph.property("every word is a node with its token", "每个词都是节点，带着它的词元", ONCE)
def graph_nodes(answer, case):
    for table, tokens, threshold in ((SIXTEENTHS, TOKENS, 0.6), (SIXTEENTHS[:3, :3], ["a", "a", "a"], 0.05)):
        nodes, edges = graph_of(answer, sixteenths(case, table), tokens, threshold)
        expect(
            set(nodes) == set(range(len(tokens))),
            f"the nodes are {list(nodes)}; they should be the positions 0 to {len(tokens) - 1}: words without an "
            "arrow too, and equal tokens at two positions are two nodes",
            f"节点是 {list(nodes)}；应为位置 0 到 {len(tokens) - 1}：没有箭头的词也算，"
            "相同的词元在两个位置就是两个节点",
        )
        expect(list(nodes) == sorted(nodes), "the nodes are not in the order 0, 1, 2, …", "节点没有按 0、1、2……排列")
        expect(
            [nodes[i] for i in range(len(tokens))] == tokens,
            "the attribute token of a node is not the token at its position",
            "节点的属性 token 不是该位置上的词元",
        )
        expect_joined(edges, expected_edges(table / 16, threshold))


@to_digraph.property("a causal graph is acyclic", "因果的图没有环", ONCE)
def graph_acyclic(answer, case):
    _, edges = graph_of(answer, sixteenths(case, SIXTEENTHS), TOKENS, 0.05)
    expect(
        all(start != end for start, end in edges),
        "a word has an arrow to itself: leave the loops out",
        "有的词有箭头指向自己：自环要去掉",
    )
    expect_joined(edges, expected_edges(SIXTEENTHS / 16, 0.05))
    expect(
        nx.is_directed_acyclic_graph(nx.DiGraph(list(edges))),
        "there is a cycle: each pair of words was joined in both directions",
        "图里有环：每对词之间连了两个方向",
    )


@to_digraph.property("takes attention straight from a model", "直接接受模型给出的注意力")
def graph_gradient(answer, case):
    attention = sixteenths(case, SIXTEENTHS).requires_grad_()
    _, edges = graph_of(answer, attention, TOKENS, 0.05)
    expect_joined(edges, expected_edges(SIXTEENTHS / 16, 0.05))
    expect(
        not any(isinstance(weight, Tensor) and weight.requires_grad for weight in edges.values()),
        "the weights of the edges carry gradients along: make them numbers",
        "边的权重还带着梯度：请变成数",
    )


@to_digraph.property("leaves its inputs untouched", "不改动输入", (torch.float32, torch.float64))
def graph_untouched(answer, case):
    attention, tokens = sixteenths(case, SIXTEENTHS), list(TOKENS)
    before = attention.clone()
    given = answer(attention, tokens, 0.05)
    expect(
        torch.equal(attention, before) and not attention.requires_grad and tokens == TOKENS,
        "an argument was changed in place",
        "有一个参数被原地修改了",
    )
    _, edges = graph_of(lambda *_: given, attention, tokens, 0.05)
    expect_joined(edges, expected_edges(SIXTEENTHS / 16, 0.05))


# --- stationary -----------------------------------------------------------------------------------------------

stationary = Check("stationary")


def stationary_reference(p: Tensor) -> Tensor:
    """The stationary distribution of each chain, (…, T, T) to (…, T), by the linear equations π P = π, Σπ = 1."""
    p = p.detach().double().cpu()
    t = p.shape[-1]
    system = torch.cat([p.mT - torch.eye(t, dtype=p.dtype), torch.ones(*p.shape[:-2], 1, t, dtype=p.dtype)], -2)
    right = torch.zeros(*p.shape[:-2], t + 1, 1, dtype=p.dtype)
    right[..., -1, :] = 1
    return torch.linalg.lstsq(system, right).solution[..., 0]


UNIFORM = (
    "every word gets the same: that is the right eigenvector, P v = v; the stationary distribution is the left one",
    "每个词都一样：这是右特征向量，P v = v；平稳分布是左特征向量",
)


@stationary.property("one step leaves it as it is", "走一步保持不变", weight=3)
def stationary_values(answer, case):
    for t in (5, 2):
        p = stochastic(2 * case.randn(t, t))
        expected = stationary_reference(p)
        wide = p.double().cpu()
        mistakes = {
            UNIFORM: torch.full((t,), 1 / t),
            ("this is v with P v = v, not divided by its sum, and from the wrong side", "这是没有归一化的右特征向量"): (
                torch.full((t,), t**-0.5)
            ),
            (
                "these are the column means, one step from everywhere: keep walking",
                "这是列平均，只走了一步：要走下去",
            ): (wide.mean(0)),
            ("its length is 1; its sum should be 1", "它的长度为 1；应当和为 1"): expected / expected.norm(),
            ("the sign is turned around: divide by the sum", "符号反了：应除以总和"): -expected / expected.norm(),
            ("this is where a walker from word 0 ends, after a few steps", "这是从词 0 出发走几步的结果"): wide[0],
        }
        case.expect_close(answer(p), expected, mistakes)


@stationary.property("a walk ends where nobody leaves", "没有人离开的地方，就是终点", weight=3)
def stationary_end(answer, case):
    chain = causal(2 * case.randn(6, 6))
    for p, end, en, zh in (
        (chain, 0, "a causal chain ends on word 0", "因果的链停在词 0"),
        (chain.flip(-1, -2), 5, "a chain that only goes to later words ends on the last", "只往后走的链停在最后一个词"),
        (causal(case.randn(1, 1)), 0, "a chain of one word stays there", "只有一个词的链就停在那里"),
    ):
        t = len(p)
        expected = torch.eye(t)[end]
        other = (
            f"{en}, and this on the other end: the walker goes from the row to the column",
            f"{zh}，这里却停在另一端：应从行走到列",
        )
        mistakes = {other: expected.flip(0), UNIFORM: torch.full((t,), 1 / t)} if t > 1 else {}
        otherwise = (f"{en}; here some walkers have not arrived yet", f"{zh}；这里还有行走者没有走到")
        case.expect_close(answer(p), expected, mistakes, otherwise)


@stationary.property("chains that never settle", "永不安定的链")
def stationary_periodic(answer, case):
    # 0 and 2 lead to 1 and 3, and these lead back: walkers jump from side to side for ever
    chains = [
        case.tensor([[0, 0.75, 0, 0.25], [0.5, 0, 0.5, 0], [0, 0.25, 0, 0.75], [0.75, 0, 0.25, 0]]),
        case.tensor([[0, 0.25, 0, 0.75], [0.25, 0, 0.75, 0], [0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0]]),
    ]
    otherwise = (
        "in a chain that jumps to and fro, the powers never settle; the stationary distribution is there all the same",
        "来回跳的链，幂永不收敛；平稳分布照样存在",
    )
    for p in chains:
        expected = stationary_reference(p)
        case.expect_close(answer(p), expected, otherwise=otherwise)


@stationary.property("chains that settle slowly", "很久才安定的链", (torch.float64, torch.float32))
def stationary_slow(answer, case):
    cross, back = 1e-4, 3e-4  # two rooms with a narrow door: it takes ten thousands of steps to forget the first
    p = case.tensor(
        [
            [0.5 - cross, 0.5, cross, 0],
            [0.25, 0.75, 0, 0],
            [back, 0, 0.5 - back, 0.5],
            [0, 0, 0.5, 0.5],
        ]
    )
    expected = stationary_reference(p)
    got = expect_tensor(answer(p))
    expect_shape("the result", got, (4,))
    off = (got.detach().double().cpu() - expected).abs().max().item()
    expect(
        off < 1e-2,  # the door is near the rounding of float32
        f"off by {off:.2g}: this chain needs tens of thousands of steps, and too few were made",
        f"误差 {off:.2g}：这条链要走几万步，走得还不够",
    )


@stationary.property("it is a distribution, in whatever order the words come", "它是概率分布，与词的次序无关", ONCE)
def stationary_distribution(answer, case):
    for t in (3, 7):
        scores = 2 * case.randn(t, t)
        got = expect_depends(case, answer, (scores,), lambda s: (stochastic(s),), (t,))
        total = got.detach().double().sum().item()
        expect(
            case.close(got.detach().double().sum(), torch.tensor(1.0)),
            f"its sum is {total:.3f}; it should be 1",
            f"总和是 {total:.3f}；应为 1",
        )
        expect(bool((got > -1e-3).all()), "a probability is negative", "有负的概率")
        turned = expect_tensor(answer(stochastic(scores.flip(-1, -2))))
        expect(
            case.close(turned, got.flip(-1)),
            "the same words in another order get other probabilities: where the walk begins must not matter",
            "同样的词换个次序，概率就变了：从哪里出发，不应有影响",
        )


@stationary.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def stationary_batch(answer, case):
    expect_depends(case, answer, (case.randn(4, 4),), lambda s: (stochastic(s),), (4,))
    case.expect_batch(lambda s: expect_tensor(answer(stochastic(s))), (4, 4), leads=[((2, 3),), ((3,),), ((1,),)])


add_form_properties(stationary, lambda case: (2 * case.randn(4, 4),), lambda s: (stochastic(s),), (4,), gradients=False)


# --- rollout --------------------------------------------------------------------------------------------------

rollout = Check("rollout")


def rollout_scores(case: Case, layers: int = 3, *lead: int, heads: int = 2, t: int = 4) -> tuple[Tensor, Tensor]:
    return 2 * case.randn(layers, *lead, heads, t, t), case.randn(layers)


def rollout_arguments(scores: Tensor, skip: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """A tuple of a layer's causal attention (…, H, T, T) each, and the weights (L,) of the skip connections."""
    return tuple(causal(scores).unbind(0)), skip.sigmoid()


def layer_steps(attentions, residual, heads=lambda a: a.mean(-3)) -> list[Tensor]:
    eye = torch.eye(attentions[0].shape[-1], dtype=torch.float64)
    return [
        r * eye + (1 - r) * heads(a.detach().double().cpu())
        for a, r in zip(attentions, residual.detach().double().cpu().tolist(), strict=True)
    ]


def product(steps: list[Tensor]) -> Tensor:
    """The first step acts first, so it stands on the right."""
    result = steps[0]
    for step in steps[1:]:
        result = step @ result
    return result


def rollout_mistakes(attentions, residual) -> dict[Text, Tensor]:
    steps = layer_steps(attentions, residual)
    eye = torch.eye(steps[0].shape[-1], dtype=torch.float64)
    plain = layer_steps(attentions, torch.zeros_like(residual))
    r = residual.detach().double().cpu()
    return {
        (
            "the layers are multiplied in the wrong order: the first layer stands on the right",
            "层的次序乘反了：第一层应在最右边",
        ): (product(steps[::-1])),
        ("the residual is missing", "没有算残差"): product(plain),
        ("residual is the weight of the identity, not of the attention", "residual 是单位矩阵的权重，不是注意力的"): (
            product(layer_steps(attentions, 1 - residual))
        ),
        (
            "the rows are too large: residual * I + A, where A must be weighted by 1 - residual",
            "各行太大：A 还应乘以 1 − residual",
        ): (product([x * eye + a for x, a in zip(r, plain, strict=True)])),
        (
            "every layer got the residual of layer 0; each has its own",
            "每层都用了第 0 层的 residual；应各用各的",
        ): product(layer_steps(attentions, residual[:1].expand_as(residual))),
        ("every layer got the mean residual; each has its own", "每层都用了平均的 residual；应各用各的"): product(
            layer_steps(attentions, residual.mean().expand_as(residual))
        ),
        (
            "the residuals are in the wrong order: residual[0] is the first layer's",
            "residual 的次序反了：residual[0] 属于第一层",
        ): (product(layer_steps(attentions, residual.flip(0)))),
        ("the heads are summed; take their mean", "对各头求了和；应取平均"): product(
            layer_steps(attentions, residual, lambda a: a.sum(-3))
        ),
        ("this is the maximum over the heads; take their mean", "对各头取了最大值；应取平均"): product(
            layer_steps(attentions, residual, lambda a: a.amax(-3))
        ),
        ("this is head 0 alone; take the mean over the heads", "只用了第 0 个头；应对各头取平均"): product(
            layer_steps(attentions, residual, lambda a: a[..., 0, :, :])
        ),
        ("this is the last layer alone; multiply all layers", "只有最后一层；应把各层乘起来"): steps[-1],
        ("the last layer is missing", "缺了最后一层"): product(steps[:-1] or [eye]),
        ("the first layer is missing", "缺了第一层"): product(steps[1:] or [eye]),
        ("this is the mean of the layers; multiply them", "这是各层的平均；应相乘"): torch.stack(steps).mean(0),
        ("the matrices are transposed: row i is the reader", "矩阵转置了：第 i 行是读的词"): product(
            [step.mT for step in steps]
        ),
        ("the result is transposed: row i is the reader", "结果转置了：第 i 行是读的词"): product(steps).mT,
    }


@rollout.property("the layers multiplied, the first on the right", "各层相乘，第一层在最右边", weight=3)
def rollout_values(answer, case):
    for layers in (3, 2, 5):
        given = rollout_arguments(*rollout_scores(case, layers))
        expected, mistakes = product(layer_steps(*given)), rollout_mistakes(*given)
        case.expect_close(answer(*given), expected, mistakes)


@rollout.property("one layer is mixed with the identity", "只有一层时，与单位矩阵混合", weight=3)
def rollout_single(answer, case):
    given = rollout_arguments(*rollout_scores(case, 1))
    expected, wrong = layer_steps(*given)[0], rollout_mistakes(*given)
    mistakes = {sentence: value for sentence, value in wrong.items() if not case.close(value, expected)}
    case.expect_close(answer(*given), expected, mistakes)


@rollout.property("each layer has its own residual", "每层有自己的残差权重", ONCE)
def rollout_residual(answer, case):
    scores = rollout_scores(case)
    for residual in ([0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]):
        (attentions, _), skip = rollout_arguments(*scores), case.tensor(residual)
        expected = product(layer_steps(attentions, skip))
        otherwise = (
            f"with the residuals {residual}, a layer of 1 passes everything through and a layer of 0 mixes everything",
            f"residual 为 {residual} 时，为 1 的层原样通过，为 0 的层全部混合",
        )
        case.expect_close(answer(attentions, skip), expected, otherwise=otherwise)


@rollout.property("the rows sum to one", "各行之和为一", ONCE)
def rollout_rows(answer, case):
    scores = rollout_scores(case, 4)
    got = expect_depends(case, answer, scores, rollout_arguments, (4, 4))
    expect(
        case.close(got.detach().double().sum(-1), torch.ones(4)),
        f"row 3 sums to {got[3].detach().double().sum().item():.3f}; every row should sum to 1",
        f"第 3 行之和是 {got[3].detach().double().sum().item():.3f}；每一行都应为 1",
    )


@rollout.property("nothing comes from later words", "没有来自后面的词", ONCE)
def rollout_causal(answer, case):
    got = expect_depends(case, answer, rollout_scores(case), rollout_arguments, (4, 4))
    expect(
        bool((got.triu(1) == 0).all()) and bool((got.tril().abs().sum(-1) > 0).all()),
        "a word has something from a word that comes later, though no layer lets it look there: transposed?",
        "有的词从后面的词那里得到了东西，而没有哪一层允许这样：是不是转置了？",
    )


@rollout.property("leading dimensions are a batch", "前置维度当作批次", ONCE)
def rollout_batch(answer, case):
    expect_depends(case, answer, rollout_scores(case), rollout_arguments, (4, 4))
    skip = case.randn(3)

    def call(*layers: Tensor) -> Tensor:
        return expect_tensor(answer(*rollout_arguments(torch.stack(layers), skip)))

    heads = (2, 4, 4)
    case.expect_batch(call, heads, heads, heads, leads=[((2, 3),) * 3, ((3,),) * 3, ((1,),) * 3])


add_form_properties(rollout, rollout_scores, rollout_arguments, (4, 4))


# --- attention_entropy ----------------------------------------------------------------------------------------

attention_entropy = Check("attention_entropy")


def row_entropies(p: Tensor) -> Tensor:
    return torch.special.entr(p.detach().double().cpu()).sum(-1)


def entropy_reference(p: Tensor) -> Tensor:
    """Mean over the queries but the first of each row's entropy by the largest that it can have."""
    most = torch.arange(1, p.shape[-1] + 1, dtype=torch.float64).log()
    return (row_entropies(p)[..., 1:] / most[1:]).mean(-1)


@attention_entropy.property(
    "entropy by the largest possible, mean over the queries", "熵除以最大的可能值，再对查询取平均", weight=3
)
def entropy_values(answer, case):
    for t in (6, 2):
        p = causal(2 * case.randn(t, t))
        h = row_entropies(p)
        most = torch.arange(1, t + 1, dtype=torch.float64).log()
        expected = entropy_reference(p)
        mistakes = {
            ("the entropies are not divided by their maximum ln(i + 1)", "熵没有除以它的最大值 ln(i + 1)"): h[
                1:
            ].mean(),
            (
                "not divided by the maximum, and the first row counts too",
                "没有除以最大值，还把第一行算进去了",
            ): h.mean(),
            (
                "every row is divided by ln T; row i can reach ln(i + 1) only",
                "每行都除以了 ln T；第 i 行最多只到 ln(i + 1)",
            ): (h[1:].mean() / math.log(t)),
            ("divided by ln T, and the first row counts too", "除以了 ln T，还把第一行算进去了"): h.mean()
            / math.log(t),
            ("the first row is counted; it has no choice and is left out", "把第一行算进去了；它没有选择，不该算"): (
                (h[1:] / most[1:]).sum() / t
            ),
            (
                "the sum of entropies is divided by the sum of maxima; divide row by row",
                "用熵的总和除以了最大值的总和；应逐行相除",
            ): (h.sum() / most.sum()),
            ("row i is divided by ln i; it sees i + 1 words", "第 i 行除以了 ln i；它看得见 i + 1 个词"): (
                (h[2:] / most[1:-1]).mean() if t > 2 else torch.tensor(math.nan)
            ),
            ("row i is divided by ln(i + 2); it sees i + 1 words", "第 i 行除以了 ln(i + 2)；它看得见 i + 1 个词"): (
                h[1:] / torch.arange(3, t + 2).double().log()
            ).mean(),
            ("the sign is wrong: an entropy is not negative", "符号错了：熵不会是负的"): -expected,
            ("this is 1 minus the result", "这是 1 减去结果"): 1 - expected,
            ("these are the rows' own; take the mean over the queries", "这是每一行自己的；应对查询取平均"): h[1:]
            / most[1:],
            (
                "these are the rows' own, the first with them; take the mean over the queries but the first",
                "这是每一行自己的，还带着第一行；应对第一行以外的查询取平均",
            ): (h / most.clamp(min=1e-9)),
        }
        mistakes = {s: v for s, v in mistakes.items() if v.shape != expected.shape or not case.close(v, expected)}
        case.expect_close(answer(p), expected, mistakes)


@attention_entropy.property("0 for one word, 1 for all alike", "只读一个词为 0，一样多地读为 1", weight=3)
def entropy_extremes(answer, case):
    t = 8
    one = torch.zeros(t, t)
    one[torch.arange(t), torch.arange(t) // 2] = 1
    two = (one + torch.eye(t)) / 2
    even = torch.ones(t, t).tril()
    even = even / even.sum(-1, keepdim=True)
    for p, en, zh in (
        (one, "a head that reads one word has the entropy", "只读一个词的头，熵是"),
        (even, "a head that reads all words alike has the entropy", "一样多地读的头，熵是"),
        (two, "a head that reads two words alike has the entropy", "一样多地读两个词的头，熵是"),
    ):
        wanted = entropy_reference(p)
        got = expect_tensor(answer(case.tensor(p)))
        expect_shape("the result", got, ())
        value = got.detach().double().item()
        expect(
            math.isfinite(value),
            "0 · ln 0 became NaN: it counts as 0",
            "0 · ln 0 变成了 NaN：应算作 0",
        )
        expect(
            case.close(got, wanted),
            f"{en} {value:.4f}; it should be {wanted:.4g}",
            f"{zh} {value:.4f}；应为 {wanted:.4g}",
        )


@attention_entropy.property("zeros do not spoil the gradient", "零不会毁掉梯度", (torch.float64, torch.float32))
def entropy_gradient(answer, case):
    scores = (2 * case.randn(5, 5)).requires_grad_()
    out = expect_tensor(answer(causal(scores)))
    expect_shape("the result", out, ())
    (got,) = torch.autograd.grad(out, scores, allow_unused=True) if out.requires_grad else (None,)
    expect(
        got is None or bool(torch.isfinite(got).all()),
        "the gradient is NaN: the logarithm has no finite slope at a weight of 0, even where its value was replaced "
        "(torch.special.entr, xlogy and nan_to_num too); keep the zeros away from the logarithm itself",
        "梯度是 NaN：权重为 0 处，对数的斜率不是有限的，哪怕它的值已被换掉"
        "（torch.special.entr、xlogy、nan_to_num 也一样）；要让零根本不进入对数",
    )
    with torch.no_grad():
        step = 1e-3
        p = scores.detach().double().cpu()
        slope = torch.zeros_like(p)
        for i in range(5):
            for j in range(i + 1):
                moved = torch.zeros_like(p)
                moved[i, j] = step
                slope[i, j] = (entropy_reference(causal(p + moved)) - entropy_reference(causal(p - moved))) / (2 * step)
    expect(
        got is not None and case.close(got, slope),
        "the gradient is not that of the entropy: part of the path is cut off",
        "梯度不是熵的梯度：有一段计算图被切断了",
    )


@attention_entropy.property("each head by itself", "每个头各算各的", ONCE)
def entropy_batch(answer, case):
    expect_depends(case, answer, (case.randn(4, 4),), lambda s: (causal(s),), ())
    case.expect_batch(lambda s: expect_tensor(answer(causal(2 * s))), (4, 4), leads=[((2, 3),), ((3,),), ((1,),)])


add_form_properties(attention_entropy, lambda case: (2 * case.randn(5, 5),), lambda s: (causal(s),), ())


# --- induction_score ------------------------------------------------------------------------------------------

induction_score = Check("induction_score")


def wanted(ids: list[int], shift: int = 1, which: str = "all") -> Tensor:
    """(T, T): 1 where a query would look if it copied what followed its token before."""
    t = len(ids)
    places = torch.zeros(t, t, dtype=torch.float64)
    for i in range(t):
        earlier = [j for j in range(i) if ids[j] == ids[i]]
        earlier = {"all": earlier, "last": earlier[-1:], "first": earlier[:1]}[which]
        for j in earlier:
            if 0 <= j + shift < t:
                places[i, j + shift] = 1
    return places


def repeats(ids: list[int]) -> list[int]:
    return [i for i in range(len(ids)) if ids[i] in ids[:i]]


def induction_reference(attention: Tensor, ids: list[int], **mistake) -> Tensor:
    """Attention (…, T, T) to the mean over repeated tokens of the weight on what followed them before."""
    received = (attention.detach().double().cpu() * wanted(ids, **mistake)).sum(-1)  # (…, T)
    rows = repeats(ids)
    return received[..., rows].mean(-1) if rows else received.sum(-1) * 0


def induction_mistakes(p: Tensor, ids: list[int]) -> dict[Text, Tensor]:
    received = (p.detach().double().cpu() * wanted(ids)).sum(-1)
    rows = repeats(ids)
    return {
        ("this is the weight on the earlier token itself, one place too early", "量的是上次出现的词元本身，早了一位"): (
            induction_reference(p, ids, shift=0)
        ),
        ("this is the weight two places after the earlier token, one place too late", "量的是往后第二位，晚了一位"): (
            induction_reference(p, ids, shift=2)
        ),
        ("this is the weight on the place before the earlier token", "量的是上次出现的前一位"): (
            induction_reference(p, ids, shift=-1)
        ),
        ("only the last earlier occurrence counts here; all do", "只算了最近一次出现；每一次都要算"): (
            induction_reference(p, ids, which="last")
        ),
        ("only the first earlier occurrence counts here; all do", "只算了第一次出现；每一次都要算"): (
            induction_reference(p, ids, which="first")
        ),
        ("the mean runs over all positions; only repeated tokens count", "对所有位置取了平均；只算重复出现的词元"): (
            received.mean(-1)
        ),
        ("this is the sum over the repeated tokens; take the mean", "对重复的词元求了和；应取平均"): received.sum(-1),
        (
            "the mean runs over pairs; sum each position's weights, then take the mean over positions",
            "对“词元对”取了平均；应先对每个位置求和，再对位置取平均",
        ): (received.sum(-1) / wanted(ids).sum()),
        ("the attention is read transposed: row i is the reader", "注意力读反了：第 i 行是读的词"): (
            induction_reference(p.mT, ids)
        ),
        ("the mean over the heads was taken; each head has its own score", "对各头取了平均；每个头有自己的得分"): (
            induction_reference(p, ids).mean(-1)
        ),
        ("the first repeated token is left out", "漏掉了第一个重复的词元"): (
            received[..., rows[1:]].mean(-1) if len(rows) > 1 else torch.full(p.shape[:-2], math.nan)
        ),
        (
            "the token with the id 0 is left out; it is a token like any other",
            "漏掉了编号为 0 的词元；它与别的词元一样",
        ): (received[..., [i for i in rows if ids[i] != 0]].mean(-1)),
        ("this is the last position alone", "只看了最后一个位置"): received[..., -1],
    }


def expect_induction(answer, case: Case, p: Tensor, ids: list[int]) -> None:
    expected, wrong = induction_reference(p, ids), induction_mistakes(p, ids)
    mistakes = {s: v for s, v in wrong.items() if v.shape != expected.shape or not case.close(v, expected)}
    case.expect_close(answer(p, torch.tensor(ids, device=case.device)), expected, mistakes)


DOUBLED = [5, 2, 9, 4, 5, 2, 9, 4]
TEXT = [7, 3, 8, 0, 3, 5, 0, 3, 6, 8, 1, 0]


@induction_score.property(
    "the weight on what followed before, in a doubled text", "重复两遍的文本：给上次后面那个词元的权重", weight=3
)
def induction_doubled(answer, case):
    expect_induction(answer, case, causal(case.randn(3, 8, 8)), DOUBLED)


@induction_score.property("every earlier occurrence counts, in any text", "任何文本：之前每次出现都算", weight=3)
def induction_text(answer, case):
    expect_induction(answer, case, causal(case.randn(2, 12, 12)), TEXT)


@induction_score.property("a perfect head scores 1, among new tokens too", "完美的头得 1，中间夹着新词元也一样", ONCE)
def induction_perfect(answer, case):
    ids = [1, 2, 3, 4, 1, 5, 2, 6, 3]
    p = torch.zeros(2, 9, 9)
    for i in range(9):
        earlier = [j for j in range(i) if ids[j] == ids[i]]
        p[0, i, earlier[-1] + 1 if earlier else 0] = 1
        p[1, i, earlier[-1] if earlier else 0] = 1  # finds its own double
    got = expect_tensor(answer(case.tensor(p), torch.tensor(ids, device=case.device)))
    expect_shape("the result", got, (2,))
    perfect, double = got.detach().double().tolist()
    expect(
        not case.close(got, torch.tensor([3 / 9, 0.0])),
        "new tokens are counted, and lower the mean; only repeated tokens count",
        "新的词元也算了进去，拉低了平均；只算重复出现的词元",
    )
    expect(
        case.close(got, torch.tensor([1.0, 0.0])),
        f"a perfect induction head scores {perfect:.3f}, it should be 1; a head that finds the token itself scores "
        f"{double:.3f}, it should be 0",
        f"完美的归纳头得 {perfect:.3f}，应为 1；只找到词元本身的头得 {double:.3f}，应为 0",
    )


@induction_score.property("equal tokens side by side", "相同的词元挨在一起", ONCE)
def induction_neighbours(answer, case):
    ids = [4, 4, 4, 2, 2]
    p = causal(case.randn(2, 5, 5))
    received = (p.double().cpu() * wanted(ids)).sum(-1)
    without_self = (received - p.double().cpu().diagonal(dim1=-2, dim2=-1))[..., [1, 2, 4]].mean(-1)
    mistakes = {
        (
            "a token right after its like: what followed is the position itself, and it counts",
            "紧跟在相同词元后面时：后面那个就是它自己，要算",
        ): without_self,
    }
    expected = induction_reference(p, ids)
    case.expect_close(answer(p, torch.tensor(ids, device=case.device)), expected, mistakes)


@induction_score.property("0 where no token comes twice", "没有重复的词元时为 0", ONCE)
def induction_nothing(answer, case):
    expect_induction(answer, case, causal(case.randn(2, 8, 8)), DOUBLED)
    p = causal(case.randn(2, 4, 4))
    got = expect_tensor(answer(p, torch.tensor([3, 1, 4, 2], device=case.device)))
    expect_shape("the result", got, (2,))
    expect(
        not bool(torch.isnan(got).any()),
        "without repeated tokens the mean of nothing is NaN; the score should be 0",
        "没有重复的词元时，空的平均是 NaN；得分应为 0",
    )
    case.expect_close(got, torch.zeros(2))


@induction_score.property(
    "leading dimensions are a batch, each with its own ids", "前置维度当作批次，各有各的 ids", ONCE
)
def induction_batch(answer, case):
    rows = [[1, 2, 1, 3, 2], [4, 4, 5, 4, 6], [1, 2, 3, 4, 5], [0, 7, 0, 7, 0], [2, 3, 2, 3, 9], [5, 1, 1, 5, 1]]
    for lead in ((2, 3), (6,), (1,)):
        n = math.prod(lead)
        p = causal(case.randn(*lead, 2, 5, 5))
        ids = torch.tensor(rows[:n], device=case.device).reshape(*lead, 5)
        flat = p.reshape(n, 2, 5, 5)
        expected = torch.stack([induction_reference(flat[k], rows[k]) for k in range(n)]).reshape(*lead, 2)
        shared = torch.stack([induction_reference(flat[k], rows[0]) for k in range(n)]).reshape(*lead, 2)
        one = (
            "every sequence was measured with the ids of the first; each has its own",
            "每个序列都用了第一个序列的 ids；应各用各的",
        )
        otherwise = (
            f"attention {tuple(p.shape)} with ids {tuple(ids.shape)}: a sequence in the batch gets another result than "
            "alone",
            f"attention {tuple(p.shape)} 配 ids {tuple(ids.shape)}：批次中的序列，结果与单独计算时不同",
        )
        case.expect_close(answer(p, ids), expected, {} if n == 1 else {one: shared}, otherwise)


add_form_properties(
    induction_score,
    lambda case: (case.randn(2, 8, 8),),
    lambda s: (causal(s), torch.tensor(DOUBLED, device=s.device)),
    (2,),
)
