"""A Hugging Face hub with one model and one data set, as far as downloads go, in a thread of the test."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0" * 39 + "1"


@contextlib.contextmanager
def serve(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as repositories, keyed "models/gpt2" or "datasets/owner/name"; (address, requests so far)."""
    requests: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer()

        def answer(self, body: bool = True) -> None:
            path = unquote(urlsplit(self.path).path)
            requests.append(f"{self.command} {path}")
            for name, folder in repositories.items():
                files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
                plain = name.removeprefix("models/")
                if path.startswith(f"/{plain}/resolve/"):
                    file = files.get(path.removeprefix(f"/{plain}/resolve/").partition("/")[2])
                    if file is None:
                        self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
                    else:
                        content = file.read_bytes()
                        etag = hashlib.sha1(content).hexdigest()
                        self.send(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, body)
                    return
                if path.startswith(f"/api/{name}"):
                    tail = path.removeprefix(f"/api/{name}")
                    entries = [
                        {"type": "file", "path": path, "size": file.stat().st_size, "oid": COMMIT}
                        for path, file in files.items()
                    ]
                    folders = {str(parent) for path in files for parent in Path(path).parents if str(parent) != "."}
                    if "/paths-info/" in tail:
                        entries = [entry for entry in entries if entry["path"] in self.form["paths"]]
                    elif "/tree/" in tail:
                        entries += [{"type": "directory", "path": path, "oid": COMMIT} for path in folders]
                        within = Path(*Path(tail).parts[3:])
                        entries = [entry for entry in entries if Path(entry["path"]).parent == within]
                    else:
                        siblings = [{"rfilename": entry["path"]} for entry in entries]
                        entries = {"id": name.partition("/")[2], "sha": COMMIT, "siblings": siblings}
                    self.send(200, json.dumps(entries).encode(), {"Content-Type": "application/json"}, body)
                    return
            self.send(200 if path == "/" else 404, b"", {"X-Error-Code": "RepoNotFound"}, body)

        def send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()
