"""A processor that is too slow for the rig: so little of it is allowed that any effect is too much."""

from jackd import eventually
from rig import NO_LIMITS
from test_reload import begin, reload, status

TOO_LITTLE = f"{NO_LIMITS}\n[realtime]\nload_max = 0.001\nshed_load = true\n"

__all__ = ["begin"]


def resting(client):
    tracks = client.state()["tracks"]
    return {plugin["plugin_id"] for track in tracks for plugin in track["plugins"] if plugin.get("shed")}


def test_effects_rest_and_come_back_and_everyone_sees_it(begin):
    rig = begin(TOO_LITTLE)
    client, other = rig.client(), rig.client()
    client.add("reverb", "r")
    client.add("feedback", "f")
    client.add("compressor", "c", "mic2")
    eventually(lambda: resting(client) == {"r", "c"}, "what may rest does")
    for one in (client, other):
        told = one.wait("plugin.shed", plugin_id="r", shed=True)
        assert told["data"]["changed_by"] == "rigd" and told["seq"] > 0
    assert any("too slow" in trouble and "r" in trouble for trouble in status(client)["degraded"])
    # What people set is theirs, and kept.
    assert not client.plugin("r")["bypassed"]
    change = {"track_id": "mic1", "plugin_id": "r", "parameter_id": "wet_dry", "parameter_value": 0.75}
    assert client.ask("plugin.parameter", change)["data"]["success"]
    reload(rig, NO_LIMITS, "in effect: realtime.load_max")
    eventually(lambda: resting(client) == set(), "all work again")
    other.wait("plugin.shed", plugin_id="r", shed=False)
    assert client.plugin("r")["parameters"]["wet_dry"] == 0.75
    eventually(lambda: status(client)["degraded"] == [], "nothing is wrong")
    events = client.ask("daid.query", {"operation": "plugin.shed", "entity_id": "r"})["data"]["events"]
    assert [event["metadata"]["shed"] for event in events] == [True, False]
