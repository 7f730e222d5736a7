"""Tests of the frames between the two processes, and of a student's process that sends anything at all."""

import contextlib
import random
import socket
import struct
import threading
import time

import msgpack
import pytest
import torch

import linked_answers
from insidegpt.grading.judge import Judge
from insidegpt.grading.student import Student
from insidegpt.grading.transport import BULK, TREE, BadReply, Channel, LinkError, StudentGone, pack, unpack


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def header(tree, bulk):
    return struct.pack(">IQ", tree, bulk)


def test_a_frame_arrives_as_it_was_sent(ends):
    one, other = map(Channel, ends)
    one.send((1, -2.5, "词", b"\0", None, (True, ())), [b"ab", b"", b"c"])
    tree, bulk = other.receive()
    assert tree == (1, -2.5, "词", b"\0", None, (True, ())) and bytes(bulk) == b"abc"


@pytest.mark.parametrize("announced", [(TREE + 1, 0), (1, BULK + 1), (0xFFFFFFFF, 1 << 63)])
def test_a_frame_too_large_is_refused_before_it_is_read(ends, announced):
    ends[1].sendall(header(*announced))
    with pytest.raises(BadReply, match="too large"):
        Channel(ends[0]).receive()


@pytest.mark.parametrize("sent", [b"", b"\0\0", header(4, 0), header(4, BULK) + b"abcd"])
def test_a_frame_cut_off_is_the_end_of_the_other_process(ends, sent):
    ends[1].sendall(sent)
    ends[1].close()
    with pytest.raises(StudentGone, match="has ended"):
        Channel(ends[0]).receive()


def test_a_wait_ends_at_the_deadline_though_bytes_trickle_in(ends):
    one = Channel(ends[0])
    one.deadline = time.monotonic() + 0.3

    def trickle():
        with contextlib.suppress(OSError):
            for byte in header(1000, 0) + bytes(1000):
                ends[1].send(bytes([byte]))
                time.sleep(0.01)

    thread = threading.Thread(target=trickle)
    thread.start()
    with pytest.raises(StudentGone, match="in time"):
        one.receive()
    ends[0].close()
    thread.join()


def test_sending_ends_at_the_deadline_though_nobody_reads(ends):
    one = Channel(ends[0])
    one.deadline = time.monotonic() + 0.2
    with pytest.raises(StudentGone, match="in time"):
        one.send(None, [bytes(16 << 20)])


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xc1", b"\x91", b"\x01\x02", b"\xdd\xff\xff\xff\xff", msgpack.packb({"a": 1}), b"\x91" * 5000),
        *(msgpack.packb(msgpack.ExtType(5, b"x")), b"\x80"),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_plain_data_is_malformed(data):
    with pytest.raises(BadReply):
        unpack(data)


# --- a hostile student --------------------------------------------------------------------------------------------


def result():
    """An answer with something of everything."""
    x = torch.arange(6.0, requires_grad=True)
    net = linked_answers.Net(2)
    return {"x": x * 2, "flags": x > 1, "views": [x.T, x[1:]], "n": (1, 2.5, "s", b"b"), "net": net, "set": {1}}


class Recording(Channel):
    """Keeps what its frames are made of."""

    def __init__(self, connection):
        super().__init__(connection)
        self.frames = []

    def send(self, tree, bulk):
        self.frames.append((tree, bulk))
        super().send(tree, bulk)


@pytest.fixture(scope="module")
def frames():
    """The two frames in which a student gives the name `result` and what it returns."""
    one, other = socket.socketpair()
    with one, other:
        student = Student(Recording(other), {"result": result})

        def answer():
            for _ in range(2):
                student.answer(student._receive()[1])

        thread = threading.Thread(target=answer)
        thread.start()
        names = {}
        Judge(Channel(one)).bind(names, ["result"])
        names["result"]()
        thread.join()
        return student.channel.frames


