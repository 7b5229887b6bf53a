"""The box comes up as it was (wire.md sections 1 and 3)."""

import signal

import pytest

from rig import value


def comparable(state):
    return {key: state[key] for key in ("tracks", "panic")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_everything_that_a_user_sets_is_there_again(start, tmp_path, number):
    options = ("--state-dir", tmp_path / "state")
    rig = start(*options, settings='preset = "karaoke"\n')
    alice = rig.client()
    at = alice.add("reverb", "r", track_id="mic1")
    alice.ask("plugin.parameter", value(at, "wet_dry", 0.75))
    alice.ask("plugin.bypass", {**at, "bypass": True})
    alice.ask("plugin.move", {**at, "position": 0})
    alice.ask("plugin.preset.save", {**at, "preset_name": "mine"})
    alice.ask("track.add", {"track_id": "mic3", "kind": "mic", "name": "Gast 🎤"})
    alice.ask("track.preset", {"track_id": "mic3", "preset_name": "talk"})
    alice.ask("track.preset.save", {"track_id": "mic3", "preset_name": "host"})
    alice.ask("track.update", {"track_id": "mic2", "volume": 0.5, "sends": {"echo": 0.3}, "solo": True})
    alice.ask("track.remove", {"track_id": "echo"})
    alice.ask("plugin.remove", {"track_id": "music", "plugin_id": "music.duck"})
    last = alice.ask("rig.panic", {"mode": "dry"}, requires_ack=True)
    assert alice.wait("ack")["data"]["durable"] is True
    before, presets = alice.state(), alice.ask("plugin.presets.get", at)["data"]["presets"]
    chains = alice.ask("track.presets.get")["data"]["presets"]
    if number == signal.SIGKILL:
        rig.process.kill()
        rig.process.wait()
    else:
        rig.finish()
    rig.finish = lambda: None
    bob = start(*options, settings='preset = "karaoke"\n').client()
    after = bob.state()
    assert comparable(after) == comparable(before)
    assert after["epoch"] != before["epoch"]
    assert after["seq"] >= last["seq"]
    assert bob.status["data"]["seq"] == after["seq"]
    assert bob.ask("plugin.presets.get", at)["data"]["presets"] == presets
    assert bob.ask("track.presets.get")["data"]["presets"] == chains
    assert bob.ask("rig.restore")["seq"] == after["seq"] + 1


def test_numbers_go_on_after_a_clean_end(start, tmp_path):
    options = ("--state-dir", tmp_path / "state")
    rig = start(*options)
    seq = rig.client().ask("track.update", {"track_id": "mic1", "volume": 0.5})["seq"]
    rig.finish()
    rig = start(*options)
    assert rig.client().ask("track.update", {"track_id": "mic1", "volume": 0.6})["seq"] == seq + 1


def test_ids_are_not_made_twice(start, tmp_path):
    options = ("--state-dir", tmp_path / "state")
    rig = start(*options)
    alice = rig.client()
    made = alice.ask("plugin.add", {"track_id": "mic1", "name": "gain"})["data"]["plugin_id"]
    alice.ask("plugin.remove", {"track_id": "mic1", "plugin_id": made})
    rig.finish()
    alice = start(*options).client()
    assert alice.ask("plugin.add", {"track_id": "mic1", "name": "gain"})["data"]["plugin_id"] != made
