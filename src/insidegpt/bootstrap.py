"""Make the environment `.venv` from nothing: `python3 src/insidegpt/bootstrap.py` in the repository.

Runs before anything is installed, so it uses the standard library alone, and it is written so that an
older Python can still read it and say what is wrong.
"""

import os
import shutil
import subprocess
import sys

NEEDED = (3, 11)
NEEDED_GB = 4  # an environment with the CPU build of PyTorch takes 2.2 GB, and pip unpacks beside it


def problem(version, free_bytes):
    """The sentence, in English and Chinese, that says why no environment can be made here, or None.

    version: the first two numbers of the Python that runs; free_bytes: space left on the repository's disk.
    """
    if version[:2] != NEEDED:
        return (
            f"This is Python {version[0]}.{version[1]}, and the pinned environment needs Python 3.11: "
            "install that, then run `make book PYTHON=python3.11`. · "
            f"当前是 Python {version[0]}.{version[1]}，固定版本的环境需要 Python 3.11：请安装后运行 "
            "`make book PYTHON=python3.11`。"
        )
    if free_bytes < NEEDED_GB * 10**9:
        return (
            f"Only {free_bytes / 1e9:.1f} GB are free on this disk, and the environment needs {NEEDED_GB} GB: "
            "make room, then run it again. · "
            f"磁盘只剩 {free_bytes / 1e9:.1f} GB，环境需要 {NEEDED_GB} GB：请腾出空间后重试。"
        )
    return None


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    said = problem(sys.version_info, shutil.disk_usage(root).free)
    if said:
        sys.exit(said)
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            "This Python has no venv module: install it (Debian and Ubuntu: python3.11-venv), then run it again. · "
            "这个 Python 没有 venv 模块：请安装后重试（Debian 与 Ubuntu：python3.11-venv）。"
        )
    folder = os.path.join(root, ".venv")
    python = os.path.join(folder, "bin", "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    print("Setting up .venv from requirements.txt …", flush=True)
    for step in (
        [sys.executable, "-m", "venv", folder],
        [*pip, "install", "--requirement", os.path.join(root, "requirements.txt")],
        [*pip, "install", "--no-deps", "--no-build-isolation", "--editable", root],
    ):
        if run(step) != 0:
            sys.exit(
                f"Setting up .venv stopped at `{' '.join(step[1:])}` (the reason stands above): mend that and run "
                "the same command again, it goes on from what is already there. · "
                "建立 .venv 时中断（原因见上）：解决之后重新运行同一条命令，会接着已完成的部分继续。"
            )


def run(step):
    """Run a command, show what it does but not what was already done, and return its exit status."""
    with subprocess.Popen(step, stdout=subprocess.PIPE, text=True) as command:
        for line in command.stdout:
            if not line.startswith(("Requirement already satisfied", "Looking in ")):
                print(line, end="", flush=True)
    return command.returncode


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here · 已停止；重新运行同一条命令即可继续", file=sys.stderr)
        sys.exit(130)
