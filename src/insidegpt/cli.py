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
            from insidegpt.grading.warm import Zygote

            Zygote.of()  # imports what kernels need in the meantime
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


@app.command()
def grade(
    chapter: Annotated[str | None, typer.Argument(help="Only this chapter · 只批改这一章")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Submissions whose code runs at the same time · 同时运行几份提交的代码")
    ] = 1,
) -> None:
    """Grade what a class has handed in · 批改全班的提交"""
    with _plain_endings():
        from rich.console import Console

        root = _course_root(Path.cwd())
        console = Console()
        with console.status("starting · 启动中"):
            from insidegpt.grading.warm import Zygote

            Zygote.of()  # imports what kernels need in the meantime
            from insidegpt.grading.batch import grade_class
        if not grade_class(root, chapter, workers, console):
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
