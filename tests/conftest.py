"""What several test files share."""

from pathlib import Path

import pytest

from small_course import make_course

ROOT = Path(__file__).parent.parent


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
