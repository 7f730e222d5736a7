"""Using up memory, disk, descriptors and patience; bounded, and reserved rather than used where that will do."""

from cheats.kit import cheat


@cheat("reserve 64 GiB of memory", "预留 64 GiB 内存", gains="harm")
def memory(s):
    # not touched, so it costs nothing; a limit counts it all the same
    s.insert("""import mmap
kept = mmap.mmap(-1, 2**36, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
kept[: 2**28] = bytes(2**28)
print(TOKEN, "could reserve 64 GiB of memory")""")


@cheat("leave shared memory behind that outlives every process", "留下比任何进程都长命的共享内存", gains="harm")
def shared_memory(s):
    s.insert("""import ctypes
ctypes.CDLL(None).shmget(int(TOKEN[-6:], 16), 2**26, 0o1600)  # IPC_CREAT, 64 MiB, not touched""")


@cheat("fill the disk", "写满磁盘", gains="harm")
def disk(s):
    s.insert("""for number in range(3):
    with open(f"data{number}.bin", "wb") as file:
        file.write(bytes(40 * 2**20))""")


@cheat("leave a large sparse file", "留下一个很大的稀疏文件", gains="harm")
def sparse_file(s):
    s.insert('with open("data.bin", "wb") as file:\n    file.truncate(120 * 2**20)')


@cheat("five thousand small files", "写五千个小文件", gains="harm")
def many_files(s):
    s.insert("""os.mkdir("many")
for number in range(5000):
    with open(f"many/{number}", "wb") as file:
        file.write(bytes(8192))""")


@cheat("open every file descriptor there is", "打开所有可用的文件描述符", gains="harm")
def descriptors(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    kept = []
    try:
        while len(kept) < 15_000:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    self_attention.kept = kept
    return x, x""")


@cheat("print 30 MB", "打印 30 MB", gains="harm")
def printing(s):
    s.insert("for _ in range(30):\n    print('spam ' * 200_000)")


@cheat("print 30 MB while the cell is graded, as displays", "在评分时显示 30 MB", gains="harm")
def printing_while_graded(s):
    s.answer("""SIZES = [200_000] * 30
def self_attention(x, w_q, w_k, w_v):
    while SIZES:  # at the first call alone: a check calls hundreds of times
        get_ipython().display_pub.publish({"text/plain": "spam " * SIZES.pop()})
    return x, x""")


@cheat("an exception whose message has 30 MB", "抛出消息长 30 MB 的异常", gains="harm")
def long_exception(s):
    s.answer('def self_attention(x, w_q, w_k, w_v):\n    raise ValueError("spam " * 6_000_000)')


@cheat("an exception in the answer cell whose message has 30 MB", "在答题单元格里抛出消息长 30 MB 的异常", gains="harm")
def long_exception_above(s):
    s.answer('raise ValueError("spam " * 6_000_000)')


@cheat("a result of 30 MB", "给出 30 MB 的结果", gains="harm")
def long_result(s):
    s.insert('class Long:\n    def __repr__(self):\n        return "spam " * 6_000_000\nLong()')


@cheat("a picture of 30 MB", "显示 30 MB 的图片", gains="harm")
def large_picture(s):
    s.insert(
        """from IPython.display import Image
Image(data=b"\\x89PNG\\r\\n\\x1a\\n" + os.urandom(22_000_000), format="png")"""
    )


@cheat("outputs changed again and again, a megabyte each", "反复更新输出，每次一兆", gains="harm")
def changed_output(s):
    s.insert("""from IPython.display import display
shown = display({"text/plain": ""}, raw=True, display_id="flood")
for number in range(30):
    shown.update({"text/plain": "spam " * 200_000 + str(number)}, raw=True)
    display({"text/plain": "spam " * 200_000}, raw=True, display_id=f"flood{number}")""")


@cheat(
    "an answer of 256 GiB that takes no memory: one number, expanded", "256 GiB 的答案，其实只占一个数：expand 出来的"
)
def expanded_answer(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    # so much that no machine gives it: whoever makes it dense is refused at once and harms nobody
    return tuple(torch.zeros(1, dtype=x.dtype).expand(2**18, 2**18) for _ in range(2))""")


@cheat("recursion without an end", "没有尽头的递归")
def recursion(s):
    s.answer("def self_attention(*given):\n    return self_attention(*given)")


@cheat("a structure that contains itself", "包含自身的结构")
def endless_structure(s):
    s.answer(
        "def self_attention(x, w_q, w_k, w_v):\n    endless = [x]\n    endless.append(endless)\n    return endless, x"
    )
