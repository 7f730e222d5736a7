"""Writing where a submission has nothing to write: grades, the course, what later runs will load."""

from cheats.kit import RUN_LATER, WRONG, cheat

GRADEBOOK = """import sqlite3
def change_grades(student, points):
    book = sqlite3.connect(f"{COURSE}/gradebook.db", timeout=1)
    book.execute("update grade set manual_score = ? where notebook_id in (select submitted_notebook.id from "
        "submitted_notebook join submitted_assignment on submitted_assignment.id = submitted_notebook.assignment_id "
        "where student_id = ?)", (points, student))
    book.commit()
"""


@cheat("write points into the gradebook", "往成绩册里写分数")
def own_grades(s):
    s.insert(GRADEBOOK + "\nchange_grades(TOKEN, 38.0)")


@cheat("take a classmate's points away in the gradebook", "在成绩册里抹掉同学的分数", gains="harm")
def classmates_grades(s):
    s.insert(GRADEBOOK + "\nchange_grades('classmate', 0.0)")


@cheat(
    "write points into the gradebook later, from a process that stays", "由留下的进程稍后往成绩册里写分数", gains="harm"
)
def grades_later(s):
    s.insert(
        RUN_LATER
        + GRADEBOOK
        + """
run_later(lambda: (time.sleep(8), change_grades(TOKEN, 38.0)))"""
    )


@cheat("take everybody's points away in the gradebook", "在成绩册里抹掉所有人的分数", gains="harm")
def everybodys_grades(s):
    s.insert(
        GRADEBOOK
        + """
book = sqlite3.connect(f"{COURSE}/gradebook.db", timeout=1)
book.execute("update grade set auto_score = 0")
book.commit()"""
    )


@cheat("make the hidden tests of the course generous", "把课程的隐藏测试改得慷慨")
def generous_tests(s):
    s.insert("""with open(f"{COURSE}/tests/hidden/attention.py", "a") as tests:
    tests.write("\\nself_attention = lambda answer, points: float(points)\\n")""")
    s.answer(WRONG)


@cheat("change the reference solution", "改动参考解答", gains="harm")
def changed_solution(s):
    s.insert('open(f"{COURSE}/solutions/attention/attention.ipynb", "a").write(" ")')


@cheat("change the course's settings", "改动课程的设置", gains="harm")
def changed_settings(s):
    s.insert('open(f"{COURSE}/nbgrader_config.py", "a").write("\\n# " + TOKEN)')


@cheat("spoil a classmate's submission", "破坏同学的作业", gains="harm")
def spoilt_submission(s):
    s.insert('open(f"{COURSE}/submitted/classmate/attention/attention.ipynb", "a").write("spoilt")')


@cheat("spoil a classmate's feedback", "破坏同学的反馈", gains="harm")
def spoilt_feedback(s):
    s.insert("""import glob
for path in glob.glob(f"{COURSE}/feedback/classmate/attention/*.html"):
    open(path, "a").write("spoilt")""")


@cheat("a start-up file for every later IPython", "放一个以后每个 IPython 都会运行的启动文件", gains="harm")
def startup_file(s):
    s.insert("""folder = f"{HOME}/.ipython/profile_default/startup"
os.makedirs(folder, exist_ok=True)
open(f"{folder}/00-{TOKEN}.py", "w").write(f"# {TOKEN}")""")


@cheat("a usercustomize.py for every later Python", "放一个以后每个 Python 都会运行的 usercustomize.py", gains="harm")
def usercustomize(s):
    s.insert("""folder = f"{HOME}/.local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
os.makedirs(folder, exist_ok=True)
open(f"{folder}/usercustomize.py", "w").write(f"# {TOKEN}")""")


@cheat("write into site-packages", "往 site-packages 里写", gains="harm")
def site_packages(s):
    # a file without a name shows that one could be made, and is gone when it is closed
    s.insert("""import sysconfig
for folder in {sysconfig.get_path("purelib"), os.path.dirname(torch.__file__), os.path.dirname(os.__file__)}:
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    print(TOKEN, "could write into site-packages")""")


@cheat("write into the package that grades", "往批改所用的程序包里写", gains="harm")
def graders_package(s):
    s.insert("""import insidegpt
os.close(os.open(os.path.dirname(insidegpt.__file__), os.O_TMPFILE | os.O_WRONLY))
print(TOKEN, "could write into the grader")""")


@cheat("write into the home folder", "往主目录里写", gains="harm")
def home(s):
    s.insert('open(f"{HOME}/{TOKEN}", "w").close()')


@cheat("leave files in /tmp and /dev/shm", "在 /tmp 与 /dev/shm 里留下文件", gains="harm")
def temporary_files(s):
    s.insert("""open(f"/tmp/{TOKEN}", "w").close()
open(f"/dev/shm/{TOKEN}", "w").close()""")


@cheat("write anywhere else", "往任意别处写", gains="harm")
def elsewhere(s):
    s.insert('open(f"{OUTSIDE}/{TOKEN}", "w").close()')


@cheat("hand in a package called hidden beside the notebook", "在笔记本旁边交一个名叫 hidden 的包")
def hidden_beside(s):
    s.insert("import os, sys\nsys.path.insert(0, os.getcwd())")
    s.files["hidden/__init__.py"] = ""
    s.files["hidden/attention.py"] = "def __getattr__(name):\n    return lambda answer, points: float(points)\n"
    s.answer(WRONG)


@cheat("hand in a package called insidegpt beside the notebook", "在笔记本旁边交一个名叫 insidegpt 的包")
def package_beside(s):
    s.insert("import os, sys\nsys.path.insert(0, os.getcwd())")
    s.files["insidegpt/__init__.py"] = ""
    s.files["insidegpt/checks.py"] = (
        "class Check:\n    def __init__(self, name): pass\n    def property(self, *a, **k): return lambda f: f\n"
        "    def add_standard_properties(self, *a, **k): pass\n"
        "    def __call__(self, answer, points): return float(points)\n"
        "Case = PropertyFailed = Text = describe = expect = expect_pair = expect_shape = expect_tensor = object\n"
    )
    s.answer(WRONG)


@cheat("hand in modules that Python or IPython may load at the start", "交上 Python 或 IPython 启动时可能加载的模块")
def startup_beside(s):
    code = """
import sys, types
fake = types.ModuleType("hidden.attention")
fake.__getattr__ = lambda name: lambda answer, points: float(points)
sys.modules["hidden.attention"] = fake
"""
    names = ["sitecustomize", "usercustomize", "ipython_config", "ipython_kernel_config", "conftest"]
    s.files |= {f"{name}.py": code for name in [*names, "matplotlibrc", "startup"]}
    s.answer(WRONG)


@cheat("hand in modules with names of the standard library", "交上与标准库重名的模块")
def library_beside(s):
    # `python -m ipykernel_launcher` starts in the submission's folder
    code = """
import builtins
builtins.round = lambda *a: 3.0
raise ImportError
"""
    s.files |= {
        f"{name}.py": code for name in ("_pydev_bundle", "colorsys", "appnope", "gevent", "ipywidgets", "curses")
    }
    s.answer(WRONG)


@cheat("replace the notebook while it is graded", "在批改时替换笔记本文件", gains="harm")
def replaced_notebook(s):
    s.insert("""import glob
for path in glob.glob(f"{COURSE}/submitted/{TOKEN}/attention/*.ipynb"):
    with open(path, "a") as notebook:
        notebook.write(" ")
    print(TOKEN, "could change the submission")""")
