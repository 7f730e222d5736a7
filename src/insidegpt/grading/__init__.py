"""Grading: what is handed in, how it is run, what is said about it.

    submission.py     a notebook that was handed in, put together again from trusted cells and the learner's own
    execute.py        the one class that runs it; whoever wants it run in another way replaces this class
    preprocessors.py  the step before it in nbgrader's pipeline
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
