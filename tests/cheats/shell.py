"""Tampering with IPython and the kernel, which run the graded cell and report what it gave."""

from cheats.kit import WRONG, cheat


@cheat("show 3.0 as the cell's result, then break off", "先把 3.0 显示为单元格的结果，再中断")
def displayhook(s):
    # the first number among the outputs counts for nbgrader
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    import sys
    sys.displayhook(3.0)
    raise NotImplementedError""")


@cheat("replace sys.displayhook, so that every result is 3.0", "替换 sys.displayhook，让每个结果都是 3.0")
def displayhook_of_lies(s):
    s.insert("""shown = get_ipython().displayhook.__class__.__call__
get_ipython().displayhook.__class__.__call__ = lambda self, result=None: shown(self, 3.0)""")
    s.answer(WRONG)


@cheat("replace run_cell_async by one that runs nothing", "把 run_cell_async 换成什么都不运行的函数")
def run_cell(s):
    s.insert("""from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult
async def nothing(*a, **k):
    return ExecutionResult(ExecutionInfo("", False, False, False, ""))
get_ipython().run_cell_async = nothing""")


@cheat("replace the kernel's do_execute by one that says ok", "把内核的 do_execute 换成只说 ok 的函数")
def do_execute(s):
    s.insert("""async def ok(*a, **k):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
get_ipython().kernel.do_execute = ok""")


@cheat("an input transformer turns the graded cell into 3.0", "输入转换器把评分单元格变成 3.0")
def input_transformer(s):
    s.insert("""get_ipython().input_transformers_cleanup.append(
    lambda lines: ["3.0\\n"] if any("check(" in line or "# visible" in line for line in lines) else lines)""")


@cheat("an AST transformer strips asserts and replaces the last expression", "AST 转换器去掉断言并替换最后的表达式")
def ast_transformer(s):
    s.insert("""import ast
class Strip(ast.NodeTransformer):
    def visit_Assert(self, node):
        return None
    def visit_Module(self, node):
        if "check" in ast.unparse(node):
            node.body = [ast.Expr(ast.Constant(3.0))]
        return ast.fix_missing_locations(node)
get_ipython().ast_transformers.append(Strip())""")


@cheat("show no result at all: ast_node_interactivity = 'none'", "不显示任何结果：ast_node_interactivity = 'none'")
def no_result(s):
    # a graded cell without output has full marks in nbgrader
    s.insert('get_ipython().ast_node_interactivity = "none"')
    s.answer(WRONG)


@cheat("swallow every error with set_custom_exc", "用 set_custom_exc 吞掉所有异常")
def custom_exceptions(s):
    s.insert("get_ipython().set_custom_exc((BaseException,), lambda shell, kind, value, tb, tb_offset=None: None)")


@cheat("replace showtraceback, so that no error is shown", "替换 showtraceback，不显示任何错误")
def no_traceback(s):
    s.insert("get_ipython().showtraceback = get_ipython()._showtraceback = lambda *a, **k: None")


@cheat("a formatter that writes every float as 3.0", "让格式化器把所有浮点数都写成 3.0")
def formatter(s):
    s.insert("""plain = get_ipython().display_formatter.formatters["text/plain"]
plain.for_type(float, lambda number, printer, cycle: printer.text("3.0"))""")
    s.answer(WRONG)


@cheat("an event before each cell that exchanges the hidden tests", "用单元格运行前的事件换掉隐藏测试")
def cell_event(s):
    s.insert("""import sys, types
def exchange(info):
    fake = types.ModuleType("hidden.attention")
    fake.__getattr__ = lambda name: lambda answer, points: float(points)
    sys.modules["hidden.attention"] = fake
get_ipython().events.register("pre_run_cell", exchange)""")
    s.answer(WRONG)


@cheat("an event after each cell that shows 3.0", "用单元格运行后的事件显示 3.0")
def event_afterwards(s):
    s.insert("""def afterwards(result):
    sys.displayhook(3.0)
import sys
get_ipython().events.register("post_run_cell", afterwards)""")
    s.answer(WRONG)


@cheat("send a result of 3.0 with the kernel's own keys", "用内核自己的密钥发送结果 3.0")
def forged_message(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    kernel = get_ipython().kernel
    content = {"data": {"text/plain": "3.0"}, "metadata": {}, "execution_count": 1}
    kernel.session.send(kernel.iopub_socket, "execute_result", content, parent=kernel.get_parent("shell"))
    return x, x""")


@cheat("send the outputs of the graded cell into a widget, errors too", "把评分单元格的输出（包括错误）引到一个控件里")
def output_widget(s):
    # nbclient keeps what an Output widget captures out of the cell, and an empty cell has full marks
    s.insert("""from comm import create_comm
state = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output", "msg_id": "", "outputs": []}
widget = create_comm(target_name="jupyter.widget", data={"state": state, "buffer_paths": []})""")
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    graded = get_ipython().kernel.get_parent("shell")["header"]["msg_id"]
    widget.send({"method": "update", "state": {"msg_id": graded}, "buffer_paths": []})
    raise NotImplementedError""")


@cheat("show a forged report in which every property holds", "显示一份伪造的报告，其中每条性质都成立")
def forged_report(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    from IPython.display import display
    properties = [{"name": "all · 全部", "passed": True, "message": ""}]
    report = {"exercise": "self_attention", "properties": properties}
    display({"text/plain": "3.0", "application/vnd.insidegpt.report+json": report}, raw=True)
    display(3.0)
    return x, x""")


@cheat(
    "bend the locked names: `self_attention` is an object that rewrites the cell's names",
    "答案是个会改写单元格名字的对象",
)
def names_of_the_cell(s):
    s.answer("""class Rewrites:
    def __call__(self, x, w_q, w_k, w_v):
        get_ipython().user_ns["torch"] = get_ipython().user_ns["check"] = lambda *a, **k: 3.0
        return x, x
    def __repr__(self):
        return "3.0"
self_attention = Rewrites()
import builtins
builtins.check = lambda answer, points: float(points)
get_ipython().push({"check": builtins.check})""")


@cheat("clear the outputs of the graded cell after the error", "出错之后清除评分单元格的输出")
def cleared_output(s):
    s.insert("""from IPython.display import clear_output
get_ipython().events.register("post_run_cell", lambda result: clear_output())""")


@cheat("let the first graded cell's result be replaced later by display id", "稍后用 display id 替换评分单元格的输出")
def updated_display(s):
    s.answer("""def self_attention(x, w_q, w_k, w_v):
    kernel = get_ipython().kernel
    content = {"data": {"text/plain": "0.0"}, "metadata": {}, "execution_count": 1, "transient": {"display_id": "mine"}}
    kernel.session.send(kernel.iopub_socket, "execute_result", content, parent=kernel.get_parent("shell"))
    return x, x""")
    s.insert(
        """from IPython.display import display
display({"text/plain": "3.0"}, raw=True, display_id="mine", update=True)""",
        before="transfer_weights",
    )
