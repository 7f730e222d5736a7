"""Serve the built site on this computer."""

import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from insidegpt.errors import UserError


class Pages(SimpleHTTPRequestHandler):
    """Serves files without a line per request, and the site's own page where there is none."""

    def log_message(self, format: str, *args) -> None:
        """Say nothing."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with 404.html where an address leads nowhere."""
        page = Path(self.directory, "404.html")
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:
        """Say nothing when a browser hangs up in the middle of a page, which is no fault."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(site: Path, port: int) -> None:
    """Serve the folder `site` on http://127.0.0.1:port/ until Ctrl-C.

    Raises UserError when the site has not been built or the port cannot be had.
    """
    if not (site / "index.html").is_file():
        raise UserError("There is no site yet: run `make book` first.", "网站尚未生成：请先运行 `make book`。")
    try:
        server = _Server(("127.0.0.1", port), partial(Pages, directory=site))
    except OSError as error:
        raise UserError(
            f"Port {port} cannot be used ({error.strerror}): run `.venv/bin/insidegpt serve --port {port + 1}`.",
            f"端口 {port} 无法使用（{error.strerror}）：请运行 `.venv/bin/insidegpt serve --port {port + 1}`。",
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends · 按 Ctrl-C 结束)", flush=True)
        server.serve_forever()
