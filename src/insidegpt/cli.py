"""`insidegpt …`: the book's commands. What a command needs is imported when it runs, so `--help` is quick."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from insidegpt.errors import UserError
from insidegpt.repository import repository_root

app = typer.Typer(
    help="Inside GPT-2 · 走进 GPT-2", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@contextlib.contextmanager
def _plain_endings() -> Iterator[None]:
    """End with one sentence and status 2 for what the user can mend, a full disk too, quietly with 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # where a terminal cannot show Chinese
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"{error.filename} cannot be used ({error.strerror}): mend that or name another place. · "
            f"无法使用 {error.filename}（{error.strerror}）：请先解决，或换一个位置。",
            file=sys.stderr,
        )
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("stopped · 已停止", file=sys.stderr)
        raise typer.Exit(130) from None


def _course_root(*places: Path) -> Path:
    """The repository's top folder. Raises UserError in the students' copy, where nothing can be graded."""
    root = repository_root(*places)
    if not (root / "tests" / "hidden").is_dir():
        raise UserError(
            "This copy has no hidden tests: run the visible tests in the notebook; your teacher does the rest.",
            "这份副本不含隐藏测试：请在笔记本里运行可见测试；其余由教师批改。",
        )
    return root


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="The notebook with your answers · 写有答案的笔记本")],
    json: Annotated[Path | None, typer.Option(help="Also write the result to this file · 结果也写入此文件")] = None,
    timeout: Annotated[int | None, typer.Option(min=1, help="Seconds a cell may take · 每个单元格的时限（秒）")] = None,
) -> None:
    """Grade one notebook of exercises · 批改一个练习笔记本"""
    with _plain_endings():
        from json import dumps

        from rich.console import Console

        root = _course_root(notebook, Path.cwd())
        console = Console()
        with console.status("starting · 启动中"):
            from insidegpt.grading.check import check as grade
            from insidegpt.grading.report import print_report
        report = grade(notebook, root, timeout, console)
        from insidegpt.grading.feedback import write_page  # takes its time, and the notebook may not be readable

        page = root / "_build" / "feedback" / f"{report.chapter}.html"
        write_page(report, page)
        if json is not None:
            json.write_text(dumps(report.as_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        print_report(report, console)
        print(f"Feedback · 反馈  {page}")


SYSTEMS = "moodle", "canvas"


@app.command()
def grade(
    chapter: Annotated[str | None, typer.Argument(help="Only this chapter · 只批改这一章")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Submissions whose code runs at the same time · 同时运行几份提交的代码")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Use the workers of this Dask cluster · 用 Dask 集群")
    ] = None,
    stage: Annotated[
        bool, typer.Option("--stage", help="Its workers do not see this folder · 集群看不到这个文件夹")
    ] = False,
    system: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="|".join(SYSTEMS), help="Also write grades to import there · 另写一份供该平台导入的成绩"
        ),
    ] = None,
) -> None:
    """Grade what a class has handed in · 批改全班的提交"""
    with _plain_endings():
        from rich.console import Console

        root = _course_root(Path.cwd())
        if dask and workers:
            raise UserError(
                "--workers is for this machine: with --dask, as many submissions run as the cluster has workers.",
                "--workers 只用于本机：用 --dask 时，集群有几个 worker 就同时运行几份。",
            )
        if stage and not dask:
            raise UserError("--stage goes with --dask tcp://HOST:PORT.", "--stage 要与 --dask tcp://HOST:PORT 一起用。")
        if system not in (None, *SYSTEMS):
            raise UserError(
                f"Grades can be written for {' or '.join(SYSTEMS)}, not for {system!r}.",
                f"成绩可以为 {' 或 '.join(SYSTEMS)} 导出，没有 {system!r}。",
            )
        console = Console()
        with console.status("starting · 启动中"):
            if not dask:
                from insidegpt.grading.preloaded import Zygote, modules_for

                Zygote.of(modules_for(root, chapter))  # imports what kernels need in the meantime
            from insidegpt.grading.batch import grade_class
        if not grade_class(root, chapter, workers or 1, console, dask, stage, system):
            raise typer.Exit(1)


@app.command()
def kit(
    out: Annotated[Path | None, typer.Option(help="The zip file to write · 要写入的 zip 文件")] = None,
) -> None:
    """Make the zip for students: no solutions, no hidden tests · 生成发给学生的 zip：不含解答和隐藏测试"""
    with _plain_endings():
        root = _course_root(Path.cwd())
        from insidegpt.grading.kit import make_kit

        out = out or root / "_build" / "inside-gpt-2.zip"
        files = make_kit(root, out)
        print(f"Kit · 学生包  {out}  ({len(files)} files · 个文件, {out.stat().st_size / 1e6:.1f} MB)")


