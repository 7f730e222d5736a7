"""Grading: what is handed in, how it is run, what is said about it.

    submission.py     a notebook that was handed in, put together again from trusted cells and the learner's own
    preprocessors.py  the step before it in nbgrader's pipeline
    execute.py        the one class that runs it: the learner's cells confined, the graded cells in a judge's process
    kernel.py         the learner's kernel: runs pieces of code, whatever they do
    judge_process.py  the judge's process, as the grader sees it
    judge_shell.py    what runs the graded cells in it
    warm.py           kernels that start at once, for whoever uses jupyter_client
    zygote.py         the preloaded process that kernels and judges are forked from
    sandbox.py        what a kernel with a student's code may reach and use, at three levels
    linux.py          the system calls for it
    judge.py          the student's functions and classes, as the graded cells see them
    student.py        what answers the judge, in the student's kernel
    peer.py           what the two ends do alike: ask, answer, ask back
    standins.py       what stands for a function, an object or a module of the other end
    heap.py           what both ends hold, and how each hears of the other's changes
    history.py        gradients that go back through the other end
    nodes.py          each kind of thing with an identity as data, and back
    values.py         each kind of plain value as data, and back
    transport.py      frames of data over a socket, within caps and a deadline
    report.py         what the graded cells said: points, properties, sentences
    feedback.py       the same as a page, for nbgrader too
    check.py          all of it for one learner and one notebook
    release.py        exercises/ from solutions/
    intake.py         what a class has handed in, and what of it is new
    batch.py          all of it for a class
    grades.py         the class's grades as a table and a file
    kit.py            the students' zip

An exercise `name` is a solution cell with the grade id `name` and a graded cell with the grade id `test-name`.
"""

import sys

# What checks the form of notebooks would build a parser for internationalised addresses as it is imported, for two
# thirds of a second. A notebook holds no such address, and jsonschema does without the parser where there is none.
sys.modules.setdefault("rfc3987_syntax", None)
