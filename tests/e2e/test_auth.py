"""Who somebody is: tokens, where they come, and what becomes of wrong ones (sections 2, 3, 7, 8)."""

import base64
import hashlib
import hmac
import json
import os
import stat
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rig import PATIENCE, refusal, run

OFF = "allow_anonymous = \"off\"\n"
ALL = {
    "plugin:read", "plugin:write", "plugin:add", "plugin:remove",
    "track:modify", "session:manage", "log:read",
}  # fmt: skip


def encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(rig, claims, alg="HS256"):
    """A token of somebody who knows the secret, and no rigd made."""
    secret = (rig.state / "tokens.key").read_bytes()
    header = encoded(json.dumps({"alg": alg, "typ": "JWT"}).encode())
    body = f"{header}.{encoded(json.dumps(claims).encode())}"
    return f"{body}.{encoded(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def closed(client):
    """The code with which a connection was closed; what came before it is held."""
    try:
        while True:
            client.held.append(client.receive(timeout=2 * PATIENCE))
    except ConnectionClosed as error:
        return error.rcvd.code


@pytest.fixture
def locked(start):
    return start(settings=OFF)


def test_the_secret_is_made_once_for_the_rig_alone(start, tmp_path):
    folder = tmp_path / "kept"
    rig = start("--state-dir", folder)
    file = folder / "tokens.key"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    secret = file.read_bytes()
    assert len(secret) >= 32
    token = rig.token()
    rig.stop()
    again = start("--state-dir", folder)
    assert file.read_bytes() == secret
    assert again.client().ask("AUTH", {"token": token})["data"]["user_id"] == "ana"


def test_a_token_says_who_somebody_is(locked):
    client = locked.client()
    assert client.status["data"]["authenticated"] is False
    assert client.fail("UNAUTHORIZED", "state.get")["required_permission"] == "plugin:read"
    reply = client.ask("AUTH", {"token": locked.token(user="ana"), "user_id": "eve"}, id="a1")
    assert (reply["type"], reply["id"]) == ("AUTH_SUCCESS", "a1")
    data = reply["data"]
    assert (data["user_id"], data["role"]) == ("ana", "host")
    assert set(data["permissions"]) == ALL
    assert isinstance(data["session_id"], str) and data["session_id"]
    named = client.ask("auth", {"token": locked.token(user="ana"), "session_id": "red"})
    assert named["data"]["session_id"] == "red"
    changed = client.ask("track.update", {"track_id": "mic1", "volume": 0.5}, user_id="eve", session_id="x")
    assert (changed["user_id"], changed["session_id"]) == ("ana", "red"), "their own identity wins"


def test_other_tools_can_sign(locked):
    client = locked.client()
    token = signed(locked, {"userId": "ben", "role": "guest", "exp": time.time() + 600})
    data = client.ask("AUTH", {"token": token})["data"]
    assert (data["user_id"], data["role"], data["permissions"]) == ("ben", "guest", ["plugin:read"])


def test_a_token_comes_by_header_or_subprotocol(locked):
    token = locked.token()
    for options in (
        {"additional_headers": {"Authorization": f"Bearer {token}"}},
        {"subprotocols": [f"bearer.{token}"]},
        {"subprotocols": ["rigd", f"bearer.{token}"]},
    ):
        client = locked.client(**options)
        assert client.status["data"]["authenticated"] is True
        assert client.status["user_id"] == "ana"
        assert client.ws.subprotocol == options.get("subprotocols", [None])[0]
        client.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    # In the address it is nothing.
    client = locked.client(url=f"{locked.url}?token={token}")
    assert client.status["data"]["authenticated"] is False
    client.fail("UNAUTHORIZED", "state.get")


