"""A hub of one data set on this machine: the few addresses that the library datasets asks for when it streams files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Serves the files of `folder` as the data set `name`; gives the address and the paths that were asked for."""
    files = {each.relative_to(folder).as_posix(): each for each in folder.rglob("*") if each.is_file()}
    folders = {parent for each in files for parent in (Path(each).parent.as_posix(),) if parent != "."}
    asked: list[str] = []

    def entry(path: str) -> dict[str, Any]:
        if path in folders:
            return {"type": "directory", "path": path, "oid": COMMIT}
        return {"type": "file", "path": path, "oid": COMMIT, "size": files[path].stat().st_size}

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            asked.append(self.path)
            self._json([entry(path) for path in body.get("paths", ()) if path in files or path in folders])

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            about = f"/api/datasets/{name}"
            if path in (about, f"{about}/revision/main", f"{about}/revision/{COMMIT}"):
                siblings = [{"rfilename": each} for each in files]
                self._json({"_id": "1", "id": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
                            "downloads": 0, "likes": 0, "tags": [], "siblings": siblings})  # fmt: skip
            elif path.startswith(f"/api/datasets/{name}/tree/"):
                below = path.split("/tree/")[1].partition("/")[2]
                found = [each for each in (*folders, *files) if not below or each.startswith(below + "/")]
                self._json([entry(each) for each in found])
            elif path.startswith(f"/datasets/{name}/resolve/") and path.split("/", 6)[6] in files:
                self._file(files[path.split("/", 6)[6]].read_bytes())
            else:
                self._json({"error": "not here"}, 404)

        def _file(self, data: bytes) -> None:
            first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
            start, end = int(first or 0), min(int(last or len(data) - 1), len(data) - 1)
            self.send_response(206 if first else 200)
            self.send_header("ETag", '"x"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            self._send(data[start : end + 1])

        def _json(self, value: Any, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound" if "resolve" in self.path else "RepoNotFound")
            self._send(json.dumps(value).encode())

        def _send(self, data: bytes) -> None:
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
