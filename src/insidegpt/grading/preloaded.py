"""The preloaded process as the grader sees it: what it imports, and how it is asked for a kernel or a judge.

This module imports little, so that a command can start the process first and import what it needs itself meanwhile.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import ClassVar

_ALL = ("torch", "torch.testing", "insidegpt.checks", "insidegpt.grading.judge_shell")
"""What all of the book's notebooks and checks import."""

_TRANSFORMERS = ("transformers", "transformers.modeling_utils", "transformers.models.gpt2.modeling_gpt2")
_SOME = {
    "matplotlib": ("matplotlib.pyplot",),
    "networkx": ("networkx",),
    "transformers": _TRANSFORMERS,
    "insidegpt.models": _TRANSFORMERS,
    **dict.fromkeys(("gradcheck", "broadcast_shapes", "autograd.grad"), ("torch.fx.experimental.symbolic_shapes",)),
}
"""What some of them import, by what they name then."""

PRELOAD = [*_ALL, "matplotlib.pyplot", "networkx", *_TRANSFORMERS]
"""What is imported in advance where nothing else is asked for."""

ENV_ALLOW = [
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "INSIDEGPT_MODEL",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "MPLBACKEND",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PATH",
    "TZ",
    "VIRTUAL_ENV",
]
"""The environment variables of the grader that a submission may see."""


# One thread a kernel, unless the environment says more: several run at a time, and what they compute is small.
ZYGOTE_ENV = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as ipykernel sets it, before matplotlib is imported
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # asking for GPUs must not start CUDA
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # no warning from the debugger that ipykernel imports
}


def modules_for(root: Path, chapter: str | None) -> list[str]:
    """What to import in advance for a chapter of the course at `root`, or for all: what its exercises and checks name.

    What is missing costs time and nothing else.
    """
    name = chapter or "*"
    sources = [*root.glob(f"solutions/{name}/*.ipynb"), *root.glob(f"tests/hidden/{name}.py")]
    text = "\n".join(source.read_text(encoding="utf-8", errors="replace") for source in sources)
    return list(dict.fromkeys([*_ALL, *(module for name, some in _SOME.items() if name in text for module in some)]))


class Zygote:
    """The grader's side of the zygote: one process for each list of modules, which it imports before it forks a kernel.

    It is shared with forked workers. How many threads numpy and torch use is decided when it starts, by the environment
    of then.
    """

    _running: ClassVar[dict[tuple[str, ...], Zygote]] = {}
    _lock = Lock()

    @classmethod
    def of(cls, preload: Sequence[str]) -> Zygote:
        """The one with these modules, started if there is none; returns at once, while it is still importing."""
        with cls._lock:
            key = tuple(preload)
            if key not in cls._running:
                cls._running[key] = cls(key)
            return cls._running[key]

    def __init__(self, preload: tuple[str, ...]):
        self._key = preload
        self.control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        allowed = {name: os.environ[name] for name in (*ENV_ALLOW, "HOME", "PYTHONPATH") if name in os.environ}
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "insidegpt.grading.zygote", str(other.fileno()), *preload],
                env={"OMP_NUM_THREADS": "1"} | allowed | ZYGOTE_ENV,
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self.control.close)

    @classmethod
    def ask(cls, preload: Sequence[str], request: dict, *sockets: Connection | socket.socket) -> None:
        """Send a request with the sockets that it is about, to the zygote with these modules."""
        try:
            cls.of(preload)._send(request, sockets)
        except OSError:  # it was killed since: by the system for want of memory, say
            cls.of(preload)._send(request, sockets)

    def _send(self, request: dict, sockets: Sequence[Connection | socket.socket]) -> None:
        request["cores"] = sorted(os.sched_getaffinity(0))
        try:
            socket.send_fds(self.control, [json.dumps(request).encode()], [s.fileno() for s in sockets])
        except OSError:
            self._running.pop(self._key, None)
            raise