def test_a_bad_token_in_the_handshake_is_refused(rig):
    for options in (
        {"additional_headers": {"Authorization": "Bearer nonsense"}},
        {"subprotocols": ["bearer.nonsense"]},
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(rig.url, proxy=None, open_timeout=PATIENCE, **options)
        response = refused.value.response
        assert response.status_code == 401
        assert json.loads(response.body)["code"] == "AUTH_FAILED"
        assert "nonsense" not in response.body.decode()


def bad_tokens(rig):
    good = rig.token()
    header, body, signature = good.split(".")
    now = time.time()
    whole = {"sub": "ana", "role": "host", "exp": now + 600}
    none = encoded(b'{"alg":"none","typ":"JWT"}')
    yield "", "empty"
    yield "nonsense", "JWT"
    yield f"{none}.{body}.", "JWT"
    yield f"{none}.{body}.{signature}", "JWT"
    yield signed(rig, whole, alg="HS512"), "JWT"
    yield f"{header}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}", "not signed by this rig"
    yield f"{header}.{encoded(b'{}')}.{signature}", "not signed by this rig"
    yield signed(rig, {**whole, "exp": now - 1}), "expired"
    yield signed(rig, {k: v for k, v in whole.items() if k != "exp"}), '"exp"'
    yield signed(rig, {**whole, "exp": "tomorrow"}), '"exp"'
    yield signed(rig, {**whole, "role": "king"}), '"role"'
    yield signed(rig, {**whole, "sub": 7}), '"sub"'
    yield signed(rig, {**whole, "tracks": "mic1"}), '"tracks"'


def test_bad_tokens_are_refused_with_the_reason(rig):
    for number, (token, reason) in enumerate(bad_tokens(rig)):
        # Each from an address of its own: they are counted.
        address = f"127.0.1.{number + 1}"
        client = rig.client(source_address=(address, 0))
        client.ask("AUTH", {"user_id": "eve", "session_id": "blue"})
        details = client.fail("AUTH_FAILED", "AUTH", {"token": token})
        assert reason in details["reason"], (token, details)
        assert not token or token not in json.dumps(details)
        # It is what it was.
        reply = client.ask("track.update", {"track_id": "mic1", "volume": 0.5})
        assert (reply["user_id"], reply["session_id"]) == ("eve", "blue")
    client.fail("INVALID_MESSAGE", "AUTH", {"token": 5})


def test_the_fifth_wrong_one_in_a_row_is_answered_and_closed(locked):
    bad = {"token": "nonsense"}
    good = {"token": locked.token()}
    client = locked.client()
    for _ in range(3):
        client.fail("AUTH_FAILED", "AUTH", bad)
    client.ask("AUTH", good)
    for _ in range(4):
        client.fail("AUTH_FAILED", "AUTH", bad)
    # None at all is not counted.
    stranger = locked.client()
    for _ in range(3):
        stranger.fail("AUTH_FAILED", "AUTH", {})
    refusal("AUTH_FAILED", client.answer(client.send("AUTH", bad)))
    assert closed(client) == 1008
    # From now on each is the last from that address,
    stranger.fail("AUTH_FAILED", "AUTH", bad)
    assert closed(stranger) == 1008
    # but a good one always enters, and others are not touched.
    friend = locked.client()
    assert friend.ask("AUTH", good)["data"]["user_id"] == "ana"
    other = locked.client(source_address=("127.0.0.2", 0))
    for _ in range(4):
        other.fail("AUTH_FAILED", "AUTH", bad)
    other.ask("AUTH", good)
    again = locked.client()
    again.fail("AUTH_FAILED", "AUTH", bad)
    assert closed(again) == 1008, "a good one does not make an address forgotten"


def test_wrong_ones_in_handshakes_count_too(locked):
    for _ in range(5):
        with pytest.raises(InvalidStatus):
            connect(locked.url, proxy=None, additional_headers={"Authorization": "Bearer x"})
    client = locked.client()
    client.fail("AUTH_FAILED", "AUTH", {"token": "x"})
    assert closed(client) == 1008
    locked.enter().ask("status.get")


def test_until_somebody_signs_in_only_that_and_heartbeats_are_served(locked):
    client = locked.client()
    assert client.ask("heartbeat", {"n": 1})["data"]["n"] == 1
    for kind, data in (
        ("state.get", {}), ("status.get", {}), ("plugin.list", {}), ("rig.panic", {"mode": "mute"}),
        ("track.update", {"track_id": "mic1", "mute": True}), ("session.list", {}),
        ("client.subscribe", {}), ("meters.subscribe", {"rate_hz": 10}), ("daid.verify", {}),
    ):  # fmt: skip
        client.fail("UNAUTHORIZED", kind, data)
    # However badly it is said: a stranger learns nothing of what there is to say.
    for kind, data in (("plugin.add", {}), ("session.invite", {"role": 7}), ("no.such.message", {})):
        client.fail("UNAUTHORIZED", kind, data)
    # And nothing is told.
    host = locked.enter()
    host.ask("track.update", {"track_id": "mic1", "volume": 0.25})
    client.ask("heartbeat", {})
    assert {message["type"] for message in client.held} <= {"ERROR"}
    assert host.state()["panic"] is None


def test_without_a_token_one_has_30_s(locked):
    begun = time.monotonic()
    silent, loud = locked.client(), locked.client()
    loud.ask("AUTH", {"token": locked.token()})
    assert closed(silent) == 1008
    assert time.monotonic() - begun > 29
    loud.ask("status.get")


def test_who_may_be_anonymous(start):
    host = start(settings='allow_anonymous = "host"\n', env={"ALLOW_ANONYMOUS": ""}).client()
    data = host.ask("AUTH", {})["data"]
    assert (data["user_id"], data["role"]) == ("anonymous_user", "host")
    assert data["session_id"].startswith("anonymous_")
    guest = start(settings='allow_anonymous = "guest"\n').client()
    assert guest.status["data"]["authenticated"] is False
    guest.ask("state.get")
    guest.fail("UNAUTHORIZED", "track.update", {"track_id": "mic1", "volume": 1})
    data = guest.ask("AUTH", {"user_id": "gus", "session_id": "bar"})["data"]
    assert (data["user_id"], data["session_id"], data["role"]) == ("gus", "bar", "guest")
    off = start(env={"ALLOW_ANONYMOUS": "false"}).client()
    off.fail("AUTH_FAILED", "AUTH", {"user_id": "gus"})


def test_on_the_network_nobody_is_anonymous_unless_said(start):
    rig = start("--listen", "0.0.0.0:0")
    client = rig.client()
    client.fail("UNAUTHORIZED", "state.get")
    client.ask("AUTH", {"token": rig.token()})
    client.ask("state.get")
    open_to_all = start("--listen", "0.0.0.0:0", env={"ALLOW_ANONYMOUS": "true"}).client()
    open_to_all.ask("track.update", {"track_id": "mic1", "volume": 0.5})


def test_an_expired_token_ends_its_connections(locked):
    token = locked.token(ttl="3s")
    client = locked.client(additional_headers={"Authorization": f"Bearer {token}"})
    client.ask("state.get")
    other = locked.enter("guest", "ben")
    assert closed(client) == 1008
    late = locked.client()
    assert "expired" in late.fail("AUTH_FAILED", "AUTH", {"token": token})["reason"]
    other.ask("state.get")


def test_rotating_signs_everyone_out(start):
    rig = start()
    old = rig.token()
    here = rig.enter()
    anonymous = rig.client()
    before = (rig.state / "tokens.key").read_bytes()
    rotated = run(rig.folder, "token", "--rotate", "--role", "host", "--user", "ana", "--state-dir", rig.state)
    assert rotated.returncode == 0
    assert (rig.state / "tokens.key").read_bytes() != before
    assert closed(here) == 1008
    anonymous.fail("AUTH_FAILED", "AUTH", {"token": old})
    assert anonymous.ask("AUTH", {"token": rotated.stdout.strip()})["data"]["user_id"] == "ana"
    query = anonymous.ask("daid.query", {"operation": "session.rotate"})
    assert len(query["data"]["events"]) == 1
    alone = run(rig.folder, "token", "--rotate", "--state-dir", rig.state)
    assert (alone.returncode, alone.stdout) == (0, "")


def test_nobody_has_more_connections_than_five(locked):
    token = locked.token()
    mine = [locked.client() for _ in range(6)]
    for client in mine[:5]:
        client.ask("AUTH", {"token": token})
        client.ask("AUTH", {"token": token})
    assert mine[5].fail("CAPACITY", "AUTH", {"token": token})["limit"] == 5
    mine[5].fail("UNAUTHORIZED", "state.get")
    with pytest.raises(InvalidStatus) as refused:
        locked.enter()
    assert refused.value.response.status_code == 503
    locked.enter("host", "ben").ask("state.get")
    mine[0].close()
    deadline = time.monotonic() + PATIENCE
    while mine[5].answer(mine[5].send("AUTH", {"token": token}))["type"] == "ERROR":
        assert time.monotonic() < deadline, "who has gone makes room"
        time.sleep(0.05)


def test_tokens_are_never_logged(start):
    rig = start(settings="log_messages = true\n", env={"RIGD_LOG": "trace"})
    token = rig.token()
    secret = (rig.state / "tokens.key").read_text()
    client = rig.client()
    client.ask("AUTH", {"token": token})
    client.fail("AUTH_FAILED", "AUTH", {"token": token + "x"})
    rig.enter()
    rig.client(subprotocols=[f"bearer.{token}"])
    events = client.ask("daid.query", {})["data"]["events"]
    rig.stop()
    for text in (rig.log, json.dumps(events)):
        assert secret not in text
        assert token.split(".")[2] not in text
        assert token.split(".")[1] not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--role", "host"),
        ("--user", "ana"),
        ("--role", "king", "--user", "ana"),
        ("--role", "host", "--user", ""),
        ("--role", "host", "--user", "ana", "--ttl", "soon"),
        ("--role", "host", "--user", "ana", "--ttl", "0s"),
        ("--role", "performer", "--user", "ana", "--tracks", "a:b"),
    ],
)
def test_a_token_that_is_asked_for_wrongly_is_not_made(tmp_path, arguments):
    printed = run(tmp_path, "token", *arguments, "--state-dir", tmp_path / "state")
    assert printed.returncode == 2
    assert printed.stdout == "" and len(printed.stderr) > 20
    assert not (tmp_path / "state").exists()
