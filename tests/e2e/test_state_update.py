"""PLUGIN_STATE_UPDATE: the upper dialect's view of a plugin that others changed (wire.md section 2)."""

import time

import pytest

from rig import NO_LIMITS, value


@pytest.fixture
def upper(bob):
    bob.ask("client.features", {"dialect": "upper"})
    return bob


def test_it_follows_the_change(alice, upper):
    at = alice.add("reverb", "r")
    upper.wait("PLUGIN_STATE_UPDATE")
    upper.held.clear()
    reply = alice.ask("plugin.parameter", value(at, "wet_dry", 0.7), user_id="ana")
    first = upper.find(lambda m: m["type"].startswith("PLUGIN_"), "a message")
    assert first["type"] == "PLUGIN_PARAMETER", "the change comes first"
    view = upper.wait("PLUGIN_STATE_UPDATE")
    data = view["data"]
    assert view["seq"] == reply["seq"], "it repeats the newest change's number"
    assert (data["track_id"], data["plugin_id"], data["changed_by"]) == ("mic1", "r", "ana")
    assert data["state"]["bypassed"] is False
    assert data["state"]["parameters"]["wet_dry"] == 0.7
    assert data["state"]["parameters"]["room_size"] == 0.5
    assert data["timestamp"].endswith("Z")


def test_it_shows_a_bypass(alice, upper):
    at = alice.add()
    alice.ask("plugin.bypass", {**at, "bypass": True})
    upper.find(
        lambda m: m["type"] == "PLUGIN_STATE_UPDATE" and m["data"]["state"]["bypassed"], "the bypassed view"
    )


def test_the_other_dialects_do_not_get_it(rig, alice, upper):
    dotted, legacy = rig.client(), rig.client()
    legacy.ask("client.features", {"dialect": "legacy"})
    at = alice.add()
    alice.ask("plugin.parameter", value(at, "volume", 0.5))
    upper.wait("PLUGIN_STATE_UPDATE")
    for client in (dotted, legacy, alice):
        client.silence("PLUGIN_STATE_UPDATE")


def test_at_most_twenty_a_second_and_the_last_one_always(start):
    rig = start(settings=NO_LIMITS)
    alice, upper = rig.client(), rig.client()
    upper.ask("client.features", {"dialect": "upper"})
    at = alice.add()
    upper.wait("PLUGIN_STATE_UPDATE")
    started = time.monotonic()
    step = 0
    while time.monotonic() - started < 2:
        step += 1
        reply = alice.ask("plugin.parameter", value(at, "volume", (step % 400) / 100))
    last = upper.find(
        lambda m: m["type"] == "PLUGIN_STATE_UPDATE" and m["seq"] == reply["seq"], "the last view"
    )
    took = time.monotonic() - started
    assert last["data"]["state"]["parameters"]["volume"] == (step % 400) / 100
    views = [m for m in upper.held if m["type"] == "PLUGIN_STATE_UPDATE"]
    assert 2 <= len(views) + 1 <= took * 20 + 2
    numbers = [m["seq"] for m in views]
    assert numbers == sorted(numbers)


def test_each_plugin_has_its_own(alice, upper):
    for plugin_id in ("a", "b"):
        alice.add(plugin_id=plugin_id)
    changes = [
        value({"track_id": "mic1", "plugin_id": plugin_id}, "volume", 0.5) for plugin_id in ("a", "b")
    ]
    alice.ask("plugin.parameter.batch", {"changes": changes, "apply_immediately": True})
    for plugin_id in ("a", "b"):
        upper.find(
            lambda m: m["type"] == "PLUGIN_STATE_UPDATE"
            and m["data"]["plugin_id"] == plugin_id
            and m["data"]["state"]["parameters"]["volume"] == 0.5,
            f"the view of {plugin_id}",
        )
