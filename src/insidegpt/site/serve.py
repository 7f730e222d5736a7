"""Serve the built site on this computer."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from insidegpt.errors import UserError


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line per request."""

    def log_message(self, format: str, *args) -> None:
        """Say nothing."""


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
        server = _Server(("127.0.0.1", port), partial(_Quiet, directory=site))
    except OSError as error:
        raise UserError(
            f"Port {port} cannot be used ({error.strerror}): run `.venv/bin/insidegpt serve --port {port + 1}`.",
            f"端口 {port} 无法使用（{error.strerror}）：请运行 `.venv/bin/insidegpt serve --port {port + 1}`。",
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends · 按 Ctrl-C 结束)", flush=True)
        server.serve_forever()
