"""The migration guide's flags: what is off is refused in so many words, and `status.features` says so."""

import pytest

from rig import value

FLAGS = {
    "ENABLE_NEW_PLUGIN_SYSTEM": "new_plugin_system",
    "ENABLE_SESSION_BROADCASTING": "session_broadcasting",
    "ENABLE_DAID_TRACKING": "daid_tracking",
    "ENABLE_PARAMETER_BATCHING": "parameter_batching",
}


def features(client):
    return client.ask("status.get")["data"]["features"]


def off(client, feature, kind, data=None):
    """Refused as turned off, by its setting's name."""
    details = client.fail("UNKNOWN_MESSAGE_TYPE", kind, data)
    assert details["feature"] == feature and details["type"] == kind
    assert feature in client.answer(client.send(kind, data))["data"]["error"]


@pytest.mark.parametrize("how", ["environment", "settings"])
@pytest.mark.parametrize("name", FLAGS)
def test_status_says_what_is_off(start, name, how):
    if how == "environment":
        rig = start(env={name: "false"})
    else:
        rig = start(settings=f"[features]\n{name.lower()} = false\n")
    said = features(rig.client())
    for flag, feature in FLAGS.items():
        assert (feature in said) == (flag != name)
        assert (f"no_{feature}" in said) == (flag == name)


def test_everything_is_on_by_itself(alice):
    said = features(alice)
    assert set(FLAGS.values()) <= set(said) and "batch" in said and "anonymous_host" in said
    assert not any(feature.startswith("no_") for feature in said)


def test_anonymous_is_told(start):
    for setting, feature in (("true", "anonymous_host"), ("guest", "anonymous_guest")):
        assert feature in features(start(env={"ALLOW_ANONYMOUS": setting}).client())


def test_without_the_new_plugin_system_only_the_old_messages_are_served(start):
    rig = start(env={"ENABLE_NEW_PLUGIN_SYSTEM": "false"})
    old, other = rig.client(), rig.client()
    added = old.ask("ADD_PLUGIN", {"trackId": "mic1", "name": "gain", "pluginId": "g"})
    assert added["type"] == "PLUGIN_ADDED"
    assert other.wait("PLUGIN_ADDED")["data"]["pluginId"] == "g", "and broadcasts are old ones"
    change = {"pluginId": "g", "parameterId": "volume", "value": 0.5}
    assert old.answer(old.send("UPDATE_PARAMETER", change))["type"] == "PARAMETER_UPDATED"
    at = {"track_id": "mic1", "plugin_id": "g"}
    for kind in ("plugin.parameter", "PLUGIN_PARAMETER"):
        off(old, "enable_new_plugin_system", kind, value(at, "volume", 2))
    off(old, "enable_new_plugin_system", "state.get")
    off(old, "enable_new_plugin_system", "track.update", {"track_id": "mic1", "volume": 1})
    parameters = old.answer(old.send("GET_PARAMETERS", {"pluginId": "g"}))
    assert parameters["parameters"] == {"volume": 0.5}
    # The safe direction is always open, and there is a way back.
    assert old.ask("AUTH", {})["type"] == "AUTH_SUCCESS"
    old.ask("track.update", {"track_id": "mic1", "mute": True})
    old.ask("rig.panic", {"mode": "mute"})
    old.ask("rig.restore")


def test_without_broadcasting_each_hears_its_own_replies_only(start):
    rig = start(env={"ENABLE_SESSION_BROADCASTING": "false"})
    alice, bob, upper = rig.client(), rig.client(), rig.client()
    bob.ask("client.features", {"batch": True})
    upper.ask("PLUGIN_LIST")
    at = alice.add()
    alice.ask("plugin.parameter", value(at, "volume", 0.5))
    changes = {"changes": [value(at, "volume", 0.75)], "apply_immediately": True}
    alice.ask("plugin.parameter.batch", changes)
    off(alice, "enable_session_broadcasting", "client.subscribe", {})
    off(alice, "enable_session_broadcasting", "USER_CURSOR_UPDATE", {"x": 1})
    for client in (bob, upper):
        before, snapshot = client.fence()
        assert {message["type"] for message in before} <= {"session.presence"}
    assert bob.plugin("g")["parameters"]["volume"] == 0.75


def test_without_tracking_there_is_no_record_to_ask(start):
    alice = start(env={"ENABLE_DAID_TRACKING": "false"}).client()
    at = alice.add()
    alice.ask("plugin.parameter", value(at, "volume", 0.5), requires_ack=True)
    assert alice.wait("ack")["data"]["success"]
    for kind in ("daid.query", "daid.verify"):
        off(alice, "enable_daid_tracking", kind, {})
    off(alice, "enable_daid_tracking", "daid.lineage", {"entity_id": "g", "direction": "forward"})


def test_without_batching_changes_come_one_by_one(start):
    alice = start(env={"ENABLE_PARAMETER_BATCHING": "false"}).client()
    at = alice.add()
    for immediately in (True, False):
        changes = {"changes": [value(at, "volume", 0.5)], "apply_immediately": immediately}
        off(alice, "enable_parameter_batching", "plugin.parameter.batch", changes)
    off(alice, "enable_parameter_batching", "client.features", {"batch": True})
    assert alice.ask("client.features", {"batch": False})["data"]["batch"] is False
    alice.ask("plugin.parameter", value(at, "volume", 0.5))
    assert "batch" not in features(alice)