def replay(frames, second: bytes):
    """What a fresh judge makes of the first frame, and of these bytes in place of the second."""
    one, other = socket.socketpair()
    with one, other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        Channel(other).send(*frames[0])
        other.sendall(second)
        other.shutdown(socket.SHUT_WR)
        judge, names = Judge(Channel(one), timeout=5), {}
        judge.bind(names, ["result"])
        try:
            return names["result"]()
        finally:
            judge.stop()


def frame(tree, bulk) -> bytes:
    body, bulk = pack(tree), b"".join(bulk)
    return header(len(body), len(bulk)) + body + bulk


NASTY = [
    *(
        None,
        True,
        0,
        1,
        2,
        -1,
        7,
        1 << 40,
        1 << 62,
        -(1 << 63),
        0.5,
        float("nan"),
        "",
        "x",
        "storage",
        "tensor",
        "class",
    ),
    *(
        "object",
        "handle",
        "module",
        "__class__",
        "cuda:9",
        "meta",
        "float64",
        "bool",
        b"",
        b"\xc1",
        b"\x93\1\2\3",
        (),
        ((),),
    ),
    *(("@", 0), ("@", 2), ("@", 1 << 50), ("T", "eval"), ("T", "type"), ("n", "O", b"12345678"), ("i", "f" * 99)),
]


def spoiled(data, chance: random.Random):
    """The data with one part of it, at any depth, replaced, left out, doubled or exchanged."""
    if isinstance(data, bytes) and data and chance.random() < 0.9:
        with contextlib.suppress(BadReply):
            return pack(spoiled(unpack(data), chance))
    if not isinstance(data, tuple) or not data or chance.random() < 0.1:
        return chance.choice(NASTY)
    data, place = list(data), chance.randrange(len(data))
    how = chance.random()
    if how < 0.85:
        data[place] = spoiled(data[place], chance)
    elif how < 0.9:
        del data[place]
    elif how < 0.95:
        data.insert(place, data[place])
    else:
        chance.shuffle(data)
    return tuple(data)


def test_the_true_answer_replayed_is_the_answer(frames):
    assert replay(frames, frame(*frames[1]))["n"] == (1, 2.5, "s", b"b")


@pytest.mark.parametrize("seed", range(8))
def test_a_spoiled_answer_is_a_value_or_malformed_and_nothing_else(frames, seed):
    chance, refused = random.Random(seed), 0
    for _ in range(60):
        (message, dropped), bulk = frames[1]
        tree = unpack(pack((message, dropped)))
        try:
            look_at(replay(frames, frame(spoiled(tree, chance), bulk)))
        except BadReply:
            refused += 1
        except StudentGone as gone:
            assert "has ended" in str(gone)  # a request in place of the reply, and then nothing more
    assert refused > 10


def look_at(answer):
    """Use what came, as a check would: it may be wrong, but it has to be sound."""
    for x in answer.values() if isinstance(answer, dict) else []:
        for y in x if isinstance(x, (list, tuple)) else [x]:
            if isinstance(y, torch.Tensor):
                y.detach().clone().sum()


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_in_an_answer_are_a_value_or_malformed_and_nothing_else(frames, seed):
    chance, true = random.Random(seed), frame(*frames[1])
    for _ in range(60):
        spoiled = bytearray(true)
        for _ in range(chance.choice([1, 3, 30])):
            spoiled[chance.randrange(12, len(spoiled))] = chance.randrange(256)
        with contextlib.suppress(LinkError):
            look_at(replay(frames, bytes(spoiled)))


def test_a_tensor_that_is_larger_than_its_memory_is_refused(frames):
    (message, dropped), bulk = frames[1]
    parts = list(unpack(message))

    def larger(node):
        number, kind, state = node[:3]
        return (
            (number, kind, pack((*unpack(state)[:2], (1 << 20,), (1,), *unpack(state)[4:])))
            if kind == "tensor"
            else node
        )

    parts[4] = tuple(map(larger, parts[4]))
    with pytest.raises(BadReply, match="larger than its memory"):
        replay(frames, frame((pack(tuple(parts)), dropped), bulk))
