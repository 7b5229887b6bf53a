"""Three dialects on one socket (wire.md section 2)."""

import pytest

from rig import value


@pytest.fixture
def other(bob):
    bob.add()
    return bob


def test_upper_is_answered_in_upper(alice):
    added = alice.ask("PLUGIN_ADD", {"track_id": "mic1", "name": "Reverb", "plugin_path": "x", "plugin_id": ""})
    assert added["type"] == "PLUGIN_ADD"
    assert added["data"]["track_id"] == "mic1"
    assert added["data"]["parameters"]["wet_dry"] == 0.25
    at = {"track_id": "mic1", "plugin_id": added["data"]["plugin_id"]}
    for kind, data in [
        ("PLUGIN_PARAMETER", {**at, "parameter_id": "wet_dry", "parameter_value": 0.7}),
        ("PLUGIN_PARAMETER_BATCH", {"changes": [value(at, "wet_dry", 0.8)]}),
        ("PLUGIN_BYPASS", {**at, "bypass": True}),
        ("PLUGIN_PRESETS_GET", at),
        ("PLUGIN_PRESET_SAVE", {**at, "preset_name": "mine"}),
        ("PLUGIN_PRESET", {**at, "preset_name": "mine"}),
        ("PLUGIN_PARAMETERS_GET", at),
        ("PLUGIN_MOVE", {**at, "position": 0}),
        ("PLUGIN_LIST", None),
        ("PLUGIN_REMOVE", at),
        ("TRACK_LIST", None),
        ("TRACK_UPDATE", {"track_id": "mic1", "mute": True}),
        ("RIG_PANIC", {"mode": "mute"}),
        ("RIG_RESTORE", None),
        ("STATUS_GET", None),
        ("CLIENT_FEATURES", None),
        ("METERS_SUBSCRIBE", {"rate_hz": 1, "format": "json"}),
        ("METERS_UNSUBSCRIBE", None),
    ]:
        assert alice.ask(kind, data)["type"] == kind


def test_some_messages_are_spelt_alike_in_all(alice):
    assert alice.ask("STATE_GET")["type"] == "state.snapshot"
    assert alice.ask("HEARTBEAT", {"n": 1})["type"] == "heartbeat_response"
    assert alice.ask("auth", {"user_id": "ana"})["type"] == "AUTH_SUCCESS"
    assert alice.answer(alice.send("PLUGIN_REMOVE", {}))["type"] == "ERROR"
    assert alice.answer(alice.send("REMOVE_PLUGIN", {}))["type"] == "ERROR"


def test_all_three_at_once(rig):
    dotted, upper, legacy = rig.client(), rig.client(), rig.client()
    at = dotted.add()
    upper.ask("PLUGIN_PARAMETERS_GET", at)
    legacy.ask("GET_PARAMETERS", {"pluginId": "g"})
    for client in (dotted, upper, legacy):
        client.held.clear()

    seq = dotted.ask("plugin.parameter", value(at, "volume", 0.1), user_id="d")["seq"]
    heard = upper.wait("PLUGIN_PARAMETER")
    assert heard["seq"] == seq
    assert heard["data"]["parameter_value"] == 0.1
    assert heard["data"]["changed_by"] == "d"
    heard = legacy.wait("PARAMETER_UPDATED")
    assert heard["seq"] == seq
    assert (heard["pluginId"], heard["parameterId"], heard["value"], heard["changedBy"]) == (
        "g",
        "volume",
        0.1,
        "d",
    )

    seq = upper.ask("PLUGIN_PARAMETER", value(at, "volume", 0.2), user_id="u")["seq"]
    assert dotted.wait("plugin.parameter")["data"]["changed_by"] == "u"
    assert legacy.wait("PARAMETER_UPDATED")["value"] == 0.2

    old = {"pluginId": "g", "parameterId": "volume", "value": 0.3}
    seq = legacy.ask("UPDATE_PARAMETER", old, user_id="l")["seq"]
    assert upper.wait("PLUGIN_PARAMETER")["data"]["changed_by"] == "l"
    heard = dotted.wait("plugin.parameter")
    assert heard["seq"] == seq
    assert heard["data"]["parameter_value"] == 0.3
    assert heard["data"]["track_id"] == "mic1", "the track is found by the plugin"


def test_a_fresh_client_counts_as_dotted(rig, other):
    client = rig.client()
    other.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "g", "bypass": True})
    client.wait("plugin.bypass")


@pytest.mark.parametrize(
    "kind,dialect", [("PLUGIN_LIST", "upper"), ("plugin.list", "dotted"), ("GET_PARAMETERS", "legacy")]
)
def test_the_latest_message_decides(rig, other, kind, dialect):
    client = rig.client()
    for earlier in ("PLUGIN_LIST", "plugin.list", "GET_PARAMETERS", kind):
        client.ask(earlier, {"pluginId": "g"})
    other.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "g", "bypass": True})
    names = {"dotted": "plugin.bypass", "upper": "PLUGIN_BYPASS", "legacy": "PLUGIN_BYPASSED"}
    client.wait(names[dialect])


@pytest.mark.parametrize("first,spoken", [("AUTH", "PLUGIN_BYPASS"), ("auth", "plugin.bypass")])
def test_auth_decides_when_it_is_the_first_message(rig, other, first, spoken):
    client = rig.client()
    client.ask(first, {"user_id": "ana"})
    other.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "g", "bypass": True})
    client.wait(spoken)


