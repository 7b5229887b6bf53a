"""The other things on the one port: page, health, metrics, and what is not there."""

import re
import socket
import time

import pytest

from raw import Raw


def test_the_page(rig):
    status, headers, body = rig.http("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"<html" in body.lower()


def test_everything_the_page_needs_is_in_the_binary(rig):
    _, _, page = rig.http("/")
    needed = re.findall(r'(?:src|href)="(/[^"]*)"', page.decode())
    assert needed
    for path in needed:
        status, headers, body = rig.http(path)
        assert status == 200 and body, path
        for imported in re.findall(r'from "\./([^"]+)"', body.decode()) if path.endswith(".js") else []:
            assert rig.http("/" + imported)[0] == 200, imported
    assert b"http://" not in page and b"https://" not in page, "nothing from elsewhere"


def test_health(rig):
    status, _, _ = rig.http("/healthz")
    assert status == 200


def test_metrics(rig, alice):
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    status, headers, body = rig.http("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    names = set()
    for line in body.decode().splitlines():
        if line and not line.startswith("#"):
            name, number = line.rsplit(" ", 1)
            float(number)
            names.add(name.split("{")[0])
    assert names and all(name.startswith("rigd_") for name in names)
    assert any("xrun" in name for name in names)


@pytest.mark.parametrize("path", ["/nothing", "/../etc/passwd", "/ws/more", "/api/nothing", "/%2e%2e/Cargo.toml"])
def test_not_found(rig, path):
    assert rig.http(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods(rig, method):
    assert rig.http("/", method)[0] in (404, 405)


def test_ws_without_an_upgrade(rig):
    status, _, _ = rig.http("/ws")
    assert status in (400, 404, 426)


def test_a_foreign_page_may_not_connect(rig):
    for origin, status in [
        (f"http://127.0.0.1:{rig.port}", 101),
        (f"http://localhost:{rig.port}", 101),
        ("http://localhost:5173", 101),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1.evil.example", 403),
    ]:
        raw = Raw(rig.port, headers=f"Origin: {origin}\r\n")
        assert raw.status == status, origin
        raw.close()


def test_an_allowed_page_may(start):
    rig = start(settings='allowed_origins = ["https://karaoke.example"]\n')
    assert Raw(rig.port, headers="Origin: https://karaoke.example\r\n").status == 101
    assert Raw(rig.port, headers="Origin: https://other.example\r\n").status == 403


def test_a_foreign_host_name_is_refused(rig):
    """DNS rebinding: a name that is not the rig's own."""
    status, _, _ = rig.http("/", headers={"Host": "evil.example"})
    assert 400 <= status < 500
    assert rig.http("/", headers={"Host": f"localhost:{rig.port}"})[0] == 200


def test_garbage_is_not_http(rig, alice):
    for garbage in (b"\0" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"x" * 40000):
        with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as connection:
            connection.sendall(garbage)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    alice.ask("status.get")


def test_an_unfinished_handshake_is_not_kept(rig, alice):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", rig.port), timeout=60) as connection:
        connection.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert time.monotonic() - started < 45
    alice.ask("status.get")
