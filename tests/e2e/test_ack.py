"""`requires_ack`: one `ack` behind the reply (wire.md sections 1 and 3)."""

import pytest

from rig import value


def after(client, id):
    """What came for a message, in order: replies, errors and acks."""
    answer = client.answer(id)
    ack = client.wait("ack", original_message_id=id)
    return answer, ack


def test_a_change_is_acknowledged_after_its_reply(alice):
    id = alice.send("plugin.add", {"track_id": "mic1", "name": "gain"}, requires_ack=True)
    first = alice.find(lambda m: m["id"] == id or m["type"] == "ack", "reply or ack")
    assert first["id"] == id, "the reply comes first"
    ack = alice.wait("ack")
    data = ack["data"]
    assert data["original_message_id"] == id
    assert data["success"] is True
    assert isinstance(data["message"], str)
    assert data["timestamp"].endswith("Z")
    assert data["durable"] is True
    assert "data" in data


def test_only_who_asks_gets_one(alice):
    alice.ask("track.update", {"track_id": "mic1", "mute": True})
    alice.ask("track.update", {"track_id": "mic1", "mute": False}, requires_ack=False)
    alice.silence("ack")


def test_only_the_asker_gets_one(alice, bob):
    alice.ask("track.update", {"track_id": "mic1", "mute": True}, requires_ack=True)
    alice.wait("ack")
    bob.silence("ack")


def test_after_an_error_it_says_so(alice):
    id = alice.send("track.update", {"track_id": "nope", "mute": True}, requires_ack=True)
    error, ack = after(alice, id)
    assert error["type"] == "ERROR"
    assert ack["data"]["success"] is False
    assert isinstance(ack["data"]["message"], str)


def test_a_malformed_message_is_acknowledged_as_failed(alice):
    id = alice.send("plugin.parameter", {"track_id": "mic1"}, requires_ack=True)
    error, ack = after(alice, id)
    assert error["data"]["code"] == "INVALID_MESSAGE"
    assert ack["data"]["success"] is False


@pytest.mark.parametrize("at_once", [True, False])
def test_a_batch_has_one_ack(alice, at_once):
    at = alice.add()
    changes = [value(at, "volume", step / 10) for step in range(5)]
    data = {"changes": changes, "apply_immediately": at_once}
    id = alice.send("plugin.parameter.batch", data, requires_ack=True)
    reply, ack = after(alice, id)
    assert reply["type"] == "plugin.parameter.batch"
    assert ack["data"]["success"] is True
    alice.silence("ack")


def test_every_dialect_spells_it_ack(alice):
    for kind in ("plugin.add", "PLUGIN_ADD", "ADD_PLUGIN"):
        id = alice.send(kind, {"track_id": "mic1", "name": "gain"}, requires_ack=True)
        _, ack = after(alice, id)
        assert ack["type"] == "ack"
        assert ack["data"]["success"] is True


def test_it_must_be_a_boolean(alice):
    details = alice.fail("INVALID_MESSAGE", "status.get", requires_ack="yes")
    assert details["field"] == "requires_ack"
