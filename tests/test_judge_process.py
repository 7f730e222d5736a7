"""The judge's process: what came of a piece of code is said as a notebook's outputs, whatever the code did."""

import os
import socket

import psutil
import pytest

from insidegpt.grading import judge_process
from insidegpt.grading.judge_process import JudgeProcess
from insidegpt.grading.preloaded import PRELOAD
from insidegpt.outcome import REPORT
from warm_kernels import wait_until


def start(folder, tests="") -> JudgeProcess:
    """A process with a link to nobody, ready to run code."""
    here, there = socket.socketpair()
    with here, there:
        judge = JudgeProcess(folder, str(tests), PRELOAD, 60, here)
    assert judge.run("1").outputs[0].data["text/plain"] == "1"
    return judge


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A process that tests share."""
    judge = start(tmp_path_factory.mktemp("judge"))
    yield judge
    judge.stop()


def test_what_is_printed_and_the_last_value_are_outputs(judge):
    cell = judge.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n1.5")
    assert [(o.output_type, o.get("name"), o.get("text")) for o in cell.outputs[:2]] == [
        ("stream", "stdout", "out\n"),
        ("stream", "stderr", "err\n"),
    ]
    assert cell.outputs[2].output_type == "execute_result" and cell.outputs[2].data == {"text/plain": "1.5"}
    assert len(cell.outputs) == 3


def test_each_piece_has_the_next_number_and_sees_what_the_ones_before_have_set(judge):
    first, second = judge.run("x = 1"), judge.run("x + 1")
    assert second.execution_count == first.execution_count + 1
    assert second.outputs[0].execution_count == second.execution_count
    assert second.outputs[0].data["text/plain"] == "2"


def test_the_report_of_a_check_is_an_output(judge):
    cell = judge.run("from insidegpt.checks import Check\nCheck('nothing')(None, points=0)")
    assert cell.outputs[0].data[REPORT] == {"exercise": "nothing", "properties": []}


def test_a_picture_is_an_output(judge):
    cell = judge.run("from IPython.display import Image, display\ndisplay(Image(data=b'\\x89PNG', format='png'))")
    assert cell.outputs[0].data["image/png"].strip() == "iVBORw=="


def test_an_error_says_in_which_lines_of_cells_it_was_raised(judge):
    judge.run("def outer():\n    assert None is not None, 'no'")
    error = judge.run("y = 1\nouter()\nz = 2").outputs[-1]
    assert (error.ename, error.evalue) == ("AssertionError", "no")
    assert [line.strip() for line in error.traceback] == ["outer()", "assert None is not None, 'no'"]
    assert judge.run("y").outputs and judge.alive


def test_what_is_printed_is_kept_in_bounds(judge):
    assert len(judge.run("print('x' * 100_000)").outputs[0].text) == judge_process.PRINTED


def test_the_hidden_tests_can_be_imported_and_the_folder_it_runs_in_cannot(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "only_there.py").write_text("value = 7")
    (tmp_path / "of_the_learner.py").write_text("value = 8")
    judge = start(tmp_path, tmp_path / "tests")
    assert judge.run("import only_there; only_there.value").outputs[0].data["text/plain"] == "7"
    assert judge.run("import of_the_learner").outputs[0].ename == "ModuleNotFoundError"
    judge.stop()


def test_a_piece_that_takes_too_long_is_interrupted_and_what_it_printed_is_kept(tmp_path):
    judge = start(tmp_path)
    judge.seconds = 1
    outputs = judge.run("print('so far')\nwhile True: pass").outputs
    assert outputs[0].text == "so far\n" and outputs[-1].ename == "CellTimeoutError"
    assert not judge.alive
    judge.stop()


def test_a_piece_that_cannot_be_interrupted_is_given_up(tmp_path):
    judge = start(tmp_path)
    judge.seconds = 1
    hang = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('lost')\ntime.sleep(60)"
    assert [o.ename for o in judge.run(hang).outputs] == ["CellTimeoutError"]
    assert not judge.alive
    judge.stop()


def test_the_end_of_the_process_is_noticed(tmp_path):
    judge = start(tmp_path)
    assert [o.ename for o in judge.run("import os; os._exit(3)").outputs] == ["DeadKernelError"]
    assert not judge.alive
    assert [o.ename for o in judge.run("1").outputs] == ["DeadKernelError"]
    judge.stop()


@pytest.mark.parametrize("cold", [False, True], ids=["forked", "new"])
def test_it_ends_with_its_connection_even_in_the_middle_of_a_piece(tmp_path, monkeypatch, cold):
    if cold:
        monkeypatch.setattr(judge_process.sys, "platform", "darwin")
    judge = start(tmp_path)
    process = psutil.Process(int(judge.run("import os; os.getpid()").outputs[0].data["text/plain"]))
    assert (process.ppid() == os.getpid()) == cold
    judge.bind([], seconds=1)
    judge._send({"run": "while True: pass"})
    judge.stop()
    assert wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_a_new_process_says_the_same_as_a_forked_one(tmp_path, monkeypatch, judge):
    monkeypatch.setattr(judge_process.sys, "platform", "darwin")
    cold = start(tmp_path)
    source = "print('out')\nimport torch\ntorch.ones(2)"
    assert cold.run(source).outputs[0] == judge.run(source).outputs[0]
    cold.stop()
