"""A Hugging Face Hub on this machine: serves folders to the Hub's own client.

What `huggingface_hub` asks of it: HEAD and GET of files, a repository's commit, and
the tree of its files.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
REQUEST = re.compile(
    r"/(api/models/)?(?P<repository>[^/]+/[^/]+)/(?P<kind>revision|tree|resolve)"
    r"/[^/]+/?(?P<path>.*)"
)
# Of whatever is served: the files do not change while a server runs.
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A running server.

    Attributes:
        url: its address.
        requests: "METHOD path" of all requests, in order.
    """

    url: str
    requests: list[str]

    def files_sent(self) -> set[str]:
        """Names of the files that were downloaded."""
        return {
            request.rpartition("/")[2]
            for request in self.requests
            if request.startswith("GET ") and "/resolve/" in request
        }


@contextlib.contextmanager
def serve_hub(repositories: Mapping[str, Path]) -> Iterator[Hub]:
    """Serves folders, by the names "user/repository"."""
    requests: list[str] = []
    handler = _handler(repositories, requests)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", requests)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def load_with_hub(
    loads: list[tuple[str, str]], url: str, home: Path, **environment: str
) -> list[dict]:
    """Loads presets in a process for which the Hub is at `url` and its cache `home`.

    Args:
        loads: class and preset of each.
        url: the Hub's address.
        home: the Hub's folder on this machine.
        **environment: further variables.

    Returns:
        What `tests.models.load_report` says of each.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING"))
    }
    result = subprocess.run(
        [sys.executable, "-m", "tests.models.load_report", json.dumps(loads)],
        env={
            **variables,
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def _handler(
    repositories: Mapping[str, Path], requests: list[str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            requests.append(f"HEAD {self.path}")
            self._answer()

        def do_GET(self):
            requests.append(f"GET {self.path}")
            self._answer()

        def _answer(self):
            match = REQUEST.fullmatch(urlsplit(self.path).path)
            folder = match and repositories.get(match["repository"])
            if folder is None:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            elif match["kind"] == "revision":
                self._send_json({"id": match["repository"], "sha": COMMIT})
            elif match["kind"] == "tree":
                self._send_json(_tree(folder))
            else:
                self._send_file(folder / match["path"])

        def _send_file(self, path):
            if not path.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            content = path.read_bytes()
            self._send(200, content, {"ETag": f'"{_digest(content)}"'})

        def _send_json(self, value):
            content = json.dumps(value).encode()
            self._send(200, content, {"Content-Type": "application/json"})

        def _send(self, status, content, headers):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *args):
            """Silent: `requests` has it all."""

    return Handler


def _tree(folder: Path) -> list[dict]:
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": _digest(path.read_bytes()),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
