"""What can be done to the notebook file without running anything."""

import copy

from nbformat.v4 import new_markdown_cell, new_output

from cheats.kit import WRONG, cheat


def _result(text: str):
    return new_output("execute_result", {"text/plain": text}, execution_count=1)


@cheat("a tag that makes nbclient skip the graded cell", "加上让 nbclient 跳过评分单元格的标签")
def skipped(s):
    for c in s.notebook.cells:
        c.metadata["tags"] = ["skip-execution"]


@cheat("a tag that lets the graded cell raise", "加上允许评分单元格抛异常的标签")
def allowed_to_raise(s):
    for c in s.notebook.cells:
        c.metadata["tags"] = ["raises-exception", "nbval-skip", "remove-output"]


@cheat("results with full points stored in the file", "在文件里存好满分的输出")
def stored_results(s):
    for c in s.notebook.cells:
        if c.metadata.get("nbgrader", {}).get("grade"):
            c.outputs, c.execution_count = [_result("3.0")], 1


@cheat("replace the source of the graded cell", "替换评分单元格的源码")
def replaced_test(s):
    s.cell("test-self_attention").source = "3.0"


@cheat("replace the test and forge its checksum", "替换测试并伪造校验和")
def forged_checksum(s):
    from nbgrader.utils import compute_checksum

    c = s.cell("test-self_attention")
    c.source = "3.0"
    c.metadata["nbgrader"]["checksum"] = compute_checksum(c)


@cheat("more points in the metadata", "在元数据里加分")
def more_points(s):
    c = s.cell("test-self_attention")
    c.metadata["nbgrader"]["points"] = 100
    c.source = "100.0"


@cheat("declare the test a solution, which is the student's to write", "把测试声明为由学生作答的单元格")
def test_as_solution(s):
    c = s.cell("test-self_attention")
    c.metadata["nbgrader"] |= {"solution": True, "locked": False}
    c.source = "3.0"


@cheat("take the lock off the test", "去掉测试的锁")
def unlocked(s):
    c = s.cell("test-self_attention")
    c.metadata["nbgrader"] |= {"locked": False, "grade": False}
    c.source = "3.0"


@cheat("declare the answer a graded cell, with a result of its own", "把答题单元格声明为评分单元格，自带结果")
def graded_answer(s):
    c = s.cell("self_attention")
    c.metadata["nbgrader"] |= {"grade": True, "solution": False, "points": 18}
    c.source = "18.0"


@cheat("a second test cell of the same name, after the first", "在第一个测试之后再放一个同名的测试")
def doubled_test(s):
    c = s.cell("test-self_attention")
    twin = copy.deepcopy(c)
    twin.source, twin.id = "3.0", "twin"
    s.notebook.cells.insert(s.notebook.cells.index(c) + 1, twin)


@cheat("exchange the names of a blank exercise's test and one's own cell", "把测试单元格与自己的单元格互换名字")
def exchanged_names(s):
    answer, test = s.cell("self_attention"), s.cell("test-self_attention")
    answer.metadata, test.metadata = test.metadata, answer.metadata
    answer.source = "3.0"


@cheat("the test before the answer, with an answer that needs nothing", "把测试挪到答案之前")
def test_first(s):
    test = s.cell("test-self_attention")
    s.notebook.cells.remove(test)
    s.notebook.cells.insert(0, test)
    s.answer(WRONG)


@cheat("a cell right before the test that answers for it", "在测试之前插入一个替它作答的单元格")
def cell_before_the_test(s):
    s.answer(WRONG)
    s.insert("check = lambda answer, points: 3.0\n3.0", before="test-self_attention")


@cheat("a cell after the test that gives the points again", "在测试之后再给一次分")
def cell_after_the_test(s):
    place = s.notebook.cells.index(s.cell("test-self_attention"))
    twin = copy.deepcopy(s.cell("setup"))
    twin.source, twin.metadata, twin.id = "3.0", {}, "after"
    s.notebook.cells.insert(place + 1, twin)


