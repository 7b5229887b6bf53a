"""Presets: what there is, loading, keeping (wire.md section 3)."""

import pytest


@pytest.fixture
def at(alice):
    return alice.add("reverb", "r")


def presets(client, at):
    return {each["name"]: each for each in client.ask("plugin.presets.get", at)["data"]["presets"]}


def test_factory_presets_can_all_be_loaded(alice, at):
    factory = presets(alice, at)
    for name, preset in factory.items():
        assert preset["factory"] is True
        parameters = alice.ask("plugin.preset", {**at, "preset_name": name})["data"]["parameters"]
        assert {key: parameters[key] for key in preset["data"]} == preset["data"]
        assert parameters == alice.plugin("r")["parameters"]


def test_data_alone(alice, at):
    reply = alice.ask("plugin.preset", {**at, "preset_data": {"wet_dry": 0.5, "damping": 0.1}})
    parameters = reply["data"]["parameters"]
    assert (parameters["wet_dry"], parameters["damping"], parameters["room_size"]) == (0.5, 0.1, 0.5)
    assert type(reply["data"]["applied_frame"]) is int


def test_data_wins_over_the_name(alice, at):
    reply = alice.ask("plugin.preset", {**at, "preset_name": "Nowhere", "preset_data": {"wet_dry": 0.5}})
    assert reply["data"]["parameters"]["wet_dry"] == 0.5
    assert reply["data"]["preset_name"] == "Nowhere"


def test_an_unknown_name(alice, at):
    details = alice.fail("PRESET_LOAD_FAILED", "plugin.preset", {**at, "preset_name": "Nowhere"})
    assert "reason" in details


def test_neither_name_nor_data(alice, at):
    id = alice.send("plugin.preset", at)
    assert alice.answer(id)["data"]["code"] in ("INVALID_MESSAGE", "PRESET_LOAD_FAILED")


@pytest.mark.parametrize("data", [{"wet_dry": 7}, {"loudness": 0.5}, {"wet_dry": "loud"}])
def test_bad_data_changes_nothing(alice, at, data):
    id = alice.send("plugin.preset", {**at, "preset_data": {"damping": 0.9, **data}})
    assert alice.answer(id)["data"]["code"] in ("INVALID_PARAMETER", "PRESET_LOAD_FAILED")
    assert alice.plugin("r")["parameters"]["damping"] == 0.5


def test_keeping_one_is_a_change(alice, bob, at):
    alice.ask("plugin.parameter", {**at, "parameter_id": "wet_dry", "value": 0.75})
    before = alice.state()["seq"]
    reply = alice.ask("plugin.preset.save", {**at, "preset_name": "Küche 🎤 nachts"})
    assert reply["seq"] == before + 1
    heard = bob.wait("plugin.preset.save")
    assert heard["seq"] == reply["seq"]
    assert heard["data"]["preset_name"] == "Küche 🎤 nachts"
    for shown in (reply["data"]["presets"], bob.ask("plugin.presets.get", at)["data"]["presets"]):
        kept = next(each for each in shown if each["name"] == "Küche 🎤 nachts")
        assert kept["factory"] is False
        assert kept["data"]["wet_dry"] == 0.75


def test_a_kept_one_can_be_loaded_by_another_of_its_kind(alice, at):
    alice.ask("plugin.parameter", {**at, "parameter_id": "wet_dry", "value": 0.75})
    alice.ask("plugin.preset.save", {**at, "preset_name": "mine"})
    other = alice.add("reverb", "other", "mic2")
    alice.ask("plugin.preset", {**other, "preset_name": "mine"})
    assert alice.plugin("other")["parameters"]["wet_dry"] == 0.75
    gain = alice.add("gain", "g")
    alice.fail("PRESET_LOAD_FAILED", "plugin.preset", {**gain, "preset_name": "mine"})
    assert "mine" not in presets(alice, gain)


def test_keeping_again_replaces(alice, at):
    for wet in (0.1, 0.9):
        alice.ask("plugin.parameter", {**at, "parameter_id": "wet_dry", "value": wet})
        alice.ask("plugin.preset.save", {**at, "preset_name": "mine"})
    assert presets(alice, at)["mine"]["data"]["wet_dry"] == 0.9


@pytest.mark.parametrize("name", ["", "a\nb", "\x00", "\x7f", "x" * 65])
def test_names_are_printable_and_have_a_limit(alice, at, name):
    assert alice.fail("INVALID_MESSAGE", "plugin.preset.save", {**at, "preset_name": name})["field"] == "preset_name"
