"""Perplexity over sliding windows: `strided_perplexity` beside the loop that everybody copies, in one run.

    .venv/bin/python benchmarks/perplexity.py [--tokens 10000] [--device cpu]

The model is a GPT-2 of full size (124 million parameters) with random weights and the text random tokens, so nothing
is downloaded; 287644 tokens are the whole test set of WikiText-2. Each run has a process of its own, which scores two
windows to warm up and then the text; memory is how far it rose above the loaded model at its highest (resident on a
CPU, allocated on a GPU). CPU seconds are the process's, which other programs on the computer disturb less. The last
table has the shipped model, which is trained, on stories: there bfloat16 has something to lose.
"""

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps, loads
from typing import Annotated

import psutil
import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import GPT2Config, GPT2LMHeadModel

from insidegpt.models import find_device, load_model, model_name, quiet_transformers
from insidegpt.perplexity import strided_perplexity
from insidegpt.texts import load_text

MAX_LENGTH, STRIDE = 1024, 512
STORY = "story/test/en"
RUNS = [("the loop", "float32"), ("this", "float32"), ("the loop", "bfloat16"), ("this", "bfloat16")]


def the_loop(model: GPT2LMHeadModel, input_ids: torch.Tensor, max_length: int, stride: int) -> float:
    """What one writes after https://huggingface.co/docs/transformers/perplexity."""
    seq_len = input_ids.size(1)
    nlls = []
    prev_end_loc = 0
    for begin_loc in range(0, seq_len, stride):
        end_loc = min(begin_loc + max_length, seq_len)
        trg_len = end_loc - prev_end_loc
        window = input_ids[:, begin_loc:end_loc].to(model.device)
        target_ids = window.clone()
        target_ids[:, :-trg_len] = -100
        with torch.no_grad():
            nlls.append(model(window, labels=target_ids).loss)
        prev_end_loc = end_loc
        if end_loc == seq_len:
            break
    return torch.exp(torch.stack(nlls).mean()).item()


@contextmanager
def peak_growth(device: torch.device) -> Iterator[list[int]]:
    """A list that has, at the end, by how many bytes the memory in use rose at its highest."""
    growth = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        floor = torch.cuda.memory_allocated(device)
        yield growth
        growth.append(torch.cuda.max_memory_allocated(device) - floor)
        return
    process, done = psutil.Process(), threading.Event()
    floor = process.memory_info().rss
    seen = [floor]

    def look() -> None:
        while not done.wait(0.01):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=look)
    watcher.start()
    yield growth
    done.set()
    watcher.join()
    growth.append(max(seen) - floor)


def measure(method: str, dtype: str, n_tokens: int, device: torch.device) -> dict:
    """Score the random text once. Runs in a process of its own."""
    quiet_transformers()
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config()).eval().to(device, getattr(torch, dtype))
    ids = torch.randint(model.config.vocab_size, (1, n_tokens), generator=torch.Generator().manual_seed(1))

    def score(ids: torch.Tensor) -> tuple[float, float]:
        if method == "the loop":
            return the_loop(model, ids, MAX_LENGTH, STRIDE), math.nan
        scores = strided_perplexity(model, ids, STRIDE)
        return scores.recipe, scores.perplexity

    with peak_growth(device) as growth:
        score(ids[:, : MAX_LENGTH + STRIDE])
        start, cpu = time.perf_counter(), time.process_time()
        recipe, perplexity = score(ids)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"recipe": recipe, "perplexity": perplexity, "seconds": seconds, "cpu": cpu, "memory": growth[0]}


def bfloat16_units(device: torch.device) -> str:
    """What the device has for products of bfloat16."""
    if device.type != "cpu":
        return "on a GPU"
    units = [name for name in ("amx_bf16", "avx512_bf16") if torch.cpu.get_capabilities().get(name)]
    return " and ".join(units) or "no instructions for it on this CPU"


def print_speeds(n_tokens: int, device: torch.device, console: Console) -> None:
    """Print the table of the full-size model."""
    table = Table(title=f"GPT-2, 124 million random weights, {n_tokens:,} tokens, stride {STRIDE}, on {device}")
    for title in ("", "dtype", "recipe's value", "by token", "seconds", "CPU seconds", "tokens/s", "faster", "memory"):
        table.add_column(title, justify="right" if title not in ("", "dtype") else "left")
    clock = "cpu" if device.type == "cpu" else "seconds"
    runs = []
    for method, dtype in RUNS:
        with console.status(f"{method}, {dtype}"):
            command = [sys.executable, __file__, "--tokens", str(n_tokens), "--device", str(device)]
            run = subprocess.run([*command, "--run", f"{method}/{dtype}"], check=True, stdout=subprocess.PIPE)
        runs.append(run := loads(run.stdout))
        cells = [f"{run['recipe']:.1f}", "" if method == "the loop" else f"{run['perplexity']:.1f}"]
        cells += [f"{run['seconds']:.1f}", f"{run['cpu']:.1f}", f"{n_tokens / run['seconds']:.0f}"]
        cells += [f"× {runs[0][clock] / run[clock]:.2f}", f"{run['memory'] / 2**20:.0f} MB"]
        table.add_row(method, dtype, *cells)
    console.print(table)
    loop, ours, _, half = runs
    kind = "CPU seconds" if device.type == "cpu" else "seconds"
    console.print(f"“Faster” compares {kind} with the first line. bfloat16: {bfloat16_units(device)}.")
    console.print(f"float32 differs from the loop by {abs(ours['recipe'] / loop['recipe'] - 1):.1e} of its value.")
    gain = loop[clock] / half[clock]
    verdict = "" if gain > 1 else "; it is NOT faster on this computer"
    apart = half["perplexity"] / ours["perplexity"] - 1
    console.print(f"bfloat16 is × {gain:.2f} and differs from float32 by {apart:+.1e} of the perplexity{verdict}.")


def print_trained(device: torch.device, console: Console) -> None:
    """Print what bfloat16 changes for a trained model."""
    table = Table("dtype", "perplexity", "recipe's value")
    for dtype in (torch.float32, torch.bfloat16):
        model, tokenizer = load_model(device=str(device))
        ids = tokenizer(load_text(STORY), return_tensors="pt").input_ids[:, :10_000]
        scores = strided_perplexity(model.to(dtype), ids, model.config.n_positions // 2)
        table.add_row(str(dtype).removeprefix("torch."), f"{scores.perplexity:.4f}", f"{scores.recipe:.4f}")
    table.title = f"{model_name(model)}, {ids.numel():,} tokens of {STORY}"
    console.print(table)


def main(
    tokens: Annotated[
        int, typer.Option(min=2, help="Length of the random text; 287644: WikiText-2's test set")
    ] = 10_000,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
    run: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Print the tables."""
    found, console = find_device(device), Console()
    if run:
        print(dumps(measure(*run.split("/"), tokens, found)))
        return
    print_speeds(tokens, found, console)
    print_trained(found, console)
    console.print(f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, PyTorch {torch.__version__}")


if __name__ == "__main__":
    typer.run(main)
