"""Right answers to the exercises of the chapter `attention`, as different people would write them."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

# --- self_attention -------------------------------------------------------------------------------------------


def self_by_einsum(x, w_q, w_k, w_v):
    q = torch.einsum("...ti,ij->...tj", x, w_q)
    k = torch.einsum("...ti,ij->...tj", x, w_k)
    v = torch.einsum("...ti,ij->...tj", x, w_v)
    weights = F.softmax(torch.einsum("...id,...jd->...ij", q, k) * w_k.size(1) ** -0.5, dim=-1)
    return torch.einsum("...ij,...jd->...id", weights, v), weights


def self_by_loops(x, w_q, w_k, w_v):
    if x.dim() > 2:
        parts = [self_by_loops(sequence, w_q, w_k, w_v) for sequence in x]
        return torch.stack([c for c, _ in parts]), torch.stack([w for _, w in parts])
    contexts, rows = [], []
    for asking in x:
        query = asking @ w_q
        scores = torch.stack([query.dot(other @ w_k) for other in x]) / math.sqrt(len(query))
        e = torch.exp(scores - scores.max())
        row = e / e.sum()
        rows.append(row)
        contexts.append(sum(share * (other @ w_v) for share, other in zip(row, x, strict=True)))
    return torch.stack(contexts), torch.stack(rows)


def self_by_library(x, w_q, w_k, w_v):
    # attention over the rows of the identity shows the weights
    q, k, v = x.matmul(w_q), x.matmul(w_k), x.matmul(w_v)
    t = x.size(-2)
    eye = torch.eye(t, dtype=x.dtype, device=x.device).expand(*x.shape[:-2], t, t)
    weights = F.scaled_dot_product_attention(q, k, eye)
    return [weights.matmul(v), weights]


def self_with_tensor_scale(x, w_q, w_k, w_v):
    # torch.tensor(3) is rounded to float32 by sqrt, and the softmax is computed in float32
    scores = x @ w_q @ (x @ w_k).mT / torch.sqrt(torch.tensor(w_k.shape[-1]))
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype)
    return weights @ (x @ w_v), weights


# --- transfer_weights -----------------------------------------------------------------------------------------


def transfer_by_slices(linear_module, parameter_module):
    d_k = parameter_module.w_q.shape[1]
    weight = linear_module.w_qkv.weight.detach().t()
    parameter_module.w_q.data[:] = weight[:, :d_k]
    parameter_module.w_k.data[:] = weight[:, d_k : 2 * d_k]
    parameter_module.w_v.data[:] = weight[:, 2 * d_k :]


def transfer_by_state_dict(linear_module, parameter_module):
    widths = [parameter_module.w_q.size(1), parameter_module.w_k.size(1), parameter_module.w_v.size(1)]
    blocks = torch.split(linear_module.w_qkv.weight, widths)
    state = {name: block.T for name, block in zip(("w_q", "w_k", "w_v"), blocks, strict=True)}
    parameter_module.load_state_dict(state)


def transfer_by_identity(linear_module, parameter_module):
    # a linear layer applied to the identity gives its matrix, already the right way round
    weight = linear_module.w_qkv.weight
    eye = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    with torch.no_grad():
        whole, start = linear_module.w_qkv(eye), 0
        for parameter in parameter_module.parameters():
            parameter.copy_(whole[:, start : start + parameter.shape[1]])
            start += parameter.shape[1]


# --- score_statistics -----------------------------------------------------------------------------------------


def _random(d_k, n, generator):
    device = generator.device
    q = torch.randn((n, d_k), generator=generator, device=device, dtype=torch.float64)
    k = torch.randn((n, d_k), generator=generator, device=device, dtype=torch.float64)
    return q, k


def statistics_by_loops(d_k, n, generator):
    q, k = _random(d_k, n, generator)
    out = {}
    for suffix, scale in [("", 1.0), ("_scaled", math.sqrt(d_k))]:
        rows = [[float(a @ b) / scale for b in k] for a in q]
        flat = list(itertools.chain(*rows))
        mean = sum(flat) / len(flat)
        out["variance" + suffix] = sum((s - mean) ** 2 for s in flat) / (n * n - 1)
        norms = []
        for row in rows:
            p = torch.softmax(torch.tensor(row, dtype=torch.float64), 0)
            norms.append(float((torch.diag(p) - torch.outer(p, p)).norm()))
        out["gradient" + suffix] = sum(norms) / n
    return out


def statistics_by_autograd(d_k, n, generator):
    q, k = _random(d_k, n, generator)
    scores = torch.einsum("id,jd->ij", q, k)

    def gradient(rows):
        jacobian = torch.func.vmap(torch.func.jacrev(lambda s: torch.softmax(s, -1)))(rows)
        return jacobian.flatten(1).norm(dim=1).mean().item()

    scaled = scores * d_k**-0.5
    return {
        "gradient_scaled": gradient(scaled),
        "gradient": gradient(scores),
        "variance_scaled": torch.var(scaled).item(),
        "variance": torch.var(scores, correction=1).item(),
    }


def statistics_by_formula(d_k, n, generator):
    # ‖diag(p) − p pᵀ‖² = Σp² − 2Σp³ + (Σp²)²
    q, k = _random(d_k, n, generator)
    out = {}
    for suffix, temperature in (("", 1), ("_scaled", math.sqrt(d_k))):
        s = (q / temperature) @ k.t()
        e = torch.exp(s - s.amax(1, keepdim=True))
        p = e / e.sum(1, keepdim=True)
        squares = (p**2).sum(1)
        centred = s - s.mean()
        out[f"variance{suffix}"] = ((centred**2).sum() / (s.numel() - 1)).item()
        out[f"gradient{suffix}"] = (squares - 2 * (p**3).sum(1) + squares**2).clamp(min=0).sqrt().mean().item()
    return out


def statistics_with_tensor_scale(d_k, n, generator):
    q, k = _random(d_k, n, generator)
    out = {}
    for suffix, scores in (("", q @ k.T), ("_scaled", q @ k.T / torch.sqrt(torch.tensor(d_k)))):
        p = scores.softmax(-1)
        out["variance" + suffix] = scores.var().item()
        out["gradient" + suffix] = sum((row.diag() - row.outer(row)).norm() for row in p).item() / n
    return out


# --- MultiHeadAttention ---------------------------------------------------------------------------------------


class _Parameters(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        if d_model % n_head != 0:
            raise ValueError(f"d_model ({d_model}) must be a multiple of n_head ({n_head})")
        self.n_head = n_head
        self.gate = nn.Parameter(torch.ones(n_head))
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))


class HeadsByView(_Parameters):
    def forward(self, x):
        *lead, t, d = x.shape
        x = x.reshape(-1, t, d)
        b, h, d_k = x.shape[0], self.n_head, d // self.n_head
        q, k, v = (w(x).view(b, t, h, d_k).permute(0, 2, 1, 3) for w in (self.w_q, self.w_k, self.w_v))
        z = F.scaled_dot_product_attention(q, k, v) * self.gate.view(1, h, 1, 1)
        return self.w_o(z.permute(0, 2, 1, 3).contiguous().view(b, t, d)).view(*lead, t, d)


class HeadsByLoop(_Parameters):
    def forward(self, x):
        q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)
        d_k = x.shape[-1] // self.n_head
        results = []
        for h in range(self.n_head):
            own = slice(h * d_k, (h + 1) * d_k)
            scores = q[..., own] @ k[..., own].transpose(-1, -2) / d_k**0.5
            results.append(self.gate[h] * (torch.softmax(scores, dim=-1) @ v[..., own]))
        return self.w_o(torch.cat(results, dim=-1))


class HeadsByEinsum(_Parameters):
    def forward(self, x):
        h, d = self.n_head, x.shape[-1]
        q, k, v = (
            torch.einsum("...ti,hji->...htj", x, w.weight.view(h, d // h, d)) for w in (self.w_q, self.w_k, self.w_v)
        )
        weights = torch.einsum("...htj,...hsj->...hts", q / (d // h) ** 0.5, k).softmax(-1)
        return torch.einsum("...hts,...hsj,h,ohj->...to", weights, v, self.gate, self.w_o.weight.view(d, h, d // h))


class HeadsWithBuffer(_Parameters):
    def __init__(self, d_model, n_head):
        super().__init__(d_model, n_head)
        self.register_buffer("scale", torch.tensor(d_model // n_head).sqrt())  # in state_dict, but no parameter

    def forward(self, x):
        q, k, v = (torch.stack(w(x).chunk(self.n_head, -1), -3) for w in (self.w_q, self.w_k, self.w_v))
        z = torch.softmax(q @ k.mT / self.scale, -1) @ (v * self.gate.view(-1, 1, 1))
        return self.w_o(torch.cat(z.unbind(-3), -1))


# --- cross_attention ------------------------------------------------------------------------------------------


def cross_by_matmul(decoder, encoder, w_q, w_k, w_v):
    scores = torch.matmul(decoder @ w_q, (encoder @ w_k).transpose(-2, -1)).div(w_q.shape[1] ** 0.5)
    scores = scores - scores.amax(dim=-1, keepdim=True)
    weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    return weights.matmul(encoder.matmul(w_v)), weights.sum(dim=-2)


def cross_by_einsum(decoder, encoder, w_q, w_k, w_v):
    scores = torch.einsum("...id,df,...jf->...ij", decoder, w_q, encoder @ w_k) / math.sqrt(w_k.size(-1))
    weights = F.softmax(scores, dim=-1)
    context = torch.einsum("...ij,...je,ev->...iv", weights, encoder, w_v)
    return context, torch.einsum("...ij->...j", weights)


def cross_by_loops(decoder, encoder, w_q, w_k, w_v):
    lead = torch.broadcast_shapes(decoder.shape[:-2], encoder.shape[:-2])
    decoder, encoder = decoder.expand(*lead, -1, -1), encoder.expand(*lead, -1, -1)
    if lead:
        parts = [cross_by_loops(d, e, w_q, w_k, w_v) for d, e in zip(decoder, encoder, strict=True)]
        return tuple(torch.stack(each) for each in zip(*parts, strict=True))
    contexts, coverage = [], 0
    for position in decoder:
        row = torch.softmax((encoder @ w_k) @ (position @ w_q) / math.sqrt(w_q.shape[1]), dim=0)
        contexts.append(row @ (encoder @ w_v))
        coverage = coverage + row
    return torch.stack(contexts), coverage


ANSWERS = {
    "self_attention": [self_by_einsum, self_by_loops, self_by_library, self_with_tensor_scale],
    "transfer_weights": [transfer_by_slices, transfer_by_state_dict, transfer_by_identity],
    "score_statistics": [
        statistics_by_loops,
        statistics_by_autograd,
        statistics_by_formula,
        statistics_with_tensor_scale,
    ],
    "MultiHeadAttention": [HeadsByView, HeadsByLoop, HeadsByEinsum, HeadsWithBuffer],
    "cross_attention": [cross_by_matmul, cross_by_einsum, cross_by_loops],
}
