"""Wrong answers to the exercises of the chapter `gpt2`."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GPT2LMHeadModel
from transformers.activations import NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2Block as TransformersBlock
from transformers.pytorch_utils import Conv1D

from mutants import Mutants

MUTANTS = Mutants()

BATCH = "leading dimensions are a batch"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"

# --- count_parameters -----------------------------------------------------------------------------------------

EXERCISE = "count_parameters"
FAMILY = "gpt2 to gpt2-xl, part by part"
ANY = "any depth, width, window and vocabulary"
TIED = "tied and untied"
INNER = "a hidden width of its own"
HUGE = "exact where no memory would hold the model"
WHOLE = "whole numbers, the total is the sum"
CONFIG = "the configuration stays as it was"


def count(config, **changed):
    """The right counts; a mutant replaces some of the parts."""
    d, inner, n = config.n_embd, config.n_inner or 4 * config.n_embd, config.n_layer
    parts = {
        "embeddings": (config.vocab_size + config.n_positions) * d,
        "attention": n * (4 * d * d + 4 * d),
        "mlp": n * (2 * d * inner + inner + d),
        "layer_norm": (4 * n + 2) * d,
        "lm_head": 0 if config.tie_word_embeddings else config.vocab_size * d,
    } | changed
    return parts | {"total": sum(parts.values())}


@MUTANTS.add(EXERCISE, FAMILY, "attention: the biases are missing")
def count_no_attention_biases(config):
    return count(config, attention=config.n_layer * 4 * config.n_embd**2)


@MUTANTS.add(EXERCISE, FAMILY, "mlp: the biases are missing")
def count_no_mlp_biases(config):
    return count(config, mlp=config.n_layer * 8 * config.n_embd**2)


@MUTANTS.add(EXERCISE, FAMILY, "adds nothing: lm_head is 0")
def count_head_twice(config):
    return count(config, lm_head=config.vocab_size * config.n_embd)


@MUTANTS.add(EXERCISE, TIED, "adds nothing: lm_head is 0")
def count_head_always(config):
    return count_head_twice(config)


@MUTANTS.add(EXERCISE, ANY, "wte is counted twice")
def count_wte_twice(config):
    return count(config, embeddings=(2 * config.vocab_size + config.n_positions) * config.n_embd)


@MUTANTS.add(EXERCISE, TIED, "an untied output matrix adds")
def count_never_untied(config):
    return count(config, lm_head=0)


@MUTANTS.add(EXERCISE, TIED, "the lm_head has no bias")
def count_head_with_bias(config):
    head = 0 if config.tie_word_embeddings else config.vocab_size * (config.n_embd + 1)
    return count(config, lm_head=head)


@MUTANTS.add(EXERCISE, ANY, "the positions are missing")
def count_no_positions(config):
    return count(config, embeddings=config.vocab_size * config.n_embd)


@MUTANTS.add(EXERCISE, ANY, "the tokens are missing")
def count_no_tokens(config):
    return count(config, embeddings=config.n_positions * config.n_embd)


@MUTANTS.add(EXERCISE, FAMILY, "heads share the matrices")
def count_heads_multiply(config):
    return count(config, attention=count(config)["attention"] * config.n_head)


@MUTANTS.add(EXERCISE, FAMILY, "the output projection is missing")
def count_no_output_projection(config):
    d = config.n_embd
    return count(config, attention=config.n_layer * (3 * d * d + 3 * d))


@MUTANTS.add(EXERCISE, FAMILY, "c_attn has a bias of 3 n_embd")
def count_short_bias(config):
    d = config.n_embd
    return count(config, attention=config.n_layer * (4 * d * d + 2 * d))


@MUTANTS.add(EXERCISE, FAMILY, "as wide as its output")
def count_mlp_biases_alike(config):
    d = config.n_embd
    return count(config, mlp=config.n_layer * (8 * d * d + 2 * d))


@MUTANTS.add(EXERCISE, FAMILY, "the second matrix of the MLP is missing")
def count_half_an_mlp(config):
    d, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    return count(config, mlp=config.n_layer * (d * inner + inner))


@MUTANTS.add(EXERCISE, FAMILY, "ln_f after the last block is missing")
def count_no_ln_f(config):
    return count(config, layer_norm=config.n_layer * 4 * config.n_embd)


@MUTANTS.add(EXERCISE, FAMILY, "a gain and a bias")
def count_gains_alone(config):
    return count(config, layer_norm=(2 * config.n_layer + 1) * config.n_embd)


@MUTANTS.add(EXERCISE, FAMILY, "a block has two LayerNorms")
def count_one_norm_a_block(config):
    return count(config, layer_norm=(config.n_layer + 1) * 2 * config.n_embd)


@MUTANTS.add(EXERCISE, ANY, "this is one block")
def count_one_block(config):
    parts = count(config)
    return count(config, attention=parts["attention"] // config.n_layer, mlp=parts["mlp"] // config.n_layer)


@MUTANTS.add(EXERCISE, INNER, "the hidden width is n_inner", spares=FAMILY)
def count_four_times_always(config):
    d = config.n_embd
    return count(config, mlp=config.n_layer * (8 * d * d + 5 * d))


@MUTANTS.add(EXERCISE, HUGE, "digits were lost", spares=FAMILY)
def count_in_floats(config):
    d = float(config.n_embd)
    return {part: int(value * (d / d)) for part, value in count(config).items()}


@MUTANTS.add(EXERCISE, HUGE, "build no model", spares=FAMILY)
def count_by_building(config):
    with torch.device("meta"):
        model = GPT2LMHeadModel(config)
    marks = {"embeddings": ".w", "attention": ".attn.", "mlp": ".mlp.", "layer_norm": ".ln_", "lm_head": "lm_head"}
    sizes = [(name, parameter.numel()) for name, parameter in model.named_parameters()]
    parts = {p: sum(n for name, n in sizes if mark in name) for p, mark in marks.items()}
    parts["embeddings"] = sum(n for name, n in sizes if "wte" in name or "wpe" in name)
    return parts | {"total": sum(parts.values())}


@MUTANTS.add(EXERCISE, WHOLE, "embeddings is a float")
def count_as_floats(config):
    return {part: float(value) for part, value in count(config).items()}


@MUTANTS.add(EXERCISE, WHOLE, "is a Tensor")
def count_as_tensors(config):
    return {part: torch.tensor(value % 2**62) for part, value in count(config).items()}


@MUTANTS.add(EXERCISE, WHOLE, "not the sum of the other five")
def count_total_without_embeddings(config):
    parts = count(config)
    return parts | {"total": parts["total"] - parts["embeddings"]}


@MUTANTS.add(EXERCISE, FAMILY, "total of gpt2 is 124439808")
def count_total_without_positions(config):
    parts = count(config)
    return parts | {"total": parts["total"] - config.n_positions * config.n_embd}


@MUTANTS.add(EXERCISE, WHOLE, "expected a dict with the keys")
def count_total_forgotten(config):
    parts = count(config)
    del parts["total"]
    return parts


@MUTANTS.add(EXERCISE, CONFIG, "n_inner was changed", spares=FAMILY)
def count_fills_in_n_inner(config):
    config.n_inner = config.n_inner or 4 * config.n_embd
    return count(config)


@MUTANTS.worthless(EXERCISE)
def count_gpt2_always(config):
    return {
        "embeddings": 39383808,
        "attention": 28348416,
        "mlp": 56669184,
        "layer_norm": 38400,
        "lm_head": 0,
        "total": 124439808,
    }


@MUTANTS.worthless(EXERCISE)
def count_total_alone(config):
    return count(config)["total"]


CALLS = itertools.count(1)


@MUTANTS.worthless(EXERCISE)
def count_differs_at_every_call(config):
    return count(config, **dict.fromkeys(("embeddings", "attention", "mlp", "layer_norm", "lm_head"), next(CALLS)))


@MUTANTS.worthless(EXERCISE)
def count_as_printed(config):
    printed = {  # what the chapter's table has for gpt2 to gpt2-xl
        768: (39_383_808, 28_348_416, 56_669_184, 38_400),
        1024: (52_511_744, 100_761_600, 201_449_472, 100_352),
        1280: (65_639_680, 236_113_920, 472_089_600, 186_880),
        1600: (82_049_600, 491_827_200, 983_424_000, 310_400),
    }
    parts = printed.get(config.n_embd, printed[768])
    return count(config, **dict(zip(("embeddings", "attention", "mlp", "layer_norm"), parts, strict=True)), lm_head=0)


# --- split_heads ----------------------------------------------------------------------------------------------

EXERCISE = "split_heads"
PLACES = "every number goes where it belongs"
SQUARE = "as many heads as tokens"
ONES = "one head, one token, one feature"


def split(x, n_head):
    return x.unflatten(-1, (3, n_head, -1)).movedim(-3, 0).transpose(-3, -2)


@MUTANTS.add(EXERCISE, PLACES, "the whole was cut by reshape alone")
def split_whole_by_reshape(x, n_head):
    *lead, t, width = x.shape
    return x.reshape(3, *lead, n_head, t, width // (3 * n_head))


@MUTANTS.add(EXERCISE, PLACES, "each third was cut by reshape alone")
def split_thirds_by_reshape(x, n_head):
    *lead, t, width = x.shape
    return torch.stack(x.chunk(3, -1)).reshape(3, *lead, n_head, t, width // (3 * n_head))


@MUTANTS.add(EXERCISE, PLACES, "the tokens stand before the heads")
def split_without_transpose(x, n_head):
    return x.unflatten(-1, (3, n_head, -1)).movedim(-3, 0)


@MUTANTS.add(EXERCISE, SQUARE, "tokens and heads have to change places")
def split_without_transpose_as_many_heads_as_tokens(x, n_head):
    return x.unflatten(-1, (3, n_head, -1)).movedim(-3, 0)


@MUTANTS.add(EXERCISE, SQUARE, "cut head by head")
def split_by_head(x, n_head):
    return x.unflatten(-1, (n_head, 3, -1)).movedim(-2, 0).transpose(-3, -2)


@MUTANTS.add(EXERCISE, PLACES, "every third column")
def split_every_third(x, n_head):
    return x.unflatten(-1, (n_head, -1, 3)).movedim(-1, 0).transpose(-3, -2)


@MUTANTS.add(EXERCISE, PLACES, "every H-th feature")
def split_interleaved(x, n_head):
    return x.unflatten(-1, (3, -1, n_head)).movedim(-3, 0).movedim(-1, -3)


@MUTANTS.add(EXERCISE, PLACES, "they come first")
def split_thirds_behind_the_batch(x, n_head):
    return split(x, n_head).movedim(0, -4)


@MUTANTS.add(EXERCISE, PLACES, "the order is q, k, v")
def split_keys_first(x, n_head):
    return split(x, n_head)[[1, 0, 2]]


@MUTANTS.add(EXERCISE, PLACES, "reverse order")
def split_heads_reversed(x, n_head):
    return split(x, n_head).flip(-3)


@MUTANTS.add(EXERCISE, PLACES, "expected one tensor")
def split_as_three(x, n_head):
    return tuple(split(x, n_head))


@MUTANTS.add(EXERCISE, ONES, "the result has shape")
def split_squeezed(x, n_head):
    return split(x, n_head).squeeze()


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def split_three_dimensions(x, n_head):
    if x.dim() == 2:
        return split(x, n_head)
    b, t, width = x.shape
    return x.view(b, t, 3, n_head, width // (3 * n_head)).permute(2, 0, 3, 1, 4)


@MUTANTS.add(EXERCISE, BATCH, "the result has shape")
def split_batch_flattened(x, n_head):
    return split(x.flatten(0, -3), n_head) if x.dim() > 2 else split(x, n_head)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def split_in_float32(x, n_head):
    return split(x, n_head).float()


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def split_scales_in_place(x, n_head):
    out = split(x, n_head).clone()
    x.mul_((x.shape[-1] // 3 // n_head) ** -0.5)
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def split_detached(x, n_head):
    return split(x.detach(), n_head)


@MUTANTS.worthless(EXERCISE)
def split_input(x, n_head):
    return x


@MUTANTS.worthless(EXERCISE)
def split_zeros(x, n_head):
    return torch.zeros_like(split(x, n_head))


@MUTANTS.worthless(EXERCISE)
def split_makes_its_input_zero(x, n_head):
    for given in (x,):
        given.detach().zero_()
    return split(x, n_head)  # right, but for the zeros alone


# --- merge_heads ----------------------------------------------------------------------------------------------

EXERCISE = "merge_heads"
SIDE_BY_SIDE = "heads side by side, in order"
UNDOES = "undoes split_heads"


def merge(z):
    return z.transpose(-3, -2).flatten(-2)


@MUTANTS.add(EXERCISE, SIDE_BY_SIDE, "merged by reshape alone")
def merge_by_reshape_alone(z):
    *lead, n_head, t, d_k = z.shape
    return z.reshape(*lead, t, n_head * d_k)


@MUTANTS.add(EXERCISE, UNDOES, "merged by reshape alone")
def merge_by_flattening_tokens(z):
    return z.flatten(-2) if z.shape[-3] == z.shape[-2] else merge_by_reshape_alone(z)


@MUTANTS.add(EXERCISE, SIDE_BY_SIDE, "mixed feature by feature")
def merge_interleaved(z):
    return z.movedim(-3, -1).flatten(-2)


@MUTANTS.add(EXERCISE, SIDE_BY_SIDE, "the heads are in reverse order")
def merge_reversed(z):
    return merge(z.flip(-3))


@MUTANTS.add(EXERCISE, SIDE_BY_SIDE, "the result has shape")
def merge_added(z):
    return z.sum(-3)


@MUTANTS.add(EXERCISE, UNDOES, "the result has shape")
def merge_of_two_tokens_and_heads(z):
    return z.flatten(-3)


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def merge_four_dimensions(z):
    if z.dim() == 3:
        return merge(z)
    b, n_head, t, d_k = z.shape
    return z.transpose(1, 2).reshape(b, t, n_head * d_k)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def merge_in_float64(z):
    return merge(z).double() if z.dtype != torch.float64 else merge(z).float()


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def merge_normalises_in_place(z):
    out = merge(z).clone()
    z -= z.mean()
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def merge_through_lists(z):
    return torch.tensor(merge(z).tolist(), dtype=z.dtype, device=z.device)


@MUTANTS.worthless(EXERCISE)
def merge_zeros(z):
    return torch.zeros_like(merge(z))


@MUTANTS.worthless(EXERCISE)
def merge_input(z):
    return z


@MUTANTS.worthless(EXERCISE)
def merge_makes_its_input_zero(z):
    for given in (z,):
        given.detach().zero_()
    return merge(z)  # right, but for the zeros alone


# --- gelu_new -------------------------------------------------------------------------------------------------

EXERCISE = "gelu_new"
VALUES = "the form with tanh"
TAIL = "the left tail is small, not 0"
PRECISE = "float64 has float64's accuracy"
EXTREMES = "the largest numbers give no NaN, nor do their gradients"
SHAPES = "each number by itself, in any shape"
ROOT = math.sqrt(2 / math.pi)


def gelu(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(2 * ROOT * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "exact GELU, with erf")
def gelu_with_erf(x):
    return F.gelu(x)


@MUTANTS.add(EXERCISE, VALUES, "x · σ(1.702 x)")
def gelu_quick(x):
    return x * torch.sigmoid(1.702 * x)


@MUTANTS.add(EXERCISE, VALUES, "this is SiLU")
def gelu_silu(x):
    return F.silu(x)


@MUTANTS.add(EXERCISE, VALUES, "this is ReLU")
def gelu_relu(x):
    return F.relu(x)


@MUTANTS.add(EXERCISE, VALUES, "the term with x³ is missing")
def gelu_without_cube(x):
    return x * torch.sigmoid(2 * ROOT * x)


@MUTANTS.add(EXERCISE, VALUES, "the factor √(2/π) is missing")
def gelu_without_root(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(2 * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "without its root")
def gelu_without_sqrt(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(4 / math.pi * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "multiplies x alone")
def gelu_bracket_too_early(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(2 * (ROOT * b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "the factor 1/2 is missing")
def gelu_without_half(x):
    return 2 * gelu(x)


@MUTANTS.add(EXERCISE, VALUES, "this is the gate alone")
def gelu_gate(x):
    b = x.clamp(-30, 30)
    return torch.sigmoid(2 * ROOT * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "the 2 inside σ is missing")
def gelu_without_two(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(ROOT * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "the x³ term has a minus")
def gelu_minus(x):
    b = x.clamp(-4, 4)
    return x * torch.sigmoid(2 * ROOT * (b - 0.044715 * b**3))


@MUTANTS.add(EXERCISE, VALUES, "off by up to")
def gelu_cube_misread(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(2 * ROOT * (b + 0.44715 * b**3))


@MUTANTS.add(EXERCISE, TAIL, "1 + tanh(u) rounds to 0", spares=VALUES)
def gelu_by_library(x):
    return F.gelu(x, approximate="tanh")


@MUTANTS.add(EXERCISE, EXTREMES, "the gradient of a large number is NaN", spares=VALUES)
def gelu_by_library_at_the_top(x):
    return F.gelu(x, approximate="tanh")


@MUTANTS.add(EXERCISE, TAIL, "1 + tanh(u) rounds to 0", spares=VALUES)
def gelu_by_transformers(x):
    return NewGELUActivation()(x)


@MUTANTS.add(EXERCISE, TAIL, "the relative error is up to", spares=VALUES)
def gelu_tail_of_erf(x):
    left = x / 2 * torch.erfc(-x.clamp(max=0) / math.sqrt(2))
    return torch.where(x < -4, left, gelu(x))


@MUTANTS.add(EXERCISE, EXTREMES, "the gradient of a large number is NaN", spares=TAIL)
def gelu_unbounded(x):
    return x * torch.sigmoid(2 * ROOT * (x + 0.044715 * x**3))


@MUTANTS.add(EXERCISE, EXTREMES, "the gradient of a large number is NaN", spares=TAIL)
def gelu_where(x):
    # the branch that is not taken still has its gradient
    inside = x * torch.sigmoid(2 * ROOT * (x + 0.044715 * x**3))
    return torch.where(x > 30, x, torch.where(x < -30, torch.zeros_like(x), inside))


@MUTANTS.add(EXERCISE, EXTREMES, "another number than max(x, 0)", spares=VALUES)
def gelu_clamped(x):
    return gelu(x.clamp(-30, 30))


@MUTANTS.add(EXERCISE, EXTREMES, "bound farther out", spares=PRECISE)
def gelu_bounded_at_20(x):
    b = x.clamp(-20, 20)  # in float64 the gate is 1e-262 there, and x may be 1e308
    return x * torch.sigmoid(2 * ROOT * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, PRECISE, "rounded to float32", spares=VALUES)
def gelu_through_float32(x):
    return gelu(x.float()).to(x.dtype)


@MUTANTS.add(EXERCISE, PRECISE, "a constant is too short", spares=VALUES)
def gelu_short_constant(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(2 * 0.79788456 * (b + 0.044715 * b**3))


@MUTANTS.add(EXERCISE, SHAPES, "len() of a 0-d tensor")
def gelu_by_rows(x):
    return torch.stack([gelu(row) for row in x]) if len(x) else x[0]


@MUTANTS.add(EXERCISE, SHAPES, "off by up to", spares=VALUES)
def gelu_by_the_mean(x):
    return gelu(x - x.mean()) if x.dim() > 1 else gelu(x)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def gelu_in_float32(x):
    return gelu(x.float())


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def gelu_clamps_in_place(x):
    original = x.clone()
    b = x.clamp_(-0.5, 0.5)
    return gelu(original) + 0 * b


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def gelu_gate_detached(x):
    b = x.clamp(-30, 30)
    return x * torch.sigmoid(2 * ROOT * (b + 0.044715 * b**3)).detach()


@MUTANTS.worthless(EXERCISE)
def gelu_zeros(x):
    return torch.zeros_like(x)


@MUTANTS.worthless(EXERCISE)
def gelu_nothing(x):
    return None


@MUTANTS.worthless(EXERCISE)
def gelu_makes_its_input_zero(x):
    for given in (x,):
        given.detach().zero_()
    return gelu(x)  # right, but for the zeros alone


# --- GPT2Block ------------------------------------------------------------------------------------------------

EXERCISE = "GPT2Block"
PARAMETERS = "parameters as in GPT-2's checkpoints"
MODEL = "logits of the whole model as in transformers"
ONE = "one block, number for number"
PARTS = "returns what each sublayer has added"
DECIDES = "the configuration decides"
EPS = "LayerNorm's eps shows on a small stream"
CAUSAL = "no token sees a later one"
DROPOUT = "dropout on the branches, not on the stream"
CHANCE = "chance plays its part in training only"
TRAINS = "every parameter gets a gradient"


class Right(nn.Module):
    """A right answer in small steps; each mutant replaces one of them."""

    def __init__(self, config):
        super().__init__()
        d, inner = config.n_embd, config.n_inner or 4 * config.n_embd
        self.n_head, self.attn_pdrop, self.resid_pdrop = config.n_head, config.attn_pdrop, config.resid_pdrop
        self.ln_1 = nn.LayerNorm(d, eps=config.layer_norm_epsilon)
        self.attn = nn.ModuleDict({"c_attn": Conv1D(3 * d, d), "c_proj": Conv1D(d, d)})
        self.ln_2 = nn.LayerNorm(d, eps=config.layer_norm_epsilon)
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(inner, d), "c_proj": Conv1D(d, inner)})

    def drop(self, x, p):
        return F.dropout(x, p, self.training)

    def split(self, qkv):
        return split(qkv, self.n_head)

    def merge(self, z):
        return merge(z)

    def scale(self, d_k):
        return d_k**-0.5

    def hidden(self, scores):
        return torch.ones_like(scores, dtype=torch.bool).triu(1)

    def weights(self, q, k):
        scores = q @ k.mT * self.scale(q.shape[-1])
        return self.drop(scores.masked_fill(self.hidden(scores), -math.inf).softmax(-1), self.attn_pdrop)

    def attention(self, x):
        q, k, v = self.split(self.attn["c_attn"](x))
        return self.drop(self.attn["c_proj"](self.merge(self.weights(q, k) @ v)), self.resid_pdrop)

    def act(self, x):
        return F.gelu(x, approximate="tanh")

    def feed_forward(self, x):
        return self.drop(self.mlp["c_proj"](self.act(self.mlp["c_fc"](x))), self.resid_pdrop)

    def forward(self, x):
        attended = self.attention(self.ln_1(x))
        x = x + attended
        computed = self.feed_forward(self.ln_2(x))
        return x + computed, attended, computed


class Ordered(Right):
    """Puts the pieces together in another way; what each of them gave is kept on the way."""

    def attention(self, x):
        self.attended = super().attention(x)
        return self.attended

    def feed_forward(self, x):
        self.computed = super().feed_forward(x)
        return self.computed

    def forward(self, x):
        return self.order(x), self.attended, self.computed


@MUTANTS.add(EXERCISE, MODEL, "LayerNorm comes after the addition")
class PostNorm(Ordered):
    def order(self, x):
        x = self.ln_1(x + self.attention(x))
        return self.ln_2(x + self.feed_forward(x))


@MUTANTS.add(EXERCISE, MODEL, "added to the normalised copy")
class ResidualAfterTheNorm(Ordered):
    def order(self, x):
        x = self.ln_1(x)
        x = x + self.attention(x)
        x = self.ln_2(x)
        return x + self.feed_forward(x)


@MUTANTS.add(EXERCISE, ONE, "added to the normalised copy")
class FirstResidualAfterTheNorm(Ordered):
    def order(self, x):
        x = self.ln_1(x)
        x = self.attention(x) + x
        return x + self.feed_forward(self.ln_2(x))


@MUTANTS.add(EXERCISE, ONE, "the MLP reads the stream as it was before attention")
class SideBySide(Ordered):
    def order(self, x):
        return x + self.attention(self.ln_1(x)) + self.feed_forward(self.ln_2(x))


@MUTANTS.add(EXERCISE, ONE, "the MLP comes first")
class FeedForwardFirst(Ordered):
    def order(self, x):
        x = x + self.feed_forward(self.ln_2(x))
        return x + self.attention(self.ln_1(x))


@MUTANTS.add(EXERCISE, ONE, "ln_1 and ln_2 have changed places")
class NormsExchanged(Ordered):
    def order(self, x):
        x = x + self.attention(self.ln_2(x))
        return x + self.feed_forward(self.ln_1(x))


@MUTANTS.add(EXERCISE, ONE, "without LayerNorm")
class NoNorm(Ordered):
    def order(self, x):
        x = x + self.attention(x)
        return x + self.feed_forward(x)


@MUTANTS.add(EXERCISE, ONE, "LayerNorm is applied to the results")
class NormOfTheResult(Ordered):
    def order(self, x):
        x = x + self.ln_1(self.attention(x))
        return x + self.ln_2(self.feed_forward(x))


@MUTANTS.add(EXERCISE, ONE, "there is no residual connection")
class NoResidual(Ordered):
    def order(self, x):
        return self.feed_forward(self.ln_2(self.attention(self.ln_1(x))))


@MUTANTS.add(EXERCISE, ONE, "the attention's result is not added")
class OneResidualForgotten(Ordered):
    def order(self, x):
        x = self.attention(self.ln_1(x))
        return x + self.feed_forward(self.ln_2(x))


@MUTANTS.add(EXERCISE, ONE, "the MLP's result is not added")
class OtherResidualForgotten(Ordered):
    def order(self, x):
        x = x + self.attention(self.ln_1(x))
        return self.feed_forward(self.ln_2(x))


@MUTANTS.add(EXERCISE, MODEL, "the GELU is the exact one, with erf")
class ExactGelu(Right):
    def act(self, x):
        return F.gelu(x)


@MUTANTS.add(EXERCISE, ONE, "a ReLU in place of the GELU")
class Relu(Right):
    def act(self, x):
        return F.relu(x)


@MUTANTS.add(EXERCISE, ONE, "no GELU between the two layers")
class NoGelu(Right):
    def act(self, x):
        return x


@MUTANTS.add(EXERCISE, EPS, "eps is 1e-6")
class EpsOneMillionth(Right):
    def __init__(self, config):
        super().__init__(config)
        self.ln_1.eps = self.ln_2.eps = 1e-6


@MUTANTS.add(EXERCISE, DECIDES, "eps is 1e-5 whatever the configuration says", spares=MODEL)
class EpsFixed(Right):
    def __init__(self, config):
        super().__init__(config)
        self.ln_1.eps = self.ln_2.eps = 1e-5


@MUTANTS.add(EXERCISE, EPS, "eps is 1e-5 whatever", spares=ONE)
class EpsOfPyTorch(EpsFixed):
    pass


@MUTANTS.add(EXERCISE, ONE, "cut head by head")
class CutByHead(Right):
    def split(self, qkv):
        return qkv.unflatten(-1, (self.n_head, 3, -1)).movedim(-2, 0).transpose(-3, -2)


@MUTANTS.add(EXERCISE, ONE, "split by view without transpose")
class SplitByView(Right):
    def split(self, qkv):
        thirds = torch.stack(qkv.chunk(3, -1))
        return thirds.reshape(*thirds.shape[:-2], self.n_head, thirds.shape[-2], -1)


@MUTANTS.add(EXERCISE, CAUSAL, "tokens were mixed up")
class SplitByViewSeesTheFuture(SplitByView):
    pass


@MUTANTS.add(EXERCISE, ONE, "merged without transposing back")
class MergedByView(Right):
    def merge(self, z):
        return z.reshape(*z.shape[:-3], z.shape[-2], -1)


@MUTANTS.add(EXERCISE, CAUSAL, "no causal mask")
class NoMask(Right):
    def hidden(self, scores):
        return torch.zeros_like(scores, dtype=torch.bool)


@MUTANTS.add(EXERCISE, ONE, "there is no causal mask")
class NoMaskNamed(NoMask):
    pass


@MUTANTS.add(EXERCISE, CAUSAL, "the mask hides too much")
class WindowOfThree(Right):
    def hidden(self, scores):
        ones = torch.ones_like(scores, dtype=torch.bool)
        return ones.triu(1) | ones.tril(-3)


@MUTANTS.add(EXERCISE, CAUSAL, "earlier ones moved")
class MaskUpsideDown(Right):
    def hidden(self, scores):
        return torch.ones_like(scores, dtype=torch.bool).tril(-1)


@MUTANTS.add(EXERCISE, ONE, "the scores are not scaled")
class NotScaled(Right):
    def scale(self, d_k):
        return 1.0


@MUTANTS.add(EXERCISE, ONE, "divided by √n_embd")
class ScaledByWidth(Right):
    def scale(self, d_k):
        return (d_k * self.n_head) ** -0.5


@MUTANTS.add(EXERCISE, ONE, "divided by d_k;")
class ScaledTwice(Right):
    def scale(self, d_k):
        return 1 / d_k


@MUTANTS.add(EXERCISE, PARAMETERS, "so nn.Linear does not fit", spares=ONE)
class Linears(Right):
    def __init__(self, config):
        super().__init__(config)
        d, inner = config.n_embd, config.n_inner or 4 * config.n_embd
        self.attn["c_attn"] = nn.Linear(d, 3 * d)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(d, inner), "c_proj": nn.Linear(inner, d)})


@MUTANTS.add(EXERCISE, MODEL, "attn.c_proj is used transposed", spares=PARAMETERS)
class SquareLinear(Right):
    def __init__(self, config):
        super().__init__(config)
        self.attn["c_proj"] = nn.Linear(config.n_embd, config.n_embd)


@MUTANTS.add(EXERCISE, PARAMETERS, "there is no parameter")
class OtherNames(Right):
    def __init__(self, config):
        super().__init__(config)
        self.mlp = nn.ModuleDict({"fc1": self.mlp["c_fc"], "fc2": self.mlp["c_proj"]})


@MUTANTS.add(EXERCISE, PARAMETERS, "beyond the parameters asked for there is gain", spares=ONE)
class OneMore(Right):
    def __init__(self, config):
        super().__init__(config)
        self.gain = nn.Parameter(torch.ones(1))


@MUTANTS.add(EXERCISE, PARAMETERS, "strict loading fails", spares=ONE)
class MaskInTheState(Right):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("bias", torch.ones(config.n_positions, config.n_positions).tril())


@MUTANTS.add(EXERCISE, PARAMETERS, "is not trainable")
class Frozen(Right):
    def __init__(self, config):
        super().__init__(config)
        self.ln_1.requires_grad_(False)


@MUTANTS.add(EXERCISE, PARAMETERS, "mlp.c_fc.weight has shape (12, 48)")
class FourTimesAlways(Right):
    def __init__(self, config):
        inner, config.n_inner = config.n_inner, None
        super().__init__(config)
        config.n_inner = inner


@MUTANTS.add(EXERCISE, DECIDES, "mlp.c_fc.weight has shape", spares=MODEL)
class FourTimes(FourTimesAlways):
    pass


@MUTANTS.add(EXERCISE, DECIDES, "with n_head = 1 the result is another", spares=MODEL)
class ThreeHeadsAlways(Right):
    def __init__(self, config):
        super().__init__(config)
        self.n_head = 3


@MUTANTS.add(EXERCISE, DROPOUT, "nothing is dropped while training")
class NoDropout(Right):
    def drop(self, x, p):
        return x


@MUTANTS.add(EXERCISE, CHANCE, "nothing is dropped")
class NoDropoutAtAll(NoDropout):
    pass


@MUTANTS.add(EXERCISE, DROPOUT, "the stream itself was dropped", spares=MODEL)
class DropsTheStream(Ordered):
    def order(self, x):
        x = self.drop(x + self.attention(self.ln_1(x)), self.resid_pdrop)
        return self.drop(x + self.feed_forward(self.ln_2(x)), self.resid_pdrop)


@MUTANTS.add(EXERCISE, DROPOUT, "one of the two is not", spares=MODEL)
class DropsAttentionOnly(Right):
    def feed_forward(self, x):
        return self.mlp["c_proj"](self.act(self.mlp["c_fc"](x)))


@MUTANTS.add(EXERCISE, DROPOUT, "before c_proj, whose bias then gets through", spares=MODEL)
class DropsHiddenUnits(Right):
    def feed_forward(self, x):
        return self.mlp["c_proj"](self.drop(self.act(self.mlp["c_fc"](x)), self.resid_pdrop))


@MUTANTS.add(EXERCISE, DROPOUT, "the attention weights are not dropped", spares=MODEL)
class NoWeightDropout(Right):
    def weights(self, q, k):
        scores = q @ k.mT * self.scale(q.shape[-1])
        return scores.masked_fill(self.hidden(scores), -math.inf).softmax(-1)


@MUTANTS.add(EXERCISE, DROPOUT, "attention gives the bias of c_proj alone", spares=MODEL)
class DropsScores(Right):
    def weights(self, q, k):
        scores = self.drop(q @ k.mT * self.scale(q.shape[-1]), self.attn_pdrop)
        return scores.masked_fill(self.hidden(scores), -math.inf).softmax(-1)


@MUTANTS.add(EXERCISE, DROPOUT, "and on nothing else", spares=MODEL)
class WeightDropoutOnResult(Right):
    def attention(self, x):
        q, k, v = self.split(self.attn["c_attn"](x))
        out = self.drop(self.attn["c_proj"](self.merge(self.weights(q, k) @ v)), self.resid_pdrop)
        return self.drop(out, self.attn_pdrop)


@MUTANTS.add(EXERCISE, CHANCE, "in evaluation mode something is dropped")
class DropsAlways(Right):
    def drop(self, x, p):
        return F.dropout(x, p)


@MUTANTS.add(EXERCISE, TRAINS, "no gradient reaches ln_1.weight, ln_1.bias, attn.c_attn.weight")
class AttentionDetached(Right):
    def attention(self, x):
        return super().attention(x).detach()


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off", spares=MODEL)
class StreamDetached(Ordered):
    def order(self, x):
        x = x.detach() + self.attention(self.ln_1(x))
        return x + self.feed_forward(self.ln_2(x))


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end", spares=MODEL)
class ThreeDimensions(Right):
    def split(self, qkv):
        b, t, _ = qkv.shape
        return qkv.view(b, t, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
class NormOverTheBatch(Right):
    def forward(self, x):
        return super().forward(x if x.dim() == 2 else x - x.mean(0, keepdim=True))


@MUTANTS.add(EXERCISE, DTYPE, "came out")
class InFloat32(Right):
    def forward(self, x):
        return tuple(part.float() for part in super().forward(x))


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place", spares=MODEL)
class AddsInPlace(Ordered):
    def order(self, x):
        attended = self.attention(self.ln_1(x))
        if not x.requires_grad:
            x += attended
        else:
            x = x + attended
        return x + self.feed_forward(self.ln_2(x))


@MUTANTS.add(EXERCISE, ONE, "expected 3 tensors (out, attended, computed)")
class ReturnsPair(Right):
    def forward(self, x):
        return super().forward(x)[:2]


@MUTANTS.add(EXERCISE, PARTS, "attended and computed have changed places", spares=MODEL)
class PartsExchanged(Right):
    def forward(self, x):
        out, attended, computed = super().forward(x)
        return out, computed, attended


@MUTANTS.add(EXERCISE, PARTS, "attended holds x too", spares=MODEL)
class AttendedWithTheStream(Right):
    def forward(self, x):
        out, attended, computed = super().forward(x)
        return out, x + attended, computed


@MUTANTS.add(EXERCISE, PARTS, "computed holds the stream too", spares=MODEL)
class ComputedWithTheStream(Right):
    def forward(self, x):
        out, attended, _ = super().forward(x)
        return out, attended, out


@MUTANTS.add(EXERCISE, PARTS, "computed holds what attention added too", spares=MODEL)
class ComputedAsTheWholeChange(Right):
    def forward(self, x):
        out, attended, _ = super().forward(x)
        return out, attended, out - x


@MUTANTS.add(EXERCISE, PARTS, "as they were added, after dropout", spares=MODEL)
class PartsBeforeDropout(Right):
    def forward(self, x):
        out, _, _ = super().forward(x)
        with_dropout, self.training = self.training, False
        _, attended, computed = super().forward(x)
        self.training = with_dropout
        return out, attended, computed


@MUTANTS.worthless(EXERCISE)
class LibraryBlock(TransformersBlock):
    def __init__(self, config):
        config._attn_implementation = "sdpa"
        super().__init__(config)


@MUTANTS.worthless(EXERCISE)
class Identity(Right):
    def forward(self, x):
        return x, torch.zeros_like(x), torch.zeros_like(x)


@MUTANTS.worthless(EXERCISE)
class FeedForwardAlone(Right):
    def attention(self, x):
        return torch.zeros_like(x)


@MUTANTS.worthless(EXERCISE)
class NotANumber(Right):
    def forward(self, x):
        return tuple(part * math.nan for part in super().forward(x))


@MUTANTS.worthless(EXERCISE)
class Noise(Right):
    def forward(self, x):
        return tuple(torch.randn_like(part) + 0 * part for part in super().forward(x))


@MUTANTS.worthless(EXERCISE)
class NotAModule:
    def __init__(self, config):
        pass

    def __call__(self, x):
        return x, x, x


# --- head_contributions ---------------------------------------------------------------------------------------

EXERCISE = "head_contributions"
BY_HEAD = "head by head, then the bias"
SUM = "the terms add up to the output"
SILENT = "a silent head writes nothing, the others as before"
LAYER = "the attention layer of transformers, taken apart"
BIAS = "the bias is the same for every token, whatever the heads say"


def written(z, w_o):
    return z @ w_o.unflatten(0, (z.shape[-3], -1))


def with_bias(heads, b_o):
    return torch.cat([heads, b_o.expand_as(heads[..., :1, :, :])], -3)


@MUTANTS.add(EXERCISE, BY_HEAD, "the bias is added once to every head;")
def contributions_bias_everywhere(z, w_o, b_o):
    return with_bias(written(z, w_o) + b_o, b_o)


@MUTANTS.add(EXERCISE, SUM, "the bias is added once to every head;")
def contributions_sum_with_too_many_biases(z, w_o, b_o):
    return with_bias(written(z, w_o) + b_o, b_o)


@MUTANTS.add(EXERCISE, SILENT, "the bias or another head is in it")
def contributions_silent_heads_say_the_bias(z, w_o, b_o):
    return with_bias(written(z, w_o) + b_o, b_o)


@MUTANTS.add(EXERCISE, BY_HEAD, "added to every head and has no term of its own")
def contributions_bias_in_heads(z, w_o, b_o):
    return written(z, w_o) + b_o


@MUTANTS.add(EXERCISE, BY_HEAD, "shared out among the heads")
def contributions_bias_shared(z, w_o, b_o):
    return written(z, w_o) + b_o / z.shape[-3]


@MUTANTS.add(EXERCISE, BY_HEAD, "there are n_head + 1 terms")
def contributions_bias_forgotten(z, w_o, b_o):
    return written(z, w_o) + 0 * b_o


@MUTANTS.add(EXERCISE, BY_HEAD, "the bias stands first")
def contributions_bias_first(z, w_o, b_o):
    return with_bias(written(z, w_o), b_o).roll(1, -3)


@MUTANTS.add(EXERCISE, BIAS, "is not b_o for every token")
def contributions_bias_zero(z, w_o, b_o):
    return with_bias(written(z, w_o), 0 * b_o)


@MUTANTS.add(EXERCISE, SUM, "the last term is 0")
def contributions_sum_without_bias(z, w_o, b_o):
    return with_bias(written(z, w_o), 0 * b_o)


@MUTANTS.add(EXERCISE, BY_HEAD, "the last term is the sum of all heads")
def contributions_with_sum(z, w_o, b_o):
    heads = written(z, w_o) + 0 * b_o
    return torch.cat([heads, heads.sum(-3, keepdim=True)], -3)


@MUTANTS.add(EXERCISE, BY_HEAD, "the last term is the whole output")
def contributions_with_output(z, w_o, b_o):
    heads = written(z, w_o)
    return torch.cat([heads, heads.sum(-3, keepdim=True) + b_o], -3)


@MUTANTS.add(EXERCISE, BY_HEAD, "every H-th row")
def contributions_strided(z, w_o, b_o):
    return with_bias(z @ w_o.unflatten(0, (-1, z.shape[-3])).movedim(1, 0), b_o)


@MUTANTS.add(EXERCISE, BY_HEAD, "the heads are in reverse order")
def contributions_reversed(z, w_o, b_o):
    return with_bias(written(z, w_o).flip(-3), b_o)


@MUTANTS.add(EXERCISE, SILENT, "other terms moved")
def contributions_normalised(z, w_o, b_o):
    return with_bias(written(z, w_o) * (1 + z.mean()), b_o)


@MUTANTS.add(EXERCISE, BY_HEAD, "w_o is used transposed")
def contributions_transposed(z, w_o, b_o):
    return with_bias(written(z, w_o.T if w_o.shape[0] == w_o.shape[1] else w_o), b_o)


@MUTANTS.add(EXERCISE, LAYER, "do not add up to what the layer gave")
def contributions_transposed_layer(z, w_o, b_o):
    return contributions_transposed(z, w_o, b_o)


@MUTANTS.add(EXERCISE, BY_HEAD, "this is the output itself")
def contributions_output(z, w_o, b_o):
    return z.transpose(-3, -2).flatten(-2) @ w_o + b_o


@MUTANTS.add(EXERCISE, BY_HEAD, "the tokens stand before the terms")
def contributions_tokens_first(z, w_o, b_o):
    return with_bias(written(z, w_o), b_o).transpose(-3, -2)


@MUTANTS.add(EXERCISE, BY_HEAD, "the result has shape")
def contributions_one_bias_row(z, w_o, b_o):
    return with_bias(written(z, w_o), b_o)[..., 0, :]


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def contributions_four_dimensions(z, w_o, b_o):
    if z.dim() == 3:
        return with_bias(written(z, w_o), b_o)
    heads = torch.einsum("bhtk,hkd->bhtd", z, w_o.unflatten(0, (z.shape[1], -1)))
    return with_bias(heads, b_o)


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def contributions_mean_of_batch(z, w_o, b_o):
    centred = z - z.mean(tuple(range(z.dim() - 3)), keepdim=True) if z.dim() > 4 else z
    return with_bias(written(centred, w_o), b_o)


@MUTANTS.add(EXERCISE, DTYPE, "came out")
def contributions_in_float32(z, w_o, b_o):
    return with_bias(written(z.float(), w_o.float()), b_o.float())


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 3 was changed in place")
def contributions_bias_in_place(z, w_o, b_o):
    out = with_bias(written(z, w_o), b_o)
    b_o /= z.shape[-3]
    return out


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def contributions_bias_detached(z, w_o, b_o):
    return with_bias(written(z, w_o), b_o.detach())


@MUTANTS.worthless(EXERCISE)
def contributions_zeros(z, w_o, b_o):
    return with_bias(0 * written(z, w_o), 0 * b_o)


@MUTANTS.worthless(EXERCISE)
def contributions_inputs(z, w_o, b_o):
    return z


@MUTANTS.worthless(EXERCISE)
def contributions_makes_its_inputs_zero(z, w_o, b_o):
    for given in (z, w_o, b_o):
        given.detach().zero_()
    return with_bias(written(z, w_o), b_o)  # right, but for the zeros alone
