"""The command line: quick to start, one sentence for a mistake, quiet on Ctrl-C."""

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from insidegpt.cli import app
from small_course import cell, mark

INSIDEGPT = Path(sys.executable).parent / "insidegpt"


@pytest.fixture
def in_course(course, monkeypatch):
    """The small course, as the current folder."""
    monkeypatch.chdir(course)
    return course


def assert_one_sentence(ran, words: str) -> None:
    """The command ended with status 2 and one line, in both languages, that contains the words."""
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1 and " · " in ran.stderr
    assert words in ran.stderr
    assert "Traceback" not in ran.output


def until(condition, seconds: float = 30):
    """Wait until the condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


def test_help_names_the_commands():
    ran = CliRunner().invoke(app, ["--help"])
    assert ran.exit_code == 0
    assert all(command in ran.stdout for command in ("check", "site", "serve", "perplexity"))


def test_starting_imports_nothing_heavy():
    heavy = "torch", "nbgrader", "nbformat", "jupyter_client", "jinja2", "transformers", "matplotlib"
    code = f"import sys, insidegpt.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"print('hello')", "is not a Jupyter notebook that can be read"),
        (b"", "is not a Jupyter notebook that can be read"),
        (b"\xff\xfe\x00", "is not a Jupyter notebook that can be read"),
        (b"[1, 2]", "is not a Jupyter notebook that can be read"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "is not a Jupyter notebook that can be read"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1]}', "is not a Jupyter notebook"),
        (b'{"nbformat": 99, "cells": []}', "is not a Jupyter notebook that can be read"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "holds no exercise of the book"),
    ],
)
def test_a_file_that_cannot_be_graded_is_refused_in_one_sentence(in_course, tmp_path, content, words):
    path = tmp_path / "work.ipynb"
    path.write_bytes(content)
    assert_one_sentence(CliRunner().invoke(app, ["check", str(path)]), words)


def test_a_missing_file_is_refused_in_one_sentence(in_course):
    assert_one_sentence(CliRunner().invoke(app, ["check", "nowhere.ipynb"]), "There is no file nowhere.ipynb")


def test_a_folder_is_refused_in_one_sentence(in_course):
    assert_one_sentence(CliRunner().invoke(app, ["check", "exercises/small"]), "exercises/small is a folder")


def test_a_notebook_of_another_course_is_refused_in_one_sentence(in_course, tmp_path):
    path = tmp_path / "work.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1", metadata=mark("question_1", solution=True))]), path)
    assert_one_sentence(CliRunner().invoke(app, ["check", str(path)]), "holds no exercise of the book")


def test_outside_the_repository_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["check", "work.ipynb"], ["site"], ["serve"]):
        assert_one_sentence(CliRunner().invoke(app, command), "not inside the book's repository")


def test_a_result_that_cannot_be_written_is_one_sentence(in_course, tmp_path):
    command = ["check", "exercises/small/small.ipynb", "--json", str(tmp_path / "no" / "folder.json")]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 2
    assert "folder.json cannot be used (No such file or directory)" in ran.stderr


def test_the_time_limit_is_the_users_to_choose(in_course, tmp_path):
    notebook = nbformat.read("exercises/small/small.ipynb", as_version=4)
    cell(notebook, "times_2").source = "from time import sleep\nsleep(2)"
    nbformat.write(notebook, tmp_path / "slow.ipynb")
    ran = CliRunner().invoke(app, ["check", str(tmp_path / "slow.ipynb"), "--timeout", "1"])
    assert ran.exit_code == 0
    assert "the answer cell did not finish within 1 s" in ran.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="there is a sandbox on Linux alone")
def test_strict_grading_without_the_first_level_of_the_sandbox_is_refused_in_one_sentence(course, tmp_path):
    root = shutil.copytree(course, tmp_path / "course")
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write('c.ExecuteSubmission.strict = True\nc.ExecuteSubmission.best = "landlock"\n')
    ran = CliRunner().invoke(app, ["check", str(root / "exercises" / "small" / "small.ipynb")])
    assert_one_sentence(ran, "Strict grading wants the first level of the sandbox, and this system has less.")


def test_ctrl_c_stops_the_check_and_its_kernels(in_course, tmp_path):
    notebook = nbformat.read("exercises/small/small.ipynb", as_version=4)
    cell(notebook, "times_2").source = "import time\ntime.sleep(600)"
    nbformat.write(notebook, tmp_path / "loop.ipynb")
    command = [INSIDEGPT, "check", tmp_path / "loop.ipynb", "--timeout", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        # the preloaded process, the judge, and a supervisor and a kernel for the learner
        started = until(lambda: [p for p in [psutil.Process(ran.pid).children(recursive=True)] if len(p) >= 4])[0]
        time.sleep(1)  # until the cell runs
        ran.send_signal(signal.SIGINT)
        out, said = ran.communicate(timeout=30)
    assert (ran.returncode, out, said) == (130, "", "stopped · 已停止\n")
    until(lambda: not any(process.is_running() for process in started))


@pytest.fixture
def built_site(in_course):
    """A repository with a site to serve."""
    site = in_course / "_build" / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / "index.html").write_text("<h1>走进 GPT-2</h1>", encoding="utf-8")
    return site


def test_serve_shows_the_site_until_ctrl_c(built_site):
    command = [INSIDEGPT, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        url = ran.stdout.readline().split()[0]
        with urllib.request.urlopen(url) as page:
            assert "走进 GPT-2" in page.read().decode()
        ran.send_signal(signal.SIGINT)
        _, said = ran.communicate(timeout=30)
    assert url.startswith("http://127.0.0.1:")
    assert (ran.returncode, said) == (130, "stopped · 已停止\n")


def test_a_port_in_use_is_one_sentence(built_site):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = CliRunner().invoke(app, ["serve", "--port", str(port)])
    assert_one_sentence(ran, f"Port {port} cannot be used (Address already in use)")


def test_serving_before_building_is_one_sentence(in_course, tmp_path, monkeypatch):
    (tmp_path / "nbgrader_config.py").touch()
    monkeypatch.chdir(tmp_path)
    assert_one_sentence(CliRunner().invoke(app, ["serve"]), "There is no site yet: run `make book` first.")


@pytest.fixture
def story_file(tmp_path):
    """A text of a few hundred tokens."""
    path = tmp_path / "story.txt"
    path.write_text("Mia gave the red ball to the robot, and the robot went home. " * 20, encoding="utf-8")
    return path


def test_perplexity_prints_both_numbers_and_what_they_are_of(story_file):
    from insidegpt.models import load_model
    from insidegpt.perplexity import strided_perplexity

    command = ["perplexity", "--text", str(story_file), "--stride", "50", "--max-length", "100"]
    ran = CliRunner(env={"COLUMNS": "200"}).invoke(app, command)
    assert (ran.exit_code, ran.stderr) == (0, "")
    model, tokenizer = load_model()
    ids = tokenizer(story_file.read_text(), return_tensors="pt").input_ids
    scores = strided_perplexity(model, ids, stride=50, max_length=100)
    said = "story-gpt2", "story.txt", f"{scores.perplexity:.3f}", f"{scores.recipe:.3f}", f"{scores.n_targets:,}"
    assert all(words in ran.stdout for words in (*said, "100, 50", "cpu", "float32", "困惑度"))


def test_perplexity_in_half_precision_says_so(story_file):
    ran = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["perplexity", "--text", str(story_file), "--dtype", "bfloat16"]
    )
    assert ran.exit_code == 0
    assert "bfloat16" in ran.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stride", "300"], "A stride of 300"),
        (["--stride", "0"], "A stride of 0"),
        (["--max-length", "1000"], "The model has 256 positions"),
        (["--dtype", "float8"], "There is no dtype 'float8' here"),
        (["--device", "quantum"], "no kind of device called 'quantum'"),
        (["--model", "/nowhere/at/all"], "no folder /nowhere/at/all"),
        (["--text", "story/test/fr"], "There is no text 'story/test/fr'"),
        (["--text", "nowhere.txt"], "There is no file nowhere.txt"),
    ],
)
def test_what_perplexity_cannot_do_is_one_sentence(story_file, options, words):
    ran = CliRunner().invoke(app, ["perplexity", "--text", str(story_file), *options])
    assert_one_sentence(ran, words)


def test_the_perplexity_of_nothing_is_one_sentence(tmp_path):
    (tmp_path / "empty.txt").touch()
    ran = CliRunner().invoke(app, ["perplexity", "--text", str(tmp_path / "empty.txt")])
    assert_one_sentence(ran, "it takes two at least")


def test_ctrl_c_stops_perplexity_quietly():
    command = [INSIDEGPT, "perplexity", "--text", "story/test/en", "--stride", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        process = psutil.Process(ran.pid)
        until(lambda: process.memory_info().rss > 300 * 2**20)  # PyTorch is there
        time.sleep(1)
        ran.send_signal(signal.SIGINT)
        out, said = ran.communicate(timeout=30)
    assert (ran.returncode, said) == (130, "stopped · 已停止\n")
    assert "Traceback" not in out
