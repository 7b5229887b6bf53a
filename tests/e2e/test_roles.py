"""What each role may do (section 8)."""

import pytest

from rig import value

EVERYTHING = {
    "plugin.list": {},
    "track.list": {},
    "state.get": {},
    "status.get": {},
    "client.features": {},
    "client.subscribe": {},
    "plugin.parameters.get": {"track_id": "mic1", "plugin_id": "g1"},
    "plugin.presets.get": {"track_id": "mic1", "plugin_id": "g1"},
    "track.presets.get": {},
}
CHANGES = {
    "plugin.parameter": ({"track_id": "mic1", "plugin_id": "g1", "parameter_id": "volume", "value": 0.5}, "plugin:write"),
    "plugin.bypass": ({"track_id": "mic1", "plugin_id": "g1", "bypass": True}, "plugin:write"),
    "plugin.preset": ({"track_id": "mic1", "plugin_id": "g1", "preset_data": {"volume": 0.4}}, "plugin:write"),
    "plugin.move": ({"track_id": "mic1", "plugin_id": "g1", "position": 0}, "plugin:write"),
    "plugin.parameter.batch": (
        {"changes": [{"track_id": "mic1", "plugin_id": "g1", "parameter_id": "volume", "value": 0.5}], "apply_immediately": True},
        "plugin:write",
    ),
    "track.update": ({"track_id": "mic1", "volume": 0.5}, "track:modify"),
}  # fmt: skip
HOSTS = {
    "plugin.add": ({"track_id": "mic1", "name": "echo"}, "plugin:add"),
    "plugin.remove": ({"track_id": "mic1", "plugin_id": "g1"}, "plugin:remove"),
    "plugin.preset.save": ({"track_id": "mic1", "plugin_id": "g1", "preset_name": "x"}, "plugin:write"),
    "track.preset.save": ({"track_id": "mic1", "preset_name": "x"}, "track:modify"),
    "track.add": ({"track_id": "new", "kind": "mic"}, "track:modify"),
    "track.remove": ({"track_id": "mic1"}, "track:modify"),
    "rig.restore": ({}, "track:modify"),
    "daid.query": ({}, "log:read"),
    "daid.verify": ({}, "log:read"),
    "session.list": ({}, "session:manage"),
    "session.invite": ({"role": "host"}, "session:manage"),
    "session.role": ({"user_id": "me", "role": "host"}, "session:manage"),
    "session.end": ({"user_id": "ana"}, "session:manage"),
    "device.get": ({}, "session:manage"),
    "device.reboot": ({}, "session:manage"),
    "device.power_off": ({}, "session:manage"),
    "device.reset": ({"factory": True}, "session:manage"),
}  # fmt: skip


@pytest.fixture
def host(rig):
    host = rig.enter()
    host.add("gain", "g1", "mic1")
    host.add("gain", "g2", "mic2")
    return host


def refused(client, kind, data, permission):
    details = client.fail("UNAUTHORIZED", kind, data)
    assert details["required_permission"] == permission, kind
    assert details["user_id"] == "me"


@pytest.mark.parametrize("role", ["guest", "display"])
def test_guests_and_displays_look(rig, host, role):
    client = rig.enter(role, "me")
    for kind, data in EVERYTHING.items():
        client.ask(kind, data)
    for kind, (data, permission) in {**CHANGES, **HOSTS}.items():
        refused(client, kind, data, permission)
        refused(client, kind, {"track_id": 7}, permission)
    refused(client, "rig.panic", {"mode": "mute"}, "plugin:write")
    assert host.state()["panic"] is None
    host.ask("track.update", {"track_id": "mic1", "volume": 0.25})
    assert client.wait("track.update")["data"]["volume"] == 0.25, "and are told"


def test_a_performer_changes_its_own_tracks(rig, host):
    singer = rig.enter("performer", "me", "--tracks", "mic1")
    data = singer.ask("AUTH", {"token": rig.token("performer", "me", "--tracks", "mic1")})["data"]
    assert data["permissions"] == ["plugin:read", "plugin:write", "track:modify"]
    assert data["tracks"] == ["mic1"]
    for kind, data in EVERYTHING.items():
        singer.ask(kind, data)
    for kind, (data, _) in CHANGES.items():
        singer.ask(kind, data)
    singer.ask("track.update", {"track_id": "mic1", "pan": 0.2, "mute": True, "name": "me"})
    singer.ask("track.preset", {"track_id": "mic1", "preset_name": "off"})
    for kind, (data, permission) in HOSTS.items():
        refused(singer, kind, data, permission)


def test_a_performer_changes_no_other_track(rig, host):
    singer = rig.enter("performer", "me", "--tracks", "mic1,music")
    before = host.state()
    for kind, (data, permission) in CHANGES.items():
        if "track_id" in data:
            there = {**data, "track_id": "mic2"}
            if "plugin_id" in data:
                there["plugin_id"] = "g2"
            refused(singer, kind, there, permission)
    refused(singer, "track.update", {"track_id": "master", "volume": 0.1}, "track:modify")
    refused(singer, "track.preset", {"track_id": "mic2", "preset_name": "warm"}, "track:modify")
    limiter = {"track_id": "master", "plugin_id": "limiter", "parameter_id": "ceiling_db", "value": -3}
    refused(singer, "plugin.parameter", limiter, "plugin:write")
    # Nor by a wrong name for the track, nor by none.
    lie = {"track_id": "mic1", "plugin_id": "g2", "parameter_id": "volume", "value": 2}
    refused(singer, "plugin.parameter", lie, "plugin:write")
    refused(singer, "UPDATE_PARAMETER", {"pluginId": "g2", "parameterId": "volume", "value": 2}, "plugin:write")
    after = host.state()
    assert after["tracks"] == before["tracks"]