@app.command()
def site() -> None:
    """Build all editions of the site into _build/site · 生成网站的各个版本"""
    with _plain_endings():
        from insidegpt.site.build import main

        main(repository_root(Path.cwd()))


@app.command()
def ebooks(
    editions: Annotated[
        list[str] | None, typer.Argument(help="en, zh, en-zh, zh-tw; without one, all · 不写则生成全部")
    ] = None,
) -> None:
    """Write the book as PDF and EPUB into _build/ebooks · 把书写成 PDF 和 EPUB"""
    with _plain_endings():
        from insidegpt.site.ebooks.build import main

        main(repository_root(Path.cwd()), editions or ())


@app.command()
def serve(port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port · 端口")] = 8000) -> None:
    """Serve the built site on this computer · 在本机上浏览网站"""
    with _plain_endings():
        from insidegpt.site.serve import serve

        serve(repository_root(Path.cwd()) / "_build" / "site", port)


@app.command()
def train(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long it may learn · 训练多少分钟")] = 60,
    steps: Annotated[int | None, typer.Option(min=1, help="So many steps instead · 改为训练多少步")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the model · 模型存放的文件夹")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, … · 设备")] = None,
) -> None:
    """Make the book's own GPT-2 · 训练本书自带的 GPT-2"""
    with _plain_endings():
        from rich.console import Console

        out = out or repository_root(Path.cwd()) / "_build" / "story-gpt2"
        console = Console()
        with console.status("starting · 启动中"):
            from insidegpt.models import find_device
            from insidegpt.training import Length, Recipe, train

            found = find_device(device)
        train(out, Length(steps, None if steps else minutes), Recipe(), found, console)
        print(f"Model · 模型  {out}")


DTYPES = "float32", "bfloat16", "float16"


@app.command()
def perplexity(
    model: Annotated[str | None, typer.Option(help="A folder, or a name on the hub · 文件夹，或模型库里的名字")] = None,
    text: Annotated[str, typer.Option(help="story/test/zh, wikitext, a file · 故事、wikitext、文件")] = "story/test/en",
    stride: Annotated[int | None, typer.Option(help="Tokens from window to window · 步长（词元数）")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens in a window · 窗口长度（词元数）")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Windows at a time · 每批几个窗口")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, … · 设备")] = None,
    dtype: Annotated[str, typer.Option(help=f"{', '.join(DTYPES)} · 数值类型")] = DTYPES[0],
) -> None:
    """Measure how surprised a model is by a text · 测量模型对一段文本有多惊讶"""
    with _plain_endings():
        from rich.console import Console
        from rich.progress import Progress

        if dtype not in DTYPES:
            raise UserError(
                f"There is no dtype {dtype!r} here: take one of {', '.join(DTYPES)}.",
                f"没有数值类型 {dtype!r}：请从 {'、'.join(DTYPES)} 中选一个。",
            )
        console = Console()
        with console.status("starting · 启动中"):
            from time import perf_counter

            import torch

            from insidegpt.models import load_model, model_name
            from insidegpt.perplexity import strided_perplexity
            from insidegpt.texts import load_text

            lm, tokenizer = load_model(model, device)
            lm.to(getattr(torch, dtype))
            ids = tokenizer(load_text(text), return_tensors="pt").input_ids
            window = lm.config.max_position_embeddings if max_length is None else max_length
            stride = window // 2 if stride is None else stride
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            windows = progress.add_task("windows · 窗口")
            start = perf_counter()
            scores = strided_perplexity(
                lm,
                ids,
                stride,
                window,
                batch_size,
                lambda done, total: progress.update(windows, completed=done, total=total),
            )
            seconds = perf_counter() - start
        from rich.table import Table

        table = Table(title="Perplexity · 困惑度", show_header=False)
        for row in (
            ("model · 模型", model_name(lm)),
            ("text · 文本", text),
            ("perplexity, by token · 困惑度（按词元平均）", f"{scores.perplexity:.3f}"),
            ("well-known recipe, by window · 常见算法（按窗口平均）", f"{scores.recipe:.3f}"),
            ("tokens · 词元", f"{ids.numel():,}"),
            ("targets · 目标", f"{scores.n_targets:,}"),
            ("windows · 窗口", f"{scores.windows:,}"),
            ("window, stride · 窗口长度、步长", f"{window}, {stride}"),
            ("device · 设备", str(lm.device)),
            ("dtype · 数值类型", dtype),
            ("tokens a second · 每秒词元数", f"{ids.numel() / seconds:,.0f}"),
        ):
            table.add_row(*row)
        console.print(table)