@cheat("turn the test into text", "把测试变成文字单元格")
def test_as_text(s):
    c = s.cell("test-self_attention")
    place = s.notebook.cells.index(c)
    s.notebook.cells[place] = new_markdown_cell("3.0", metadata=c.metadata)


@cheat("leave the test out", "删掉测试")
def no_test(s):
    for exercise in ("self_attention", "transfer_weights", "score_statistics", "MultiHeadAttention", "cross_attention"):
        s.notebook.cells.remove(s.cell(f"test-{exercise}"))


@cheat("write into the locked set-up cell", "改写锁定的准备单元格")
def changed_setup(s):
    s.cell(
        "setup"
    ).source += "\nimport insidegpt.checks as kit\nkit.Check.__call__ = lambda self, a, points: float(points)"
    s.answer(WRONG)


@cheat("a kernel of one's own in the notebook's metadata", "在元数据里指定自己的内核")
def own_kernel(s):
    s.notebook.metadata["kernelspec"] = {"name": "generous", "display_name": "Generous", "language": "python"}
    s.files["share/jupyter/kernels/generous/kernel.json"] = '{"argv": ["true"], "language": "python"}'


@cheat("a second notebook and one in a folder, with results stored", "再交一个带结果的笔记本")
def second_notebook(s):
    import nbformat

    twin = copy.deepcopy(s.notebook)
    for c in twin.cells:
        if c.metadata.get("nbgrader", {}).get("grade"):
            c.source, c.outputs = "3.0", [_result("3.0")]
    s.files["attention2.ipynb"] = s.files["more/attention.ipynb"] = nbformat.writes(twin)


@cheat("claim in the metadata that it was graded by hand", "在元数据里声称已人工评分")
def graded_by_hand(s):
    for c in s.notebook.cells:
        if "nbgrader" in c.metadata:
            c.metadata["nbgrader"] |= {"manual_score": 5, "score": 5, "extra_credit": 5, "task": True, "points": 5}


@cheat("hand in early: a forged time stamp", "提前交：伪造时间戳", gains="harm")
def forged_time(s):
    s.files["timestamp.txt"] = "1999-01-01 00:00:00 UTC"


@cheat("attachments that hold a script", "带脚本的附件", gains="harm")
def attachments(s):
    script = f"<script>{s.token}</script>"
    text = new_markdown_cell(f"![x](attachment:x.svg)\n{script}")
    text["attachments"] = {"x.svg": {"image/svg+xml": script}}
    s.notebook.cells.insert(0, text)


@cheat("an output that puts a script into the teacher's page", "用输出把脚本放进老师的页面", gains="harm")
def script_in_an_output(s):
    s.insert('from IPython.display import HTML, display\ndisplay(HTML(f"<script>{TOKEN}</script>"))')
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    get_ipython().display_pub.publish({"text/html": f"<script>{TOKEN}</script>", "text/plain": ""})
    return x, x""")


@cheat("a notebook of 40 MB", "40 MB 的笔记本", gains="harm")
def large_notebook(s):
    s.notebook.cells.insert(0, new_markdown_cell("spam " * 8_000_000))


@cheat("three thousand cells", "三千个单元格", gains="harm")
def many_cells(s):
    s.notebook.cells[:0] = [new_markdown_cell(str(number)) for number in range(3000)]


@cheat("text nested deeper than a reader can follow", "嵌套得读取程序跟不上的文字", gains="harm")
def nested_text(s):
    s.notebook.cells.insert(0, new_markdown_cell("> " * 500 + "[" * 2000 + "*" * 2000))


@cheat(
    "a file beside the notebook with the name of nbgrader's own", "放上与 nbgrader 自己的文件同名的文件", gains="harm"
)
def nbgraders_files(s):
    s.files["nbgrader_config.py"] = "c = get_config()\nc.Execute.timeout = 1\nc.CourseDirectory.root = '/'\n"
    s.files["gradebook.db"] = "none"


@cheat("shell and cell magics instead of Python", "用 shell 与单元格魔法命令代替 Python", gains="harm")
def magics(s):
    s.insert("%%bash\nsleep 0; cat $HOME/diary.txt; env | grep GRADERS_KEY")
