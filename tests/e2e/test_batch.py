"""Batches that take effect at once, whole or not at all (wire.md section 4)."""

import pytest

from rig import NO_LIMITS, seqs, value


def immediate(client, changes, **more):
    return client.ask("plugin.parameter.batch", {"changes": changes, "apply_immediately": True, **more})


@pytest.fixture
def places(alice):
    """A gain and a reverb on different tracks."""
    return alice.add("gain", "g", "mic1"), alice.add("reverb", "r", "mic2")


def test_it_takes_effect_whole(alice, bob, places):
    gain, reverb = places
    bob.fence()
    changes = [value(gain, "volume", 0.5), value(reverb, "wet_dry", 0.9), value(reverb, "damping", 0.1)]
    before = alice.state()["seq"]
    reply = immediate(alice, changes)
    data = reply["data"]
    assert (data["applied"], data["superseded"]) == (3, 0)
    assert isinstance(data["batch_id"], str) and data["batch_id"]
    assert type(data["applied_frame"]) is int
    assert reply["seq"] == before + 3, "a contiguous range, and the reply carries the last"
    assert seqs(bob.fence()[0]) == [before + 1, before + 2, before + 3]
    assert alice.plugin("g")["parameters"]["volume"] == 0.5
    assert alice.plugin("r")["parameters"]["damping"] == 0.1


def test_every_batch_has_its_own_id(alice, places):
    gain, _ = places
    ids = [immediate(alice, [value(gain, "volume", 1)])["data"]["batch_id"] for _ in range(3)]
    assert len(set(ids)) == 3


def test_the_form_for_one_plugin(alice, places):
    _, reverb = places
    parameters = [
        {"parameter_id": "wet_dry", "parameter_value": 0.6},
        {"parameter_id": "damping", "parameter_value": 0.2},
    ]
    reply = alice.ask(
        "plugin.parameter.batch", {**reverb, "parameters": parameters, "apply_immediately": True}
    )
    assert reply["data"]["applied"] == 2
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.6


def test_the_last_value_for_a_key_wins(alice, bob, places):
    gain, reverb = places
    bob.fence()
    changes = [
        value(gain, "volume", 0.1),
        value(reverb, "wet_dry", 0.2),
        value(gain, "volume", 0.3),
        value(gain, "volume", 0.4),
    ]
    reply = immediate(alice, changes)
    assert (reply["data"]["applied"], reply["data"]["superseded"]) == (2, 2)
    heard = [(m["data"]["parameter_id"], m["data"]["parameter_value"]) for m in bob.fence()[0]]
    assert sorted(heard) == [("volume", 0.4), ("wet_dry", 0.2)]
    assert alice.plugin("g")["parameters"]["volume"] == 0.4


@pytest.mark.parametrize("at_once", [True, False])
def test_one_bad_change_and_nothing_is_applied(alice, bob, places, at_once):
    gain, reverb = places
    before = alice.state()["seq"]
    bob.fence()
    changes = [
        value(gain, "volume", 0.5),
        value(gain, "volume", 99),
        value(gain, "loudness", 1),
        value({**gain, "plugin_id": "nope"}, "volume", 1),
        value({**gain, "track_id": "nowhere"}, "volume", 1),
        {**gain, "parameter_id": "volume"},
        value(reverb, "wet_dry", "loud"),
        value(reverb, "wet_dry", 0.5),
    ]
    id = alice.send("plugin.parameter.batch", {"changes": changes, "apply_immediately": at_once})
    error = alice.answer(id)
    assert error["data"]["code"] == "INVALID_PARAMETER"
    failures = error["data"]["details"]["failures"]
    codes = {failure["index"]: failure["code"] for failure in failures}
    assert codes == {
        1: "INVALID_PARAMETER",
        2: "INVALID_PARAMETER",
        3: "PLUGIN_NOT_FOUND",
        4: "TRACK_NOT_FOUND",
        5: "INVALID_MESSAGE",
        6: "INVALID_PARAMETER",
    }
    by_index = {failure["index"]: failure for failure in failures}
    assert (by_index[1]["min"], by_index[1]["max"]) == (0, 4)
    assert by_index[3]["plugin_id"] == "nope"
    assert alice.state()["seq"] == before
    bob.silence()


@pytest.mark.parametrize("field", ["parameter", "parameterID", "param_id"])
def test_a_misspelt_field_in_a_change_is_a_missing_one(alice, places, field):
    gain, _ = places
    changes = [{**gain, field: "volume", "value": 0.5}]
    id = alice.send("plugin.parameter.batch", {"changes": changes, "apply_immediately": True})
    error = alice.answer(id)["data"]
    assert error["code"] == "INVALID_PARAMETER"
    assert error["details"]["failures"][0]["code"] == "INVALID_MESSAGE"
    assert alice.plugin("g")["parameters"]["volume"] == 1


def test_256_changes_and_no_more(alice, places):
    gain, _ = places
    changes = [value(gain, "volume", step / 256) for step in range(257)]
    assert immediate(alice, changes[:256])["data"]["superseded"] == 255
    for at_once in (True, False):
        details = alice.fail(
            "INVALID_MESSAGE", "plugin.parameter.batch", {"changes": changes, "apply_immediately": at_once}
        )
        assert details["limit"] == 256
        assert details["field"] == "changes"
    details = alice.fail(
        "INVALID_MESSAGE",
        "plugin.parameter.batch",
        {**gain, "parameters": [{"parameter_id": "volume", "parameter_value": 1}] * 257},
    )
    assert details["limit"] == 256


def test_a_batch_without_changes_is_refused(alice):
    details = alice.fail("INVALID_MESSAGE", "plugin.parameter.batch", {"apply_immediately": True})
    assert details["field"] == "changes"
    details = alice.fail("INVALID_MESSAGE", "plugin.parameter.batch", {"changes": "all"})
    assert details["field"] == "changes"


def test_a_full_rig_changes_at_one_frame(start):
    rig = start(settings=NO_LIMITS + "[audio]\ndelay_pool_mb = 64\n")
    alice = rig.client()
    plugins = []
    for number in range(12):
        alice.ask("track.add", {"track_id": f"t{number}", "name": f"T{number}", "kind": "mic"})
        plugins += [alice.add("gain", f"g{number}{n}", f"t{number}") for n in range(8)]
    changes = [value(at, "volume", 0.5) for at in plugins]
    reply = immediate(alice, changes)
    assert reply["data"]["applied"] == 96
    assert type(reply["data"]["applied_frame"]) is int
    state = alice.state()
    volumes = {
        plugin["parameters"]["volume"]
        for track in state["tracks"]
        for plugin in track["plugins"]
        if plugin["plugin_id"] != "limiter"
    }
    assert volumes == {0.5}
