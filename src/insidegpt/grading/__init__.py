"""Grading: what is handed in, how it is run, what is said about it.

    submission.py     a notebook that was handed in, put together again from trusted cells and the learner's own
    execute.py        the one class that runs it; whoever wants it run in another way replaces this class
    warm.py           kernels that start at once, for whoever uses jupyter_client
    zygote.py         the preloaded process that they are forked from
    sandbox.py        what a kernel with a student's code may reach and use, at three levels
    linux.py          the system calls for it
    preprocessors.py  the two other steps that nbgrader's pipeline takes from here
    report.py         what the graded cells said: points, properties, sentences
    feedback.py       the same as a page
    check.py          all of it for one learner and one notebook
    release.py        exercises/ from solutions/

An exercise `name` is a solution cell with the grade id `name` and a graded cell with the grade id `test-name`.
"""
