"""Right answers to the exercises of the chapter `gpt2`, as different people would write them."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

# --- count_parameters -----------------------------------------------------------------------------------------


def count_by_shapes(config):
    d, layers = config.n_embd, config.n_layer
    inner = 4 * d if config.n_inner is None else config.n_inner
    shapes = {
        "embeddings": [(config.vocab_size, d), (config.n_positions, d)],
        "attention": layers * [(d, 3 * d), (3 * d,), (d, d), (d,)],
        "mlp": layers * [(d, inner), (inner,), (inner, d), (d,)],
        "layer_norm": layers * [(d,), (d,), (d,), (d,)] + [(d,), (d,)],
        "lm_head": [] if config.tie_word_embeddings else [(config.vocab_size, d)],
    }
    out = {part: sum(math.prod(shape) for shape in its) for part, its in shapes.items()}
    out["total"] = sum(out.values())
    return out


def count_by_formula(config):
    given = config.to_dict()
    d, n = given["n_embd"], given["n_layer"]
    m = given["n_inner"] or 4 * d
    attention, mlp, norms = n * 4 * d * (d + 1), n * (2 * d * m + m + d), 2 * d + n * 4 * d
    embeddings = d * given["vocab_size"] + d * given["n_positions"]
    head = not given["tie_word_embeddings"] and d * given["vocab_size"]  # False is an int too
    return dict(
        total=embeddings + attention + mlp + norms + head,
        lm_head=head,
        layer_norm=norms,
        mlp=mlp,
        attention=attention,
        embeddings=embeddings,
    )


def count_by_loop(config):
    out = dict.fromkeys(("embeddings", "attention", "mlp", "layer_norm", "lm_head", "total"), 0)

    def add(part, rows, columns):
        out[part] += rows * columns
        out["total"] += rows * columns

    width = config.hidden_size  # another name of n_embd
    inner = config.n_inner if config.n_inner else width * 4
    add("embeddings", config.vocab_size, width)
    add("embeddings", config.n_positions, width)
    for _ in range(config.n_layer):
        for part, n_in, n_out in (
            ("attention", width, 3 * width),
            ("attention", width, width),
            ("mlp", width, inner),
            ("mlp", inner, width),
        ):
            add(part, n_in + 1, n_out)  # the bias is one more row
        add("layer_norm", 4, width)
    add("layer_norm", 2, width)
    if not config.tie_word_embeddings:
        add("lm_head", width, config.vocab_size)
    return out


# --- split_heads ----------------------------------------------------------------------------------------------


def split_by_chunks(x, n_head):
    return torch.stack([torch.stack(third.chunk(n_head, dim=-1), dim=-3) for third in x.chunk(3, dim=-1)])


def split_by_view(x, n_head):
    *lead, t, width = x.shape
    x = x.reshape(-1, t, 3, n_head, width // 3 // n_head).permute(2, 0, 3, 1, 4)
    return x.reshape(3, *lead, n_head, t, width // 3 // n_head)


def split_by_loops(x, n_head):
    d = x.shape[-1] // 3
    d_k = d // n_head
    out = x.new_empty(3, *x.shape[:-2], n_head, x.shape[-2], d_k)
    for part in range(3):
        for head in range(n_head):
            start = part * d + head * d_k
            out[part, ..., head, :, :] = x[..., start : start + d_k]
    return out


def split_by_einsum(x, n_head):
    return torch.einsum("...tphk->p...htk", x.unflatten(-1, (3, n_head, x.shape[-1] // (3 * n_head))))


# --- merge_heads ----------------------------------------------------------------------------------------------


def merge_by_cat(z):
    return torch.cat(z.unbind(-3), dim=-1)


def merge_by_reshape(z):
    *lead, n_head, t, d_k = z.shape
    return z.movedim(-3, -2).contiguous().view(*lead, t, n_head * d_k)


def merge_by_einsum(z):
    return torch.einsum("...htk->...thk", z).flatten(start_dim=-2)


def merge_by_projection(z):
    # each head is written into its own columns by a piece of the identity
    *_, n_head, _, d_k = z.shape
    eye = torch.eye(n_head * d_k, dtype=z.dtype, device=z.device).view(n_head, d_k, n_head * d_k)
    return (z @ eye).sum(-3)


# --- gelu_new -------------------------------------------------------------------------------------------------


def gelu_by_exponentials(x):
    # 1 / (1 + exp(-2u)), with the sign of u taken out so that exp never overflows
    b = x.clamp(min=-25.0, max=25.0)
    u = (2 / math.pi) ** 0.5 * (b + 0.044715 * b * b * b)
    e = torch.exp(-2 * u.abs())
    return x * torch.where(u >= 0, 1 / (1 + e), e / (1 + e))


def gelu_by_logsigmoid(x):
    bounded = torch.clamp(x, -25, 25)
    return x * F.logsigmoid(math.sqrt(8 / math.pi) * bounded * (1 + 0.044715 * bounded.square())).exp()


def gelu_in_float64(x):
    wide = x.double()
    near = wide.clamp(-40, 40)
    gate = torch.sigmoid(2 * math.sqrt(2 / math.pi) * (near + 0.044715 * near.pow(3)))
    return (wide * gate).to(x.dtype)


def gelu_by_softmax(x):
    near = x.clamp(-30, 30)
    u = math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)
    return x * torch.stack([u, -u]).softmax(0)[0]


def gelu_by_softplus(x):
    near = F.hardtanh(x, -30.0, 30.0)
    return x * torch.exp(-F.softplus(-math.sqrt(8 / math.pi) * near * (1 + 0.044715 * near * near)))


# --- GPT2Block ------------------------------------------------------------------------------------------------


class _Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.n_embd
        self.n_head, self.p = config.n_head, config.attn_pdrop
        self.c_attn, self.c_proj = Conv1D(3 * d, d), Conv1D(d, d)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x):
        *lead, t, d = x.shape
        q, k, v = self.c_attn(x.reshape(-1, t, d)).view(-1, t, 3, self.n_head, d // self.n_head).permute(2, 0, 3, 1, 4)
        mask = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        scores = (q @ k.transpose(2, 3)) / math.sqrt(d // self.n_head)
        weights = F.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1)
        z = F.dropout(weights, self.p, self.training) @ v
        return self.resid_dropout(self.c_proj(z.transpose(1, 2).reshape(*lead, t, d)))


class _MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc, self.c_proj = Conv1D(inner, config.n_embd), Conv1D(config.n_embd, inner)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x):
        return self.dropout(self.c_proj(nn.GELU(approximate="tanh")(self.c_fc(x))))


class BlockOfModules(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = _Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = _MLP(config)

    def forward(self, x):
        attended = self.attn(self.ln_1(x))
        computed = self.mlp(self.ln_2(x + attended))
        return x + attended + computed, attended, computed


class _Stored(nn.Module):
    """x @ weight + bias, or a LayerNorm's gain and bias; the storage alone."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape) * 0.02 if len(shape) > 1 else torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape[-1]))