def test_a_solo_and_an_input_concern_the_others(rig, host):
    singer = rig.enter("performer", "me", "--tracks", "mic1")
    refused(singer, "track.update", {"track_id": "mic1", "solo": True}, "track:modify")
    refused(singer, "track.update", {"track_id": "mic1", "input": "device:2"}, "track:modify")
    host.ask("track.add", {"track_id": "fx", "kind": "bus"})
    singer.ask("track.update", {"track_id": "mic1", "sends": {"fx": 0.5}})


def test_one_change_that_one_may_not_do_refuses_the_batch(rig, host):
    singer = rig.enter("performer", "me", "--tracks", "mic1")
    mine = {"track_id": "mic1", "plugin_id": "g1"}
    other = {"track_id": "mic2", "plugin_id": "g2"}
    for immediately in (True, False):
        changes = [value(mine, "volume", 0.7), value(other, "volume", 0.7), value(mine, "volume", 99)]
        data = {"changes": changes, "apply_immediately": immediately}
        failures = singer.fail("INVALID_PARAMETER", "plugin.parameter.batch", data)["failures"]
        assert [(failure["index"], failure["code"]) for failure in failures] == [
            (1, "UNAUTHORIZED"),
            (2, "INVALID_PARAMETER"),
        ]
        assert failures[0]["required_permission"] == "plugin:write"
    assert host.plugin("g1")["parameters"]["volume"] == 1
    data = {"changes": [value(mine, "volume", 0.7)], "apply_immediately": True}
    singer.ask("plugin.parameter.batch", data)


def test_a_performer_may_stop_everything_and_a_host_goes_on(rig, host):
    singer = rig.enter("performer", "me", "--tracks", "mic1")
    singer.ask("rig.panic", {"mode": "mute"})
    assert host.wait("rig.panic")["data"]["changed_by"] == "me"
    refused(singer, "rig.restore", {}, "track:modify")
    host.ask("rig.restore")


def test_what_roles_may_do_is_a_setting(start):
    rig = start(settings='[roles]\nguest = ["plugin:read", "plugin:write"]\n')
    host, guest = rig.enter(), rig.enter("guest", "me")
    host.add("gain", "g1", "mic1")
    assert guest.ask("AUTH", {"token": rig.token("guest", "me")})["data"]["permissions"] == [
        "plugin:read",
        "plugin:write",
    ]
    guest.ask(*[(kind, data) for kind, (data, _) in CHANGES.items()][0])
    refused(guest, "track.update", {"track_id": "mic1", "volume": 1}, "track:modify")


def test_another_role_counts_at_once_and_after_a_restart(start, tmp_path):
    rig = start("--state-dir", tmp_path / "kept")
    host, singer = rig.enter(), rig.enter("performer", "me", "--tracks", "mic1")
    token = rig.token("performer", "me", "--tracks", "mic1")
    singer.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    reply = host.ask("session.role", {"user_id": "me", "role": "guest"}, requires_ack=True)
    assert (reply["data"]["role"], reply["data"]["connections"]) == ("guest", 1)
    ack = host.wait("ack", original_message_id=reply["id"])
    assert ack["data"]["durable"] is True
    refused(singer, "track.update", {"track_id": "mic1", "volume": 0.6}, "track:modify")
    event = host.ask("daid.query", {"operation": "session.role"})["data"]["events"][0]
    assert (event["entity_type"], event["user_id"], event["verified"]) == ("session", "ana", True)
    assert (event["metadata"]["subject"], event["metadata"]["to_role"]) == ("me", "guest")
    rig.process.kill()
    rig.process.wait()
    rig.finish = lambda: None
    rig = start("--state-dir", tmp_path / "kept")
    again = rig.client()
    assert again.ask("AUTH", {"token": token})["data"]["role"] == "guest"
    # A token that was made since says what it says.
    newer = rig.token("performer", "me", "--tracks", "mic2")
    assert again.ask("AUTH", {"token": newer})["data"]["role"] == "performer"
    host = rig.enter()
    host.ask("session.role", {"user_id": "me", "role": "performer", "tracks": ["mic1"]})
    again.ask("track.update", {"track_id": "mic1", "volume": 0.7})
    refused(again, "track.update", {"track_id": "mic2", "volume": 0.7}, "track:modify")


def test_a_role_is_given_properly_or_not_at_all(rig, host):
    for data, field in (
        ({"role": "guest"}, "user_id"),
        ({"user_id": "me"}, "role"),
        ({"user_id": "me", "role": "king"}, "role"),
        ({"user_id": "me", "role": "performer", "tracks": "mic1"}, "tracks"),
        ({"user_id": "me", "role": "performer", "tracks": ["a b"]}, "tracks"),
    ):
        assert host.fail("INVALID_MESSAGE", "session.role", data)["field"] == field


def test_a_name_that_is_only_claimed_gets_nothing_of_its_owner(start):
    rig = start(settings='allow_anonymous = "guest"\n')
    host, singer, liar = rig.enter(), rig.enter("guest", "me"), rig.client()
    liar.ask("AUTH", {"user_id": "me"})
    host.ask("session.role", {"user_id": "me", "role": "host"})
    singer.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    refused(liar, "track.update", {"track_id": "mic1", "volume": 0.5}, "track:modify")
    # Of somebody who has no token, the open connection is meant.
    liar.ask("AUTH", {"user_id": "bo"})
    host.ask("session.role", {"user_id": "bo", "role": "performer", "tracks": ["mic1"]})
    liar.ask("track.update", {"track_id": "mic1", "volume": 0.6})