@pytest.mark.parametrize(
    "before,later,spoken",
    [
        ("PLUGIN_LIST", "auth", "PLUGIN_BYPASS"),
        ("plugin.list", "AUTH", "plugin.bypass"),
        ("PLUGIN_LIST", "heartbeat", "PLUGIN_BYPASS"),
        ("plugin.list", "HEARTBEAT", "plugin.bypass"),
        ("plugin.list", "USER_CURSOR_UPDATE", "plugin.bypass"),
        ("plugin.list", "NO_SUCH_MESSAGE", "plugin.bypass"),
        ("PLUGIN_LIST", "no.such.message", "PLUGIN_BYPASS"),
        ("heartbeat", "AUTH", "plugin.bypass"),
    ],
)
def test_what_changes_no_dialect(rig, other, before, later, spoken):
    client = rig.client()
    client.ask(before)
    client.send(later, {"user_id": "ana"})
    client.ask("heartbeat")
    other.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "g", "bypass": True})
    client.wait(spoken)


def test_client_features_fixes_it(rig, other):
    client = rig.client()
    assert client.ask("client.features", {"dialect": "upper"})["data"]["dialect"] == "upper"
    client.ask("plugin.list")
    client.ask("GET_PARAMETERS", {"pluginId": "g"})
    other.ask("plugin.bypass", {"track_id": "mic1", "plugin_id": "g", "bypass": True})
    client.wait("PLUGIN_BYPASS")
    assert client.fail("INVALID_MESSAGE", "client.features", {"dialect": "latin"})["field"] == "dialect"


@pytest.mark.parametrize("kind", ["plugin.parameter", "PLUGIN_PARAMETER", "UPDATE_PARAMETER"])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("camel", [True, False])
def test_camel_case_and_flat_fields_are_understood_in_all(alice, kind, nested, camel):
    alice.add()
    fields = {"track_id": "mic1", "plugin_id": "g", "parameter_id": "volume", "parameter_value": 0.5}
    if camel:
        fields = {"trackId": "mic1", "pluginId": "g", "parameterId": "volume", "parameterValue": 0.5}
    reply = alice.ask(kind, fields) if nested else alice.ask(kind, **fields)
    assert reply["data"]["success"] is True
    assert alice.plugin("g")["parameters"]["volume"] == 0.5


@pytest.mark.parametrize("kind", ["plugin.add", "PLUGIN_ADD", "ADD_PLUGIN"])
@pytest.mark.parametrize("name", ["name", "plugin_name", "pluginName"])
@pytest.mark.parametrize("path", ["plugin_path", "pluginPath", "path"])
def test_aliases_of_an_addition(alice, kind, name, path):
    alice.ask(kind, {"trackId": "mic1", "plugin_id": "x", name: "Reverb Plugin", path: "/a/reverb.vst3"})
    assert alice.plugin("x")["plugin_path"] == "builtin:reverb"


@pytest.mark.parametrize("kind", ["plugin.bypass", "PLUGIN_BYPASS", "BYPASS_PLUGIN"])
@pytest.mark.parametrize("field", ["bypass", "bypassed"])
def test_aliases_of_bypass(alice, kind, field):
    at = alice.add()
    alice.ask(kind, {**at, field: True})
    assert alice.plugin("g")["bypassed"] is True


@pytest.mark.parametrize("field", ["value", "parameter_value", "parameterValue"])
def test_aliases_of_a_value_in_a_batch(alice, field):
    at = alice.add()
    change = {**at, "parameter_id": "volume", field: 0.5}
    alice.ask("plugin.parameter.batch", {"changes": [change], "apply_immediately": True})
    assert alice.plugin("g")["parameters"]["volume"] == 0.5


def test_a_batch_in_camel_case(alice):
    alice.add()
    change = {"trackId": "mic1", "pluginId": "g", "parameterId": "volume", "parameterValue": 0.5}
    reply = alice.ask("PLUGIN_PARAMETER_BATCH", {"changes": [change], "debounceMs": 60, "applyImmediately": True})
    assert reply["data"]["applied"] == 1
    reply = alice.ask("plugin.parameter.batch", changes=[change], debounceMs=60)
    assert reply["data"]["debounce_ms"] == 60


def test_an_old_message_may_name_the_track_but_not_a_wrong_one(alice):
    alice.add()
    fields = {"pluginId": "g", "parameterId": "volume", "value": 0.5}
    alice.ask("UPDATE_PARAMETER", {**fields, "trackId": "mic1"})
    alice.fail("PLUGIN_NOT_FOUND", "UPDATE_PARAMETER", {**fields, "trackId": "mic2"})


def test_an_upper_batch_reaches_others_as_single_changes(rig, alice):
    upper = rig.client()
    upper.ask("PLUGIN_LIST")
    at = alice.add()
    upper.wait("PLUGIN_ADD")
    changes = [value(at, "volume", 0.1), value(alice.add(plugin_id="h"), "volume", 0.2)]
    alice.ask("PLUGIN_PARAMETER_BATCH", {"changes": changes, "apply_immediately": True})
    assert upper.wait("PLUGIN_PARAMETER")["data"]["plugin_id"] == "g"
    assert upper.wait("PLUGIN_PARAMETER")["data"]["plugin_id"] == "h"
