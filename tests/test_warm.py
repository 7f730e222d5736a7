"""Warm kernels: forks of a preloaded process that behave as kernels of their own, and end with the grader."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from insidegpt.grading.preloaded import ENV_ALLOW, Zygote, modules_for
from insidegpt.grading.sandbox import Confinement
from warm_kernels import Ended, WarmKernel, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")

TESTS = Path(__file__).parent


def grandparent(pid: int) -> int:
    """The process that forked the supervisor of this kernel."""
    return psutil.Process(pid).parent().ppid()


def environment() -> dict[str, str]:
    """What a process needs to import this package and the tests' own modules."""
    import insidegpt

    path = [str(Path(insidegpt.__file__).parents[1]), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


@pytest.fixture(scope="module")
def warm():
    """A kernel that tests share."""
    with WarmKernel() as kernel:
        yield kernel


def test_a_kernel_is_a_fork_of_the_preloaded_process(warm):
    assert grandparent(int(warm.run("import os; print(os.getpid())"))) == warm.zygote
    assert warm.run("import sys; print('numpy' in sys.modules, 'torch' in sys.modules)") == "True False"


def test_two_kernels_draw_different_random_numbers(warm):
    draw = "import random, numpy; print(random.random(), numpy.random.rand())"
    with WarmKernel() as other:
        assert set(other.run(draw).split()).isdisjoint(warm.run(draw).split())


def test_a_kernel_has_the_environment_and_the_path_that_it_was_started_with(tmp_path, monkeypatch):
    with WarmKernel():  # the zygote runs, with an environment from before
        (tmp_path / "only_here.py").write_text("value = 7")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("FAVOURITE", "blue")
        with WarmKernel(cwd=tmp_path) as kernel:
            assert kernel.run("import os, only_here; print(os.environ['FAVOURITE'], only_here.value)") == "blue 7"
            assert kernel.run("print(os.getcwd())") == str(tmp_path)
            assert str(TESTS) not in kernel.run("import sys; print(sys.path)")


def test_a_confined_kernel_sees_no_other_variables_than_the_allowed(monkeypatch):
    monkeypatch.setenv("TOKEN", "very-secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    zygote = ["numpy", "json"]  # one of its own, started with the secret in the grader's environment
    with WarmKernel(Confinement(), preload=zygote) as kernel:
        names = set(kernel.run("import os; print(*os.environ)").split())
        assert {"OMP_NUM_THREADS", "HOME", "TMPDIR"} <= names
        assert "TOKEN" not in names and "TOKEN" not in ENV_ALLOW
        assert "very-secret" not in kernel.run("print(open('/proc/self/environ').read())")


def test_an_interrupt_stops_the_cell_and_not_the_kernel(warm):
    sleep = "print('sleeping', flush=True); import time; time.sleep(60)"
    warm.client.execute(sleep, stop_on_error=False)
    while warm.client.get_iopub_msg(timeout=20)["content"].get("text") != "sleeping\n":
        pass
    warm.manager.interrupt_kernel()
    assert warm.run("print('alive')") == "alive"


@pytest.mark.parametrize("confinement", [None, Confinement()], ids=["open", "confined"])
def test_a_socket_is_handed_to_the_kernel_and_closes_with_it(confinement):
    ours, theirs = socket.socketpair()
    with WarmKernel(confinement, inherit=theirs) as kernel:
        theirs.close()
        kernel.run("import os, socket; link = socket.socket(fileno=int(os.environ['INSIDEGPT_LINK']))")
        ours.sendall(b"ping")
        kernel.run("link.sendall(link.recv(4)[::-1])")
        assert ours.recv(4) == b"gnip"
        kernel.run("import subprocess; child = subprocess.Popen(['sleep', '60'])")
        with pytest.raises(Ended):
            kernel.run("os._exit(3)")
        assert kernel.provisioner.process.returncode == 3
        ours.settimeout(10)
        assert ours.recv(4) == b""


def test_the_private_folder_goes_with_the_kernel():
    with WarmKernel() as kernel:
        folder = kernel.folder
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_kernel_can_be_restarted(warm):
    with WarmKernel() as kernel:
        kernel.run("x = 1")
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=60)
        assert kernel.run("x") == "NameError"


def test_what_a_chapters_exercises_or_checks_name_is_imported_in_advance(tmp_path):
    for name, source in {"plain": "import torch", "model": "from insidegpt.models import load_model"}.items():
        (tmp_path / "solutions" / name).mkdir(parents=True)
        (tmp_path / "solutions" / name / f"{name}.ipynb").write_text("{}")
        (tmp_path / "tests" / "hidden").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / "hidden" / f"{name}.py").write_text(source)
    plain, model, both = (modules_for(tmp_path, chapter) for chapter in ("plain", "model", None))
    assert "torch" in plain and "transformers" not in plain
    assert "transformers" in model and "matplotlib.pyplot" not in model
    assert both == model