class BlockByHand(nn.Module):
    """Everything written out, head by head."""

    def __init__(self, config):
        super().__init__()
        d = config.n_embd
        self.config, inner = config, config.n_inner or 4 * d
        self.ln_1, self.ln_2 = _Stored(d), _Stored(d)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = _Stored(d, 3 * d), _Stored(d, d)
        self.mlp.c_fc, self.mlp.c_proj = _Stored(d, inner), _Stored(inner, d)

    def norm(self, x, ln):
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + self.config.layer_norm_epsilon) * ln.weight + ln.bias

    def drop(self, x, p):
        return F.dropout(x, p, training=self.training)

    def forward(self, x):
        config, t, d_k = self.config, x.shape[-2], x.shape[-1] // self.config.n_head
        qkv = self.norm(x, self.ln_1) @ self.attn.c_attn.weight + self.attn.c_attn.bias
        q, k, v = torch.tensor_split(qkv, 3, dim=-1)
        hidden = torch.full((t, t), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        heads = []
        for h in range(config.n_head):
            own = slice(h * d_k, (h + 1) * d_k)
            scores = torch.einsum("...id,...jd->...ij", q[..., own], k[..., own]) * d_k**-0.5 + hidden
            heads.append(self.drop(torch.softmax(scores, -1), config.attn_pdrop) @ v[..., own])
        attended = torch.cat(heads, -1) @ self.attn.c_proj.weight + self.attn.c_proj.bias
        attended = self.drop(attended, config.resid_pdrop)
        x = x + attended
        wide = self.norm(x, self.ln_2) @ self.mlp.c_fc.weight + self.mlp.c_fc.bias
        wide = 0.5 * wide * (1 + torch.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
        computed = self.drop(wide @ self.mlp.c_proj.weight + self.mlp.c_proj.bias, config.resid_pdrop)
        return [x + computed, attended, computed]


class BlockWithLinear(nn.Module):
    """F.linear with the weights turned on the way, and SDPA wherever nothing is dropped."""

    def __init__(self, config):
        super().__init__()
        d, inner = config.n_embd, config.n_inner or 4 * config.n_embd
        self.n_head, self.attn_pdrop, self.resid_pdrop = config.n_head, config.attn_pdrop, config.resid_pdrop
        self.ln_1 = nn.LayerNorm(d, eps=config.layer_norm_epsilon)
        self.ln_2 = nn.LayerNorm(d, eps=config.layer_norm_epsilon)
        self.attn = nn.ModuleDict({"c_attn": _Stored(d, 3 * d), "c_proj": _Stored(d, d)})
        self.mlp = nn.ModuleDict({"c_fc": _Stored(d, inner), "c_proj": _Stored(inner, d)})
        self.register_buffer("mask", torch.ones(1024, 1024, dtype=torch.bool).tril(), persistent=False)

    def forward(self, x):
        def linear(layer, x):
            return F.linear(x, layer.weight.t(), layer.bias)

        t, drop = x.size(-2), nn.Dropout(self.resid_pdrop).train(self.training)
        parts = linear(self.attn["c_attn"], self.ln_1(x)).split(x.size(-1), -1)
        q, k, v = (torch.stack(part.chunk(self.n_head, -1), -3) for part in parts)
        if self.training and self.attn_pdrop:
            scores = torch.where(self.mask[:t, :t], q @ k.mT / q.size(-1) ** 0.5, torch.finfo(x.dtype).min)
            z = F.dropout(scores.softmax(-1), self.attn_pdrop) @ v
        else:
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended = drop(linear(self.attn["c_proj"], torch.cat(z.unbind(-3), -1)))
        after = attended + x
        wide = F.gelu(linear(self.mlp["c_fc"], self.ln_2(after)), approximate="tanh")
        out = drop(linear(self.mlp["c_proj"], wide)) + after
        return out, attended, out - after


# --- head_contributions ---------------------------------------------------------------------------------------


def contributions_by_einsum(z, w_o, b_o):
    n_head, t, d_k = z.shape[-3:]
    heads = torch.einsum("...htk,hkd->...htd", z, w_o.view(n_head, d_k, -1))
    return torch.cat([heads, b_o.expand(*z.shape[:-3], 1, t, -1)], dim=-3)


def contributions_by_loop(z, w_o, b_o):
    d_k = z.shape[-1]
    terms = [z[..., h, :, :] @ w_o[h * d_k : (h + 1) * d_k] for h in range(z.shape[-3])]
    return torch.stack([*terms, torch.zeros_like(terms[0]) + b_o], dim=-3)


def contributions_by_silencing(z, w_o, b_o):
    # what the merged heads give when all but one are silent
    terms = []
    for h in range(z.shape[-3]):
        alone = torch.cat([one if i == h else torch.zeros_like(one) for i, one in enumerate(z.unbind(-3))], -1)
        terms.append(alone @ w_o)
    terms.append(b_o.broadcast_to(terms[0].shape))
    return torch.stack(terms, -3)


def contributions_as_one_more_head(z, w_o, b_o):
    # the bias is a head that always says 1 and writes b_o
    n_head, t, d_k = z.shape[-3:]
    ones = torch.cat([z.new_ones(*z.shape[:-3], 1, t, 1), z.new_zeros(*z.shape[:-3], 1, t, d_k - 1)], -1)
    rows = torch.cat([w_o, b_o[None], w_o.new_zeros(d_k - 1, w_o.shape[1])])
    return torch.cat([z, ones], -3) @ rows.reshape(n_head + 1, d_k, -1)


ANSWERS = {
    "count_parameters": [count_by_shapes, count_by_formula, count_by_loop],
    "split_heads": [split_by_chunks, split_by_view, split_by_loops, split_by_einsum],
    "merge_heads": [merge_by_cat, merge_by_reshape, merge_by_einsum, merge_by_projection],
    "gelu_new": [gelu_by_exponentials, gelu_by_logsigmoid, gelu_in_float64, gelu_by_softmax, gelu_by_softplus],
    "GPT2Block": [BlockOfModules, BlockByHand, BlockWithLinear],
    "head_contributions": [
        contributions_by_einsum,
        contributions_by_loop,
        contributions_by_silencing,
        contributions_as_one_more_head,
    ],
}
