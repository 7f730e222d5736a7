"""What several test files share."""

import signal
from pathlib import Path

import pytest

from small_course import make_course

ROOT = Path(__file__).parent.parent

# In the background a shell has Ctrl-C ignored, and so would every command that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def site() -> Path:
    """The site, built with warnings as errors; only what has changed is built again."""
    from insidegpt.site.build import main

    main(ROOT)
    return ROOT / "_build" / "site"


@pytest.fixture(scope="session")
def course(tmp_path_factory) -> Path:
    """A small course, released: solutions, exercises, hidden tests, gradebook."""
    from insidegpt.grading.release import release

    root = make_course(tmp_path_factory.mktemp("course"))
    release(root)
    return root
