"""A department's machines, each a process on loopback: a PostgreSQL server, a Dask scheduler, workers."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian keeps PostgreSQL's programs."""


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds: float = 120) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Postgres:
    """A PostgreSQL server in a folder of its own; not as root, which it refuses."""

    def __init__(self):
        """Make and start it."""
        self._user = _other_user() if os.geteuid() == 0 else None
        self._folder = tempfile.mkdtemp(prefix="pg-", dir="/tmp")  # a socket's path must be short
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        self.port = free_port()
        self._run("initdb", "--auth=trust", "--username=teacher", "--encoding=UTF8", "--locale=C", "--no-sync")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "PGDATA": f"{self._folder}/data"}
        command = [PROGRAMS[-1] / program, *arguments]
        subprocess.run(
            command, user=self._user, env=environment, cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=60
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = f"-F -p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self._folder}/log", f"--options={settings}")

    def stop(self) -> None:
        """Stop it as a power cut would."""
        self._run("pg_ctl", "stop", "--mode=immediate", "--silent")

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._folder)

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        import psycopg

        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def address(self, name: str) -> str:
        """The address of a database."""
        return f"postgresql://teacher@127.0.0.1:{self.port}/{name}"


def _other_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


class Cluster:
    """A Dask scheduler, and workers that are added one by one."""

    def __init__(self, folder: Path):
        """Start the scheduler. folder: for what the workers write."""
        self._folder, self._port = folder, free_port()
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.workers: list[psutil.Process] = []
        self.start()

    def start(self) -> None:
        """Start the scheduler, again at the same address."""
        here = ["--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"]
        self.scheduler = self._spawn("scheduler", *here)

    def _spawn(self, *arguments: str, wrapped: tuple[str, ...] = (), **variables: str) -> psutil.Process:
        command = [*wrapped, sys.executable, "-m", "dask", *arguments]
        with (self._folder / "log").open("a") as log:
            return psutil.Popen(
                command, env={**os.environ, **variables}, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )

    def add(self, *arguments: str, wrapped: tuple[str, ...] = (), **variables: str) -> psutil.Process:
        """Start a worker. wrapped: what stands before its command; variables: of its environment."""
        name = f"worker-{len(self.workers)}"
        here = ["--name", name, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory"]
        place = str(self._folder / name)
        self.workers.append(self._spawn("worker", self.address, *here, place, *arguments, wrapped=wrapped, **variables))
        return self.workers[-1]

    def ready(self) -> None:
        """Wait until the scheduler knows all workers."""
        until(lambda: (self._folder / "log").read_text().count("Registered to:") == len(self.workers))

    def stop(self) -> None:
        """Kill all that is left, and wait until its kernels have ended."""
        for process in [self.scheduler, *self.workers]:
            kill(process)


def kill(process: psutil.Process) -> None:
    """Kill -9, and wait until the process and all that it had started have ended."""
    try:
        family = process.children(recursive=True)
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return
    process.wait()
    assert psutil.wait_procs(family, timeout=20)[1] == []
