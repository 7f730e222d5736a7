"""A permutation test of all layers: `permutation_test` beside the loop over layers and permutations, in one run.

    .venv/bin/python benchmarks/divergence.py [--permutations 1000] [--loop 60] [--device cpu]

The sizes are those of gpt2-large and one window: 36 layers, 1024 tokens, 1280 numbers a token, 30 bins. Activations and
hits are random; every fourth layer differs a little where a token is hit. The loop takes some ten minutes for a
thousand permutations of each layer, so it is timed on `--loop` permutations of one layer and multiplied up. p-values
are compared with a loop that is given the same permutations, for every layer.
"""

import os
import time
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from insidegpt.divergence import js_divergence, permutation_test, permuted_labels
from insidegpt.models import find_device

LAYERS, TOKENS, WIDTH, BINS = 36, 1024, 1280, 30


def symmetric_KL(d1, d2, nbins=BINS + 1):
    """The divergence of the loop: a histogram of each group over shared edges, and two calls of `kl_div`."""
    minmax = [min(min(d1), min(d2)), max(max(d1), max(d2))]
    histbins = torch.linspace(minmax[0], minmax[1], nbins)
    yd1, _ = torch.histogram(d1, bins=histbins)
    yd2, _ = torch.histogram(d2, bins=histbins)
    yd1 = yd1 / yd1.sum()
    yd2 = yd2 / yd2.sum()
    mean = (yd1 + yd2) / 2
    one = F.kl_div(torch.log(yd1 + 1e-15), mean, reduction="batchmean")
    return (one + F.kl_div(torch.log(yd2 + 1e-15), mean, reduction="batchmean")) / 2


def the_loop(activations: torch.Tensor, hits: np.ndarray, n_permutes: int) -> float:
    """What one writes for one layer first: permute, select, take norms, bin, compare; returns the p-value."""
    correct = torch.norm(activations[0, hits, :], dim=-1).log()
    incorrect = torch.norm(activations[0, ~hits, :], dim=-1).log()
    observed = symmetric_KL(correct, incorrect).item()
    permuted = np.zeros(n_permutes)
    for i in range(n_permutes):
        fake = np.random.permutation(hits)
        correct = torch.norm(activations[0, fake, :], dim=-1).log()
        incorrect = torch.norm(activations[0, ~fake, :], dim=-1).log()
        permuted[i] = symmetric_KL(correct, incorrect)
    return (permuted > observed).sum() / n_permutes


def plain_p_value(values: torch.Tensor, hits: torch.Tensor, labels: torch.Tensor) -> float:
    """The p-value of one layer by a loop over given permutations."""
    edges = torch.linspace(values.min(), values.max(), BINS + 1)

    def distance(labels: torch.Tensor) -> float:
        p, q = (torch.histogram(group, edges).hist for group in (values[~labels], values[labels]))
        return js_divergence(p / p.sum(), q / q.sum()).item()

    least = distance(hits) * (1 - 1e-5)  # a tie may differ in the last bits
    return (1 + sum(distance(fake) >= least for fake in labels)) / (1 + len(labels))


def main(
    permutations: Annotated[int, typer.Option(min=1, help="Permutations of each layer")] = 1000,
    loop: Annotated[int, typer.Option(min=1, help="Permutations of one layer that the loop is timed on")] = 60,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
) -> None:
    """Print the table."""
    found, console = find_device(device), Console()
    generator = torch.Generator().manual_seed(0)
    hits = torch.rand(TOKENS, generator=generator) < 0.3
    activations = torch.randn(LAYERS, TOKENS, WIDTH, generator=generator)
    activations[::4, hits] *= 1.01
    np.random.seed(0)

    start, cpu = time.perf_counter(), time.process_time()
    the_loop(activations[:1], hits.numpy(), loop)
    share = LAYERS * (permutations + 1) / (loop + 1)  # and one for the labels as they are
    slow, slow_cpu = (time.perf_counter() - start) * share, (time.process_time() - cpu) * share

    on_device, runs = activations.to(found), []
    for _ in range(5):
        start, cpu = time.perf_counter(), time.process_time()
        values = on_device.norm(dim=-1).log()  # (L, T)
        test = permutation_test(values, hits, BINS, permutations, torch.Generator().manual_seed(1))
        p_values = test.p_value.cpu()  # waits for a GPU
        runs.append((time.perf_counter() - start, time.process_time() - cpu))
    fast, fast_cpu = (min(side) for side in zip(*runs, strict=True))

    labels = permuted_labels(hits, permutations, torch.Generator().manual_seed(1))
    layers = track(values.cpu(), "p-values by a plain loop", console=console, transient=True)
    plain = torch.tensor([plain_p_value(layer, hits, labels) for layer in layers])

    table = Table(title=f"{LAYERS} layers × {permutations} permutations, {TOKENS} tokens, {BINS} bins, on {found}")
    for title in ("", "seconds", "CPU seconds"):
        table.add_column(title, justify="right" if title else "left")
    table.add_row(f"the loop, timed on 1 layer × {loop}", f"{slow:.0f}", f"{slow_cpu:.0f}")
    table.add_row("this, norms included, best of 5", f"{fast:.3f}", f"{fast_cpu:.3f}")
    table.add_row("times faster", f"{slow / fast:,.0f}", f"{slow_cpu / fast_cpu:,.0f}")
    console.print(table)
    same = int((p_values - plain).abs().lt(0.5 / (1 + permutations)).sum())
    apart = (p_values - plain).abs().max()
    console.print(f"p-values given the same permutations: {same} of {LAYERS} the same, at most {apart:.4f} apart.")
    console.print(f"p below 0.05: {int((p_values < 0.05).sum())} layers; {LAYERS // 4} were made to differ.")
    console.print(f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, PyTorch {torch.__version__}")


if __name__ == "__main__":
    typer.run(main)
