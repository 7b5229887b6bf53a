"""The HTTP fallback (wire.md section 9): the same state, rights, errors and limits without a WebSocket."""

import json
import socket
import threading
import time

import pytest

from rig import PATIENCE, seqs


@pytest.fixture
def at(alice):
    return alice.add()


def change(at, number, **more):
    return {**at, "parameter_id": "volume", "value": number, **more}


def refused(rig, code, status, path, body=None, **headers):
    """A refusal, in the wire's shape; its details."""
    error = rig.api(path, body, status=status, **headers)
    assert error["type"] == "ERROR" and error["timestamp"]
    assert error["data"] == {name: error[name] for name in ("error", "code", "details")}
    assert error["code"] == code, error
    assert len(error["error"]) > 10
    return error["details"]


def in_background(work):
    """Starts it; what gives its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE)
        assert results, "it does not end"
        return results[0]

    return result


def test_the_state_is_that_of_the_socket(rig, alice, at):
    snapshot = alice.state()
    state = rig.api("state")
    assert {**state, "engine": None} == {**snapshot, "engine": None}


def test_the_status(rig, alice):
    status = rig.api("status")
    assert status["clients"] == 1, "a request is nobody who is here"
    assert status["backend"] == "null" and isinstance(status["features"], list)


def test_the_guides_direct_call(rig, alice, at):
    """`fetch('/api/plugins/parameters', {method: 'POST', ...})` as it stands in the guide."""
    answer = rig.api("plugins/parameters", change(at, 0.25))
    assert answer["success"] is True and answer["parameter_value"] == 0.25
    assert answer["applied_frame"] > 0
    told = alice.wait("plugin.parameter")
    assert told["seq"] == answer["seq"] and told["data"]["parameter_value"] == 0.25
    assert told["data"]["changed_by"]
    assert alice.plugin("g")["parameters"]["volume"] == 0.25


def test_the_guides_polling(rig, alice, at):
    alice.ask("plugin.parameter", change(at, 1.5))
    answer = rig.api("plugins/parameters")
    assert answer["parameters"]["g"] == {"volume": 1.5}
    assert set(answer["parameters"]) == {"g", "limiter"}


@pytest.mark.parametrize("path", ["?track_id=mic1&plugin_id=g", "?plugin_id=g&track_id=mic%31"])
def test_one_plugins_parameters(rig, alice, at, path):
    answer = rig.api("plugins/parameters" + path)
    assert answer["parameters"] == {"volume": 1} and answer["bypassed"] is False
    assert answer["parameter_info"]["volume"]["max"] == 4
    assert rig.api("plugins/parameters", at) == answer, "and by POST"


def test_a_get_changes_nothing(rig, alice, at):
    path = "plugins/parameters?track_id=mic1&plugin_id=g&parameter_id=volume&value=2"
    assert refused(rig, "INVALID_MESSAGE", 400, path)["field"] == "value"
    assert alice.plugin("g")["parameters"]["volume"] == 1
    alice.silence("plugin.parameter")


@pytest.mark.parametrize(
    "message, code, status",
    [
        ({"type": "plugin.remove", "data": {"track_id": "mic1", "plugin_id": "x"}}, "PLUGIN_NOT_FOUND", 404),
        ({"type": "track.update", "data": {"track_id": "x", "volume": 1}}, "TRACK_NOT_FOUND", 404),
        ({"type": "plugin.nothing"}, "UNKNOWN_MESSAGE_TYPE", 400),
        ({"data": {}}, "INVALID_MESSAGE", 400),
        ([1, 2], "INVALID_MESSAGE", 400),
        ("not JSON", "INVALID_MESSAGE", 400),
        (b"\xff\xfe", "INVALID_MESSAGE", 400),
        ("", "INVALID_MESSAGE", 400),
        ("[" * 10_000 + "]" * 10_000, "INVALID_MESSAGE", 400),
        ({"type": "plugin.add", "data": {"track_id": "mic1", "name": "?"}}, "PLUGIN_ADD_FAILED", 409),
        ({"type": "AUTH", "data": {"token": "no"}}, "AUTH_FAILED", 401),
    ],
    ids=str,
)
def test_errors_are_the_wires_with_a_fitting_status(rig, message, code, status):
    refused(rig, code, status, "message", message)


def test_errors_of_parameters(rig, at):
    details = refused(rig, "INVALID_PARAMETER", 400, "plugins/parameters", change(at, 9))
    assert details["max"] == 4
    refused(rig, "INVALID_MESSAGE", 400, "plugins/parameters", {**at, "parameter_id": "volume"})
    refused(rig, "PLUGIN_NOT_FOUND", 404, "plugins/parameters?track_id=mic1&plugin_id=no")
    refused(rig, "INVALID_MESSAGE", 400, "plugins/parameters", "[1]")


def test_any_message_and_its_reply(rig, alice):
    message = {"id": "mine", "type": "PLUGIN_ADD", "t0_timestamp": 5, "user_id": "ana"}
    message["data"] = {"track_id": "mic1", "name": "Reverb", "plugin_id": "r"}
    reply = rig.api("message", message)
    assert (reply["id"], reply["type"], reply["t0_timestamp"]) == ("mine", "PLUGIN_ADD", 5)
    assert reply["data"]["plugin_path"] == "builtin:reverb"
    told = alice.wait("plugin.add")
    assert (told["seq"], told["data"]["changed_by"]) == (reply["seq"], "ana")
    assert rig.api("message", {"type": "heartbeat", "data": {"a": 1}})["data"] == {"a": 1}
    assert rig.api("message", {"type": "state.get"})["type"] == "state.snapshot"


def test_an_ack_is_awaited_and_comes_with_the_reply(rig, at):
    message = {"id": "k", "type": "plugin.parameter", "requires_ack": True, "data": change(at, 2)}
    reply = rig.api("message", message)
    assert reply["type"] == "plugin.parameter"
    ack = reply["ack"]["data"]
    assert ack["original_message_id"] == "k" and ack["success"] and ack["durable"] is True


def test_a_repeated_message_is_applied_once(rig, alice, at):
    message = {"type": "plugin.parameter", "idempotency_key": "k1", "data": change(at, 3)}
    first, again = rig.api("message", message), rig.api("message", message)
    assert first["seq"] == again["seq"]
    assert rig.api("plugins/parameters", change(at, 3.5, idempotency_key="k2"))["seq"] == first["seq"] + 1


def test_a_debounced_batch_is_answered_when_it_went_out(rig, alice, at):
    message = {"type": "plugin.parameter.batch", "data": {"changes": [change(at, 0.5)], "debounce_ms": 100}}
    assert rig.api("message", message)["data"]["applied"] == 1


def test_ones_own_change_is_no_reason_to_refuse_base_seq(rig, alice, at):
    mine = rig.api("plugins/parameters", change(at, 0.5, user_id="ana"))
    again = rig.api("plugins/parameters", change(at, 0.6, user_id="ana", base_seq=mine["seq"] - 1))
    details = refused(
        rig,
        "PARAMETER_UPDATE_FAILED",
        409,
        "plugins/parameters",
        change(at, 0.7, user_id="ben", base_seq=mine["seq"]),
    )
    assert details["seq"] == again["seq"] and details["current_value"] == 0.6


def test_a_cursor_is_relayed_and_has_no_reply(rig, alice):
    message = {"type": "USER_CURSOR_UPDATE", "session_id": "s", "data": {"x": 1}}
    alice.ask("heartbeat", {}, session_id="s")
    status, _, body = rig.http(
        "/api/message", "POST", {"Content-Type": "application/json"}, body=json.dumps(message)
    )
    assert (status, body) == (204, b"")
    assert alice.wait("USER_CURSOR_UPDATE")["data"] == {"x": 1}


# The long poll.


def test_a_poll_brings_what_has_happened(rig, alice, at):
    seq = alice.state()["seq"]
    for number in (0.1, 0.2, 0.3):
        alice.ask("plugin.parameter", change(at, number))
    answer = rig.api(f"events?since_seq={seq}&timeout_s=0")
    assert seqs(answer["events"]) == [seq + 1, seq + 2, seq + 3]
    assert [event["data"]["parameter_value"] for event in answer["events"]] == [0.1, 0.2, 0.3]
    assert (answer["seq"], answer["since_seq"]) == (seq + 3, seq)
    assert answer["epoch"] == alice.status["data"]["epoch"]
    again = rig.api(f"events?since_seq={answer['seq']}&timeout_s=0")
    assert again["events"] == [] and again["seq"] == answer["seq"]


def test_a_poll_waits_for_what_happens(rig, alice, at):
    seq = alice.state()["seq"]
    poll = in_background(lambda: rig.api(f"events?since_seq={seq}&timeout_s=30"))
    while rig.metrics()["rigd_polls",] < 1:
        time.sleep(0.01)
    alice.ask("plugin.parameter", change(at, 0.5))
    assert seqs(poll()["events"])[0] == seq + 1


def test_a_poll_ends_with_its_time(rig, alice):
    seq = alice.state()["seq"]
    started = time.monotonic()
    assert rig.api(f"events?since_seq={seq}&timeout_s=0.3")["events"] == []
    assert time.monotonic() - started >= 0.3


def test_a_number_that_is_not_held_brings_a_snapshot(rig, alice, at):
    seq = alice.state()["seq"]
    epoch = "epoch=somewhere-else&"
    for query in (f"since_seq={seq + 100}", f"{epoch}since_seq={seq}"):
        (snapshot,) = rig.api(f"events?{query}")["events"]
        assert snapshot["type"] == "state.snapshot" and snapshot["seq"] == seq
        assert snapshot["data"]["tracks"] == alice.state()["tracks"]


@pytest.mark.parametrize("query", ["", "?since_seq=x", "?since_seq=-1", "?since=1", "?since_seq=1&timeout_s=-1"])
def test_a_poll_without_a_number_is_refused(rig, query):
    assert "field" in refused(rig, "INVALID_MESSAGE", 400, "events" + query)


def test_polls_that_wait_are_bounded_and_hurt_nobody(rig, alice):
    seq = alice.state()["seq"]
    request = f"GET /api/events?since_seq={seq}&timeout_s=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    waiting = [socket.create_connection(("127.0.0.1", rig.port), timeout=PATIENCE) for _ in range(16)]
    for connection in waiting:
        connection.sendall(request.encode())
    while rig.metrics()["rigd_polls",] < 16:
        time.sleep(0.01)
    assert refused(rig, "RATE_LIMITED", 429, f"events?since_seq={seq}")["limit"] == "polls"
    assert int(rig.headers["retry-after"]) >= 1
    alice.ask("status.get")
    rig.api("status")
    for connection in waiting:
        connection.close()
    while rig.metrics()["rigd_polls",] > 0:
        time.sleep(0.01)


def test_polls_end_when_the_rig_does(rig):
    seq = rig.api("state")["seq"]
    poll = in_background(lambda: rig.api(f"events?since_seq={seq}&timeout_s=60"))
    while rig.metrics()["rigd_polls",] < 1:
        time.sleep(0.01)
    rig.stop()
    assert poll()["events"] == []


# Who may, how much, and how.


def test_rights_are_those_of_the_socket(start):
    guest = start(settings='allow_anonymous = "guest"\n')
    assert guest.api("state")["tracks"]
    panic = {"type": "rig.panic"}
    assert refused(guest, "UNAUTHORIZED", 403, "message", panic)["required_permission"] == "plugin:write"
    nobody = start(settings='allow_anonymous = "off"\n')
    refused(nobody, "UNAUTHORIZED", 401, "state")
    assert nobody.headers["www-authenticate"] == "Bearer"
    refused(nobody, "UNAUTHORIZED", 401, "message", panic)
    refused(nobody, "UNAUTHORIZED", 401, "events?since_seq=0")
    refused(nobody, "AUTH_FAILED", 401, "state", Authorization="Bearer wrong")
    refused(nobody, "UNAUTHORIZED", 401, "state", Authorization="Basic YTpi")


def test_limits_hold_over_many_short_connections(rig, alice):
    message = {"type": "track.update", "data": {"track_id": "mic1", "mute": False}}
    post = lambda: rig.http(  # noqa: E731
        "/api/message", "POST", {"Content-Type": "application/json"}, body=json.dumps(message)
    )
    answers = [post() for _ in range(60)]
    codes = [status for status, _, _ in answers]
    assert codes[:20] == [200] * 20 and 429 in codes
    headers = answers[codes.index(429)][1]
    assert int(headers["retry-after"]) >= 1
    assert rig.api("message", {"type": "rig.panic"})["type"] == "rig.panic", "never refused"
    alice.ask("track.update", message["data"])


def test_a_page_of_another_origin_may_not(rig, alice):
    panic = {"type": "rig.panic"}
    refused(rig, "FORBIDDEN_ORIGIN", 403, "message", panic, Origin="https://evil.example")
    refused(rig, "FORBIDDEN_ORIGIN", 403, "state", Origin="https://evil.example")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        error = rig.api("message", panic, status=415, **{"Content-Type": kind})
        assert error["code"] == "UNSUPPORTED_MEDIA_TYPE"
    error = rig.api("state", status=421, Host="evil.example")
    assert error["code"] == "FORBIDDEN_HOST"
    assert alice.state()["panic"] is None
    rig.api("message", panic, Origin=f"http://127.0.0.1:{rig.port}")
    assert alice.state()["panic"] == "mute"


def test_a_page_of_an_allowed_origin_may(start):
    rig = start(settings='allowed_origins = ["https://karaoke.example"]\n')
    origin = {"Origin": "https://karaoke.example"}
    rig.api("state", **origin)
    assert rig.headers["access-control-allow-origin"] == origin["Origin"]
    status, headers, _ = rig.http("/api/message", "OPTIONS", origin)
    assert status == 204
    assert "content-type" in headers["access-control-allow-headers"]
    assert rig.http("/api/message", "OPTIONS", {"Origin": "https://other.example"})[0] == 403


@pytest.mark.parametrize("path", ["state", "status", "events", "message", "plugins/parameters"])
def test_other_methods_are_405(rig, path):
    for method in {"message": ["GET", "HEAD", "PUT"], "plugins/parameters": ["PUT", "DELETE"]}.get(path, ["POST"]):
        status, headers, _ = rig.http("/api/" + path, method)
        assert status == 405 and method not in headers["allow"].split(", ")


@pytest.mark.parametrize("path", ["", "nothing", "state/", "state/x", "plugins"])
def test_other_paths_are_404(rig, path):
    assert rig.api(path, status=404)["code"] == "NOT_FOUND"


def test_bodies_are_bounded(rig, alice):
    assert refused(rig, "INVALID_MESSAGE", 413, "message", "x" * 65_537)["limit"] == 65_536
    with socket.create_connection(("127.0.0.1", rig.port), timeout=PATIENCE) as connection:
        head = "POST /api/message HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        try:
            for _ in range(1000):
                connection.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        except OSError:
            pass
        else:
            assert b" 413 " in connection.recv(100)
    alice.ask("status.get")


def test_a_body_that_never_ends_is_given_up(rig):
    with socket.create_connection(("127.0.0.1", rig.port), timeout=60) as connection:
        head = "POST /api/message HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall((head + "Content-Length: 100\r\n\r\n{").encode())
        assert b" 408 " in connection.recv(100)


def test_a_token_lets_somebody_in(start):
    rig = start(settings='allow_anonymous = "off"\n')
    ana = rig.bearer("host", "ana")
    ben = rig.bearer("guest", "ben")
    volume = {"type": "track.update", "user_id": "zoe", "data": {"track_id": "mic1", "volume": 0.5}}
    reply = rig.api("message", volume, **ana)
    assert reply["user_id"] == "ana", "whatever it claims"
    assert refused(rig, "UNAUTHORIZED", 403, "message", volume, **ben)["user_id"] == "ben"
    assert rig.api("state", **ben)["seq"] == reply["seq"]
    refused(rig, "UNAUTHORIZED", 401, "state")
    # Nobody's name is on the list of who is here because of a request.
    assert rig.api("message", {"type": "session.list"}, **ana)["data"]["users"] == []


def test_limits_are_of_the_user_wherever_the_token_is_shown(start):
    """Others behind the same address have no part in it, and take none away."""
    rig = start(settings='[limits]\nmessages_per_s = 1\nmessage_burst = 5\n')
    ana = rig.bearer("host", "ana")
    for _ in range(10):
        rig.http("/api/status")
    refused(rig, "RATE_LIMITED", 429, "status")
    for _ in range(5):
        rig.api("status", **ana)
    refused(rig, "RATE_LIMITED", 429, "status", **ana)
    assert rig.api("message", {"type": "rig.panic"})["type"] == "rig.panic"