def test_a_preloaded_process_that_was_killed_is_replaced():
    preload = ["numpy", "csv"]
    with WarmKernel(preload=preload) as kernel:
        first = kernel.zygote
        os.kill(first, signal.SIGKILL)
        Zygote.of(preload).process.wait()
        assert kernel.run("print('alive')") == "alive"
    with WarmKernel(preload=preload) as kernel:
        assert kernel.zygote != first
        assert kernel.run("print('alive')") == "alive"


def test_what_is_no_ipykernel_of_this_python_starts_cold_and_the_log_says_so(caplog):
    argv = [sys.executable, "-m", "ipykernel", "-f", "{connection_file}"]
    with caplog.at_level(logging.WARNING), WarmKernel(argv=argv) as kernel:
        assert kernel.run("import sys; print('numpy' in sys.modules)") == "False"
        folder = kernel.folder
    assert "no warm kernel for" in caplog.text
    assert not folder.exists()


GRADER = """
import os, sys
from insidegpt.grading.sandbox import Confinement
from warm_kernels import WarmKernel

kernels = [WarmKernel().__enter__(), WarmKernel(Confinement()).__enter__()]
kernels[1].client.execute("import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True).wait()")
print(*(k.provisioner.pid for k in kernels), kernels[0].zygote, *(k.folder for k in kernels), flush=True)
sys.stdin.read()
"""


def test_when_the_grader_is_killed_nothing_of_it_is_left():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", GRADER], env=environment(), text=True, **pipes) as grader:
        said = grader.stdout.readline().split()
        zygote = psutil.Process(int(said[2]))
        assert wait_until(lambda: len(zygote.children(recursive=True)) == 5)  # two supervisors, two kernels, sleep
        below = [zygote, *zygote.children(recursive=True)]
        grader.kill()
    assert wait_until(lambda: not [process for process in below if process.is_running()])
    assert wait_until(lambda: not any(Path(folder).exists() for folder in said[3:]))


WORKERS = """
import multiprocessing
from warm_kernels import WarmKernel

def work(_):
    with WarmKernel() as kernel:
        return kernel.zygote, kernel.run("import os; print(os.getppid())")

if __name__ == "__main__":
    with WarmKernel() as kernel:
        zygote = kernel.zygote
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for its, supervisor in pool.map(work, range(4), chunksize=1):
            print(its == zygote, supervisor)
"""


def test_workers_that_were_forked_from_the_grader_share_its_preloaded_process():
    ran = subprocess.run(
        [sys.executable, "-c", WORKERS], env=environment(), text=True, capture_output=True, timeout=120
    )
    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["True"] * 4, ran.stderr
    assert len({line.split()[1] for line in lines}) == 4


def test_a_notebook_under_nbval_runs_in_a_fork_without_cuda(tmp_path):
    code = """
import os, sys
preloaded = {"torch", "insidegpt.checks"} <= set(sys.modules)
parent = open(f"/proc/{os.getppid()}/status").read().split("PPid:")[1].split()[0]
print(preloaded, "insidegpt.grading.zygote" in open(f"/proc/{parent}/cmdline").read())
import torch
print(torch.cuda.is_initialized())
"""
    output = nbformat.v4.new_output("stream", name="stdout", text="True True\nFalse\n")
    nbformat.write(new_notebook(cells=[new_code_cell(code, outputs=[output], execution_count=1)]), tmp_path / "a.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "a.ipynb"]
    warm = {**environment(), "JUPYTER_DEFAULT_PROVISIONER_NAME": "insidegpt-warm"}
    ran = subprocess.run(command, cwd=tmp_path, env=warm, text=True, capture_output=True)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_make_test_runs_nbval_on_warm_kernels():
    makefile = (TESTS.parent / "Makefile").read_text()
    assert re.search(r"JUPYTER_DEFAULT_PROVISIONER_NAME=insidegpt-warm .*--nbval", makefile)
