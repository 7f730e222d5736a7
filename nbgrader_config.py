"""nbgrader's settings: `nbgrader autograde attention` and the other stock commands read them here."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

c = get_config()  # noqa: F821  nbgrader provides it

c.CourseDirectory.course_id = "inside-gpt-2"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.CourseDirectory.ignore = [".ipynb_checkpoints", "__pycache__", "*.pyc", ".DS_Store", "feedback"]

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE · 在此作答\nraise NotImplementedError"}

c.ExecuteSubmission.timeout = 30  # seconds a cell
c.ExecuteSubmission.tests = str(ROOT / "tests")

c.Autograde.sanitize_preprocessors = [
    "insidegpt.grading.preprocessors.AssembleSubmission",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "insidegpt.grading.execute.ExecuteSubmission",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
]
c.GenerateFeedback.exporter_class = "insidegpt.grading.feedback.FeedbackExporter"
c.GenerateFeedback.preprocessors = ["nbgrader.preprocessors.GetGrades"]

# nbgrader runs `alembic` by name when it makes the gradebook, also where the environment is not activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
