"""The downloader against a real server on this machine: resuming, broken connections, wrong files."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from KidneySegLib.errors import Cancelled, ModelError
from KidneySegLib.models.download import download, downloads_dir, look_up
from KidneySegLib.progress import CancelToken, Progress

DATA = bytes(range(256)) * 12_000  # 3 MB.
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives DATA; what it does with parts is set on the server."""

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        if self.path.endswith("/moved.zip"):
            self.send_response(302)
            self.send_header("Location", "/models/kidneys.zip")
            self.end_headers()
            return
        if self.path.endswith("/away.zip"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        if not self.path.endswith("/kidneys.zip"):
            self.send_error(404, "Not Found")
            return
        start, stop = 0, len(DATA)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        current = self.headers.get("If-Range", server.tag) == server.tag
        partial = bool(match) and server.ranges and current
        if partial:
            start = int(match.group(1))
            stop = int(match.group(2)) + 1 if match.group(2) else len(DATA)
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(stop - start))
        if server.ranges:
            self.send_header("ETag", server.tag)
        self.end_headers()
        body = DATA[start:stop]
        if server.break_after is not None:
            body = body[: server.break_after]
        try:
            self.wfile.write(body)
        except OSError:
            return
        self.close_connection = True

    def log_message(self, *_args: object) -> None:
        return None


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.tag, server.break_after, server.requests = True, '"v1"', None, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url_of(server: http.server.ThreadingHTTPServer, name: str = "kidneys.zip") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/models/{name}"


def test_the_size_is_known_before_anything_is_fetched(server):
    offer = look_up(url_of(server))
    assert (offer.name, offer.size_bytes, offer.resumable) == ("kidneys.zip", len(DATA), True)
    server.ranges = False
    offer = look_up(url_of(server))
    assert (offer.size_bytes, offer.resumable) == (len(DATA), False)


def test_a_file_comes_whole_into_the_users_folder(server):
    events = []
    path = download(url_of(server), SHA256.upper(), Progress(events.append))
    assert path == downloads_dir() / "kidneys.zip"
    assert path.read_bytes() == DATA
    assert [p.name for p in path.parent.iterdir()] == ["kidneys.zip"]
    assert events[-1].fraction == 1.0
    asked = len(server.requests)
    assert download(url_of(server), SHA256) == path
    assert len(server.requests) == asked  # It is there already.


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path: Path):
    server.break_after = 1_000_000
    with pytest.raises(ModelError, match=f"after 1000000 of {len(DATA)} bytes.*again to go on"):
        download(url_of(server), SHA256, folder=tmp_path)
    server.break_after = None
    path = download(url_of(server), SHA256, folder=tmp_path)
    assert path.read_bytes() == DATA
    assert server.requests[-1]["Range"] == "bytes=1000000-"


@pytest.mark.parametrize("change", ["no ranges", "another version"])
def test_where_it_cannot_go_on_it_starts_over(server, tmp_path: Path, change: str):
    server.break_after = 1_000_000
    with pytest.raises(ModelError, match="again to go on"):
        download(url_of(server), SHA256, folder=tmp_path)
    server.break_after = None
    if change == "no ranges":
        server.ranges = False
    else:
        server.tag = '"v2"'
    assert download(url_of(server), SHA256, folder=tmp_path).read_bytes() == DATA


def test_a_part_of_another_file_is_not_continued(server, tmp_path: Path):
    server.break_after = 1_000_000
    with pytest.raises(ModelError, match="again to go on"):
        download(url_of(server), "0" * 64, folder=tmp_path)
    server.break_after = None
    assert download(url_of(server), SHA256, folder=tmp_path).read_bytes() == DATA
    assert "Range" not in server.requests[-1]


def test_a_wrong_file_is_deleted(server, tmp_path: Path):
    folder = tmp_path / "downloads"
    with pytest.raises(ModelError, match=f"SHA-256 {SHA256}, but {'0' * 64} was expected. It was deleted"):
        download(url_of(server), "0" * 64, folder=folder)
    assert list(folder.iterdir()) == []


def test_another_file_of_that_name_is_not_touched(server, tmp_path: Path):
    (tmp_path / "kidneys.zip").write_bytes(b"mine")
    with pytest.raises(ModelError, match="exists already and is another file"):
        download(url_of(server), SHA256, folder=tmp_path)
    assert (tmp_path / "kidneys.zip").read_bytes() == b"mine"


def test_cancelling_keeps_the_part(server, tmp_path: Path):
    token = CancelToken()

    def listener(event) -> None:
        if event.fraction > 0.3:
            token.cancel()

    with pytest.raises(Cancelled):
        download(url_of(server), SHA256, Progress(listener, token), folder=tmp_path)
    assert (tmp_path / "kidneys.zip.part").stat().st_size >= 1_000_000
    assert download(url_of(server), SHA256, folder=tmp_path).read_bytes() == DATA
    assert server.requests[-1]["Range"].startswith("bytes=")


def test_redirects_are_followed_within_the_web_only(server, tmp_path: Path):
    assert download(url_of(server, "moved.zip"), SHA256, folder=tmp_path).read_bytes() == DATA
    with pytest.raises(ModelError):
        look_up(url_of(server, "away.zip"))


@pytest.mark.parametrize(
    ("url", "sha256", "message"),
    [
        ("file:///etc/passwd", SHA256, "begins with https://"),
        ("kidneys.zip", SHA256, "begins with https://"),
        ("https://example.org/x.zip", "abc", "64 hexadecimal digits"),
    ],
)
def test_wrong_addresses_and_sums_are_refused_before_anything_is_asked(url, sha256, message, tmp_path: Path):
    with pytest.raises(ModelError, match=message):
        download(url, sha256, folder=tmp_path)


def test_a_server_that_has_no_such_file(server, tmp_path: Path):
    with pytest.raises(ModelError, match="answered 404"):
        download(url_of(server, "other.zip"), SHA256, folder=tmp_path)


def test_the_command_shows_size_and_licence_and_asks(server, monkeypatch, capsys):
    from KidneySegLib.cli.main import main

    address = url_of(server)
    assert main(["models", "download", address, "--sha256", SHA256, "--licence", "CC-BY-4.0"]) == 0
    said = capsys.readouterr().out
    assert "3.1 MB" in said
    assert "CC-BY-4.0" in said
    assert "Nothing was fetched" in said
    assert main(["models", "download", address, "--sha256", SHA256, "--yes", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert str(downloads_dir() / "kidneys.zip") in said
    assert (downloads_dir() / "kidneys.zip").read_bytes() == DATA


def test_the_table_of_public_models_says_what_a_user_must_know(capsys):
    from KidneySegLib.cli.main import main
    from KidneySegLib.models.public import public_models

    table = public_models()
    assert {"totalsegmentator-organs", "renal-net", "monai-renal-unest"} <= {m.name for m in table}
    assert all(m.licence and m.source.startswith("https://") and m.remarks for m in table)
    assert all(bool(m.how) == m.fits for m in table)
    assert main(["models", "public"]) == 0
    assert "renal-net" in capsys.readouterr().out
    assert main(["models", "public", "totalsegmentator-organs"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    assert main(["models", "public", "nothing"]) == 2
    assert "not in the table" in capsys.readouterr().err
