"""A real browser, headless, and pages for it from ports of this machine that are not ours."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PAGE_S = 60.0
"""How long the browser may take to open a page and do what it says."""
PAGE = """<!doctype html><title>page</title><script type="module">
const ask = async (url, options = {}) => {
  try {
    const answer = await fetch(url, options);
    return {type: answer.type, status: answer.status, adapter: answer.headers.get("x-adapter"),
            text: answer.type === "opaque" ? null : await answer.text()};
  } catch (error) { return {error: error.name}; }
};
const told = [];
for (const [url, options] of ASKED) told.push(await ask(url, options));
await fetch("/told", {method: "POST", body: JSON.stringify(told)});
</script>"""


@dataclass
class Site:
    """An origin whose pages ask what a test says."""

    url: str
    asked: list[Any] = field(default_factory=list)
    told: queue.SimpleQueue[list[dict[str, Any]]] = field(default_factory=queue.SimpleQueue)


@contextmanager
def site(port: int) -> Iterator[Site]:
    """Pages at ``port``, until the block ends."""
    here = Site(f"http://127.0.0.1:{port}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(PAGE.replace("ASKED", json.dumps(here.asked)).encode())

        def do_POST(self) -> None:
            here.told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Browser:
    """Chromium with a profile of its own for each page."""

    program: str
    root: Path

    def page(self, here: Site, *asked: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """What came of each ``fetch(url, options)`` of a page of ``here``, one after the other."""
        here.asked[:] = [list(one) for one in asked]
        process = subprocess.Popen(self._command(here.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return here.told.get(timeout=PAGE_S)
        finally:
            process.kill()
            process.wait(30)

    def text(self, url: str, *options: str) -> str:
        """The document at ``url``, as the browser holds it."""
        command = self._command("--dump-dom", *options, url)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PAGE_S).stdout

    def _command(self, *arguments: str) -> list[str]:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        return [self.program, *options, f"--user-data-dir={self.root / 'profile'}", *arguments]


def browser(root: Path) -> Browser:
    """Skips the test without chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("not checked: chromium is not installed (Debian package chromium)")
    return Browser(program, root)
