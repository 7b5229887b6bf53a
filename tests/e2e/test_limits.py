"""How much one client may ask; limits refuse the message and never cut the connection (section 8)."""

import time

from raw import Raw
from rig import refusal, value


# Making a track quieter is never refused, so this is what the limits are for.
LOUDER = {"track_id": "mic1", "mute": False}


def flood(client, count, kind, data=None):
    """Sends at once; all answers, in order."""
    ids = [client.send(kind, data) for _ in range(count)]
    return [client.answer(id) for id in ids]


def refused(answers):
    return [answer for answer in answers if answer["type"] == "ERROR"]


def test_messages_come_in_bursts_of_200(alice):
    answers = flood(alice, 260, "heartbeat", {})
    errors = refused(answers)
    assert answers.index(errors[0]) >= 200
    assert len(errors) > 20
    details = refusal("RATE_LIMITED", errors[0])
    assert details["limit"] == "messages_per_s"
    retry = details["retry_after"]
    assert 0 < retry <= 0.02 and abs(retry * 100 - round(retry * 100)) < 1e-9
    time.sleep(refusal("RATE_LIMITED", errors[-1])["retry_after"])
    alice.ask("heartbeat", {})


def test_whoever_floods_limits_only_itself(alice, bob):
    flood(alice, 300, "status.get")
    assert refused(flood(bob, 100, "status.get")) == []


def test_operations_come_in_bursts_of_20(alice):
    answers = flood(alice, 30, "track.update", LOUDER)
    errors = refused(answers)
    assert 20 <= answers.index(errors[0]) <= 22
    details = refusal("RATE_LIMITED", errors[0])
    assert details["limit"] == "operations_per_s"
    assert 0 < details["retry_after"] <= 0.1
    # Parameters are no operations.
    alice.ask("status.get")


def test_what_backs_off_is_accepted(alice):
    data = LOUDER
    for _ in range(3):
        errors = refused(flood(alice, 40, "track.update", data))
        time.sleep(refusal("RATE_LIMITED", errors[-1])["retry_after"])
        alice.ask("track.update", data)


def test_immediate_batches_have_a_limit(alice):
    at = alice.add()
    data = {"changes": [value(at, "volume", 0.5)], "apply_immediately": True}
    errors = refused(flood(alice, 40, "plugin.parameter.batch", data))
    assert 10 <= len(errors) <= 20
    assert refusal("RATE_LIMITED", errors[0])["limit"] == "batches_per_s"


def test_debounced_batches_merge_and_are_not_refused(alice):
    at = alice.add()
    ids = [
        alice.send("plugin.parameter.batch", {"changes": [value(at, "volume", step / 100)]})
        for step in range(60)
    ]
    answers = [alice.answer(id) for id in ids]
    assert refused(answers) == []
    assert sum(answer["data"]["applied"] for answer in answers) >= 1
    assert sum(a["data"]["applied"] + a["data"]["superseded"] for a in answers) == 60
    assert alice.plugin("g")["parameters"]["volume"] == 0.59


def test_panic_is_never_refused(alice, bob):
    flood(alice, 260, "heartbeat", {})
    flood(alice, 30, "track.update", LOUDER)
    answers = flood(alice, 40, "rig.panic", {"mode": "mute"})
    assert refused(answers) == []
    assert bob.state()["panic"] is not None


def test_the_safe_direction_is_never_refused(start):
    alice = start(settings="[limits]\noperations_per_s = 1\n").client()
    flood(alice, 40, "track.update", LOUDER)
    for step in range(40):
        alice.ask("track.update", {"track_id": "mic1", "volume": 0.9 - step / 100})
    alice.ask("track.update", {"track_id": "mic1", "mute": True})
    alice.fail("RATE_LIMITED", "track.update", {"track_id": "mic1", "volume": 1})


def test_retry_after_is_honest(start):
    rig = start(settings="[limits]\nmessages_per_s = 2\nmessage_burst = 3\n")
    alice = rig.client()
    errors = refused(flood(alice, 5, "heartbeat", {}))
    retry = refusal("RATE_LIMITED", errors[-1])["retry_after"]
    assert 0.3 <= retry <= 0.5
    time.sleep(retry)
    alice.ask("heartbeat", {})


def test_limits_are_settings(start):
    settings = "[limits]\nbatch_changes = 2\nmessage_bytes = 2000\noperations_per_s = 1\n"
    alice = start(settings=settings).client()
    at = alice.add()
    changes = [value(at, "volume", 0.5)] * 3
    assert alice.fail("INVALID_MESSAGE", "plugin.parameter.batch", {"changes": changes})["limit"] == 2
    errors = refused(flood(alice, 5, "track.update", LOUDER))
    assert refusal("RATE_LIMITED", errors[0])["retry_after"] > 0.5


def test_connections_have_a_limit(start):
    rig = start(settings="[limits]\nconnections = 3\n")
    clients = [rig.client() for _ in range(3)]
    fourth = Raw(rig.port)
    assert fourth.status in (429, 503)
    fourth.close()
    clients[0].ask("status.get")
    clients.pop().close()
    deadline = time.monotonic() + 10
    while True:  # the place is free once the rig has seen the close
        try:
            rig.client().ask("status.get")
            break
        except Exception:
            assert time.monotonic() < deadline
