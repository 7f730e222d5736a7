"""The system calls of Linux that the sandbox is made of and that Python 3.11 has no names for.

Each raises OSError where the system refuses or does not know it. Numbers and structures: the kernel's own headers
(sched.h, mount.h, prctl.h, capability.h, landlock.h, seccomp.h) and `man 7 landlock`, `man 2 seccomp`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = (1 << bit for bit in (17, 26, 27, 28, 29, 30))

BIND, RECURSIVE, PRIVATE = 1 << 12, 1 << 14, 1 << 18
NOSUID, NODEV, NOEXEC = 2, 4, 8
READ_ONLY = 1


def _call(function: str | int, *arguments) -> int:
    """Call a function of libc by name, or a system call by number; its result, or OSError."""
    numbers = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if isinstance(function, int):
        result = _libc.syscall(ctypes.c_long(function), *numbers)
    else:
        result = getattr(_libc, function)(*numbers)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(function))
    return result


# Processes


def die_with_parent() -> None:
    """Have this process killed when the thread that forked it ends."""
    _call("prctl", 1, 9, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every process further down whose own parent ends."""
    _call("prctl", 36, 1, 0, 0, 0)


def gain_no_privileges() -> None:
    """From here on no program that is run, set-user-ID or not, has more rights than this process."""
    _call("prctl", 38, 1, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up all that root may do beyond a user, for good; a process that may do nothing stays as it is."""
    try:
        for capability in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
            _call("prctl", 24, capability, 0, 0, 0)
        _call("prctl", 28, 0b1111, 0, 0, 0)  # being user 0 gives nothing, nor does becoming user 0; locked
    except PermissionError:
        pass  # whoever may not drop them from the bounding set cannot gain them: see gain_no_privileges
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
    _call("capset", header, ctypes.create_string_buffer(24))


# Namespaces and mounts


def unshare(namespaces: int) -> None:
    """Leave the namespaces of these kinds for new ones; the caller has one thread."""
    _call("unshare", namespaces)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """`mount -t kind -o options source target`."""
    _call("mount", source.encode(), target.encode(), kind and kind.encode(), flags, options.encode())


def restrict_mount(target: str, attributes: int, recursive: bool = True) -> None:
    """Add READ_ONLY, NOSUID, NODEV or NOEXEC to a mount, and to those below it."""
    attr = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
    _call(442, -100, target.encode(), 0x8000 if recursive else 0, attr, 32)  # mount_setattr, of Linux 5.12


def change_root(root: str) -> None:
    """Make this mount the root, and let go of everything else that was mounted."""
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", 2)  # detach the old root, which lies on top of the new
    os.chdir("/")


# Landlock

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_SYM = (1 << bit for bit in (7, 8, 9, 10, 12))
REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in (13, 14, 15))
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
WRITE |= REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
_FILE = EXECUTE | DEVICE
_FILES_SINCE = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many kinds of access to files Landlock knows since which of its versions."""


def landlock_version() -> int:
    """The version of Landlock that this system offers, 0 without it."""
    try:
        return _call(444, None, 0, 1)
    except OSError:
        return 0


def landlock(allowed: Iterable[tuple[str, int]]) -> None:
    """Allow this process and its children these paths alone, each with what lies below it, and no TCP.

    allowed: (path, accesses); paths that do not exist are left out. Reading the memory of processes outside is
    refused too, and from version 6 signalling them and connecting to their abstract sockets.
    """
    version = landlock_version()
    if not version:
        raise OSError("Landlock is not available")
    files = (1 << max(bits for since, bits in _FILES_SINCE.items() if since <= version)) - 1
    tcp = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0
    fields = [files, tcp, scopes][: 3 if scopes else 2 if tcp else 1]
    attr = struct.pack(f"={len(fields)}Q", *fields)
    rules = _call(444, ctypes.create_string_buffer(attr, len(attr)), len(attr), 0)
    for path, accesses in allowed:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        accesses &= files if os.path.isdir(path) else files & _FILE
        _call(445, rules, 1, ctypes.create_string_buffer(struct.pack("=Qi", accesses, place), 12), 0)
        os.close(place)
    gain_no_privileges()
    _call(446, rules, 0)
    os.close(rules)


# seccomp

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_REFUSED = {  # memfd_create, memfd_secret, shmget, msgget, io_uring_setup, add_key, request_key, keyctl
    "x86_64": (319, 447, 29, 68, 425, 248, 249, 250),
    "aarch64": (279, 447, 194, 186, 425, 217, 218, 219),
}


def refuse_calls() -> None:
    """Refuse the system calls that nothing else here holds in: memory no limit counts, keys of the user, sockets.

    Sockets are refused, but for AF_UNIX and AF_NETLINK, with which libzmq reads the list of network interfaces, and
    io_uring, which could open them past this filter. Processors other than x86-64 and 64-bit ARM go without it.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        return
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    refuse, allow = (give, 0, 0, 0x00050000 | 1), (give, 0, 0, 0x7FFF0000)  # 1: EPERM
    program = [(load, 0, 0, 4), (equal, 1, 0, _MACHINES[machine]), refuse, (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), refuse]  # the other numbering that x86-64 has
    for number in _REFUSED[machine]:
        program += [(equal, 0, 1, number), refuse]
    program += [(equal, 0, 4, _SOCKET[machine]), (load, 0, 0, 16), (equal, 2, 0, 1), (equal, 1, 0, 16), refuse, allow]
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    steps = ctypes.create_string_buffer(code, len(code))
    whole = struct.pack("@HP", len(program), ctypes.addressof(steps))
    gain_no_privileges()
    _call("prctl", 22, 2, ctypes.create_string_buffer(whole, len(whole)), 0, 0)
