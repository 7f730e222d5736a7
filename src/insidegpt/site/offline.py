"""What reading without a network needs: a list of each edition's files, and a service worker that knows the build."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from insidegpt.site.editions import EDITIONS

_WORKER = Path(__file__).with_name("sw.js")


def write_offline(site: Path) -> None:
    """Write `files.json` into every edition and `sw.js` beside them.

    The worker holds a hash over all files: a browser that finds it changed fetches anew what a reader keeps.
    """
    build = hashlib.sha256()
    for edition in (site / name for name in EDITIONS if (site / name).is_dir()):
        listed = edition / "files.json"
        files = sorted(p for p in edition.rglob("*") if p.is_file() and p != listed)
        for file in files:
            build.update(f"{file.relative_to(site)}\0".encode() + file.read_bytes())
        listed.write_text(json.dumps([file.relative_to(edition).as_posix() for file in files]), "utf8")
    worker = _WORKER.read_text("utf8").replace("$version", build.hexdigest()[:16])
    (site / "sw.js").write_text(worker, "utf8")
