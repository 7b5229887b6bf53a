"""The old messages, their replies and what an old client hears (wire.md section 2)."""

import pytest

from rig import value


def both(message, **fields):
    """Old replies carry their fields flat and in `data`."""
    for field, wanted in {"success": True, **fields}.items():
        assert message[field] == wanted, (field, message)
        assert message["data"][field] == wanted, (field, message)


def added(client, **more):
    return client.ask("ADD_PLUGIN", {"trackId": "mic1", "pluginName": "Reverb", **more})


def test_add_plugin(alice):
    reply = added(alice, pluginPath="/path/to/reverb.vst3")
    assert reply["type"] == "PLUGIN_ADDED"
    plugin = reply["plugin"]
    both(reply, pluginId=plugin["id"], plugin=plugin)
    assert plugin["trackId"] == "mic1"
    assert plugin["bypassed"] is False
    assert plugin["parameters"]["wet_dry"] == 0.25
    assert plugin["name"]
    assert plugin["position"] == 0
    assert alice.plugin(plugin["id"])["plugin_path"] == "builtin:reverb"


def test_the_guides_flat_old_format(alice):
    reply = alice.ask("ADD_PLUGIN", trackId="mic1", name="Reverb", path="/path/to/reverb.vst3")
    assert reply["pluginId"]


def test_update_parameter_names_only_the_plugin(alice):
    plugin = added(alice)["pluginId"]
    reply = alice.ask("UPDATE_PARAMETER", {"pluginId": plugin, "parameterId": "wet_dry", "value": 0.7})
    assert reply["type"] == "PARAMETER_UPDATED"
    both(reply, pluginId=plugin, parameterId="wet_dry", value=0.7)
    assert type(reply["data"]["applied_frame"]) is int
    assert type(reply["seq"]) is int
    assert alice.plugin(plugin)["parameters"]["wet_dry"] == 0.7


def test_bypass_plugin(alice):
    plugin = added(alice)["pluginId"]
    reply = alice.ask("BYPASS_PLUGIN", {"pluginId": plugin, "bypassed": True})
    assert reply["type"] == "PLUGIN_BYPASSED"
    both(reply, pluginId=plugin)
    assert alice.plugin(plugin)["bypassed"] is True


def test_get_parameters(alice):
    plugin = added(alice)["pluginId"]
    reply = alice.ask("GET_PARAMETERS", {"pluginId": plugin})
    assert reply["type"] == "PARAMETERS"
    both(reply, pluginId=plugin)
    assert reply["parameters"] == reply["data"]["parameters"]
    assert reply["parameters"]["room_size"] == 0.5


def test_load_preset(alice):
    plugin = added(alice)["pluginId"]
    reply = alice.ask("LOAD_PRESET", {"pluginId": plugin, "presetData": {"wet_dry": 0.9}})
    assert reply["type"] == "PRESET_LOADED"
    both(reply, pluginId=plugin)
    assert alice.plugin(plugin)["parameters"]["wet_dry"] == 0.9


def test_remove_plugin(alice):
    plugin = added(alice)["pluginId"]
    reply = alice.ask("REMOVE_PLUGIN", {"pluginId": plugin})
    assert reply["type"] == "PLUGIN_REMOVED"
    both(reply, pluginId=plugin)
    assert alice.plugin(plugin) is None


@pytest.mark.parametrize("message", ["REMOVE_PLUGIN", "GET_PARAMETERS", "BYPASS_PLUGIN", "UPDATE_PARAMETER"])
def test_an_unknown_plugin(alice, message):
    fields = {"pluginId": "nope", "parameterId": "x", "value": 1, "bypassed": True}
    assert alice.fail("PLUGIN_NOT_FOUND", message, fields)["plugin_id"] == "nope"


def test_what_an_old_client_hears(alice, bob):
    bob.ask("client.features", {"dialect": "legacy"})
    alice.ask("plugin.add", {"track_id": "mic1", "name": "reverb", "plugin_id": "r"}, user_id="ana")
    heard = bob.wait("PLUGIN_ADDED")
    assert heard["pluginId"] == "r"
    assert heard["plugin"]["trackId"] == "mic1"
    alice.add("gain", "first", position=0)
    assert bob.wait("PLUGIN_ADDED")["plugin"]["position"] == 0
    assert heard["changedBy"] == heard["data"]["changedBy"] == "ana"
    at = {"track_id": "mic1", "plugin_id": "r"}
    for kind, data, old, fields in [
        (
            "plugin.parameter",
            value(at, "wet_dry", 0.5),
            "PARAMETER_UPDATED",
            {"parameterId": "wet_dry", "value": 0.5},
        ),
        ("plugin.bypass", {**at, "bypass": True}, "PLUGIN_BYPASSED", {}),
        ("plugin.preset", {**at, "preset_data": {"wet_dry": 0.1}}, "PRESET_LOADED", {}),
        ("plugin.remove", at, "PLUGIN_REMOVED", {}),
    ]:
        reply = alice.ask(kind, data, user_id="ana")
        heard = bob.wait(old)
        assert heard["seq"] == reply["seq"]
        assert heard["changedBy"] == "ana"
        assert heard["pluginId"] == "r"
        for field, wanted in fields.items():
            assert heard[field] == heard["data"][field] == wanted


@pytest.mark.parametrize(
    "kind,data",
    [
        ("plugin.move", {"track_id": "mic1", "plugin_id": "g", "position": 0}),
        ("track.update", {"track_id": "mic1", "volume": 0.5}),
        ("rig.panic", {"mode": "mute"}),
    ],
)
def test_what_has_no_old_name_comes_dotted(alice, bob, kind, data):
    alice.add()
    bob.ask("client.features", {"dialect": "legacy"})
    reply = alice.ask(kind, data)
    assert bob.wait(kind)["seq"] == reply["seq"]


@pytest.mark.parametrize("name", ["PARAMETER_UPDATED", "UPDATE_PARAMETER", "PLUGIN_PARAMETER", "plugin.parameter"])
def test_an_old_client_subscribes_by_the_names_that_it_knows(alice, bob, name):
    at = alice.add("reverb", "r")
    bob.ask("client.features", {"dialect": "legacy"})
    told = bob.ask("client.subscribe", {"types": [name]})["data"]["types"]
    assert bob.ask("client.subscribe", {"types": told})["data"]["types"] == told, "what was told can be said"
    bob.held.clear()
    alice.ask("plugin.bypass", {**at, "bypass": True})
    alice.ask("plugin.parameter", value(at, "wet_dry", 0.5))
    assert bob.wait("PARAMETER_UPDATED")["value"] == 0.5
    bob.silence("PLUGIN_BYPASSED")
