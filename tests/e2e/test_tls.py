"""https and wss on the one port."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl

import pytest

from jackd import eventually
from rig import PATIENCE, Client, run

SELF_SIGNED = "[tls]\nself_signed = true\n"


def trusting(rig):
    """Who trusts this rig's own certificate and no other."""
    return ssl.create_default_context(cafile=rig.state / "tls-cert.pem")


def secure(rig):
    """A client by wss."""
    client = Client(f"wss://127.0.0.1:{rig.port}/ws", ssl=trusting(rig))
    rig.clients.append(client)
    return client


def fingerprint(rig):
    """Of the certificate that it shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", rig.port), timeout=PATIENCE)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, 64, 2))


@pytest.fixture
def tls(start):
    return start(settings=SELF_SIGNED)


def test_page_and_socket_are_encrypted(tls):
    connection = http.client.HTTPSConnection("127.0.0.1", tls.port, timeout=PATIENCE, context=trusting(tls))
    connection.request("GET", "/api/state")
    assert json.load(connection.getresponse())["tracks"]
    alice, bob = secure(tls), secure(tls)
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    assert bob.wait("track.update")["data"]["volume"] == 0.5
    alice.ask("heartbeat", {"text": "x" * 60_000})
    tls.wait_for_log(r"listening on https://127\.0\.0\.1:\d+")


def test_the_certificate_is_kept_its_fingerprint_told_and_its_key_nobodys(tls, start):
    told = tls.wait_for_log(r"fingerprint is ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})")[1]
    assert fingerprint(tls) == told
    key = tls.state / "tls-key.pem"
    assert os.stat(key).st_mode & 0o777 == 0o600
    secret = key.read_text().splitlines()[1]
    assert secret not in tls.log
    assert tls.stop() == 0
    again = start("--state-dir", str(tls.state), settings=SELF_SIGNED)
    assert fingerprint(again) == told


def test_ones_own_certificate(tls, start):
    cert, key = tls.state / "tls-cert.pem", tls.state / "tls-key.pem"
    rig = start(settings=f'[tls]\ncert = "{cert}"\nkey = "{key}"\n')
    assert fingerprint(rig) == fingerprint(tls)
    assert not (rig.state / "tls-key.pem").exists()


def test_a_renewed_certificate_is_shown_after_sighup_and_nobody_is_cut_off(tls, start, tmp_path):
    """As a tool for certificates does it: new files under the same names, then a signal."""
    cert, key = tmp_path / "a.pem", tmp_path / "b.pem"

    def renew(rig):
        shutil.copy(rig.state / "tls-cert.pem", cert)
        shutil.copy(rig.state / "tls-key.pem", key)

    def hang_up(said):
        count = len(rig.lines)
        rig.process.send_signal(signal.SIGHUP)
        with rig.news:
            assert rig.news.wait_for(lambda: any(said in line for line in rig.lines[count:]), PATIENCE), rig.log

    renew(tls)
    rig = start(settings=f'[tls]\ncert = "{cert}"\nkey = "{key}"\n')
    client = Client(f"wss://127.0.0.1:{rig.port}/ws", ssl=trusting(tls))
    rig.clients.append(client)
    assert fingerprint(rig) == fingerprint(tls)
    hang_up("nothing that could change")
    cert.write_text("half a certificate")
    hang_up("the certificate stays as it was")
    assert fingerprint(rig) == fingerprint(tls)
    other = start(settings=SELF_SIGNED)
    renew(other)
    hang_up("the certificate is another one")
    assert eventually(lambda: fingerprint(rig) == fingerprint(other), "it is shown")
    client.ask("status.get")


@pytest.mark.parametrize(
    "settings, code, said",
    [
        ('cert = "a.pem"', 2, "needs the `key`"),
        ('key = "a.pem"', 2, "needs the `cert`"),
        ('self_signed = true\ncert = "a.pem"\nkey = "b.pem"', 2, "take it or `cert` away"),
        ('cert = "/nowhere/a.pem"\nkey = "/nowhere/b.pem"', 1, "/nowhere/a.pem cannot be used for TLS"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, code, said):
    (tmp_path / "settings.toml").write_text(f'listen = ["127.0.0.1:0"]\n[tls]\n{settings}\n')
    done = run(tmp_path, "serve", "--backend", "null", "--config", tmp_path / "settings.toml")
    assert done.returncode == code and said in done.stderr, done.stderr


def test_who_speaks_plain_http_is_told(tls):
    status, _, body = tls.http("/")
    assert status == 400 and b"https://" in body
    secure(tls).ask("status.get")


def test_old_versions_are_refused(tls):
    context = trusting(tls)
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", tls.port), timeout=PATIENCE) as plain:
        with pytest.raises(OSError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_handshakes_that_never_end_are_bounded_and_keep_nobody_out(tls):
    """Silent ones, those that begin and stop, and garbage."""
    open_ones = []
    for number in range(400):
        connection = socket.create_connection(("127.0.0.1", tls.port), timeout=PATIENCE)
        connection.sendall([b"", b"\x16\x03\x01\x02\x00\x01", b"\x16" + b"\xff" * 600][number % 3])
        open_ones.append(connection)
    alice = secure(tls)
    alice.ask("status.get")
    ended = 0
    for connection in open_ones:
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
        ended += 1
    assert ended == 400, "all of them end by themselves"
    alice.ask("status.get")
    for connection in open_ones:
        connection.close()
