"""Adding, finding, moving and removing effects (wire.md sections 3 and 11)."""

import pytest

RANGES = {
    "gain": {"volume": (0, 4, 1, "", "linear")},
    "hpf": {"freq": (20, 500, 90, "Hz", "log"), "slope": (12, 24, 12, "dB/oct", "linear")},
    "reverb": {
        "wet_dry": (0, 1, 0.25, "", "linear"),
        "room_size": (0, 1, 0.5, "", "linear"),
        "damping": (0, 1, 0.5, "", "linear"),
        "pre_delay": (0, 200, 20, "ms", "linear"),
        "high_freq": (1000, 20000, 8000, "Hz", "log"),
        "low_freq": (20, 1000, 120, "Hz", "log"),
    },
    "gate": {
        "threshold_db": (-80, 0, -50, "dB", "linear"),
        "hysteresis_db": (0, 12, 3, "dB", "linear"),
        "range_db": (0, 80, 20, "dB", "linear"),
        "attack_ms": (0.1, 50, 1, "ms", "linear"),
        "hold_ms": (0, 500, 60, "ms", "linear"),
        "release_ms": (5, 1000, 120, "ms", "linear"),
    },
    "compressor": {
        "threshold_db": (-60, 0, -18, "dB", "linear"),
        "ratio": (1, 20, 3, "", "linear"),
        "knee_db": (0, 24, 6, "dB", "linear"),
        "attack_ms": (0.1, 100, 5, "ms", "linear"),
        "release_ms": (10, 1000, 100, "ms", "linear"),
        "makeup_db": (-12, 24, 0, "dB", "linear"),
    },
    "eq": {
        "low_freq": (20, 500, 120, "Hz", None),
        "low_gain_db": (-18, 18, 0, "dB", "linear"),
        "mid1_freq": (100, 4000, 400, "Hz", None),
        "mid1_gain_db": (-18, 18, 0, "dB", "linear"),
        "mid1_q": (0.3, 10, 1, "", None),
        "mid2_freq": (500, 16000, 3000, "Hz", None),
        "mid2_gain_db": (-18, 18, 0, "dB", "linear"),
        "mid2_q": (0.3, 10, 1, "", None),
        "high_freq": (2000, 18000, 8000, "Hz", None),
        "high_gain_db": (-18, 18, 0, "dB", "linear"),
    },
    "deesser": {
        "freq": (2000, 12000, 6500, "Hz", "log"),
        "threshold_db": (-60, 0, -30, "dB", "linear"),
        "range_db": (0, 24, 8, "dB", "linear"),
    },
    "echo": {
        "time_ms": (20, 1500, 320, "ms", "linear"),
        "feedback": (0, 0.95, 0.35, "", "linear"),
        "tone_freq": (500, 16000, 4000, "Hz", "log"),
        "wet_dry": (0, 1, 0.25, "", "linear"),
    },
    "feedback": {
        "sensitivity": (0, 1, 0.5, "", "linear"),
        "depth_db": (3, 40, 18, "dB", "linear"),
        "width": (0.05, 1, 0.1, "oct", "log"),
        "life_s": (1, 600, 60, "s", "log"),
        "howl_mute": (0, 1, 1, "", "linear"),
    },
    "limiter": {"ceiling_db": (-12, 0, -1, "dBTP", "linear"), "release_ms": (10, 1000, 80, "ms", "linear")},
}


def same(info, ranges):
    assert set(info) == set(ranges)
    for parameter, (low, high, default, unit, scale) in ranges.items():
        about = info[parameter]
        assert (about["min"], about["max"], about["default"]) == (low, high, default), parameter
        assert about["unit"] == unit or not unit
        assert about["scale"] == scale if scale else about["scale"] in ("linear", "log"), parameter
        assert about["name"]


def order(client, track_id="mic1"):
    tracks = client.state()["tracks"]
    track = next(track for track in tracks if track["track_id"] == track_id)
    return [plugin["plugin_id"] for plugin in track["plugins"]]


@pytest.mark.parametrize("name", RANGES)
def test_each_effect_is_as_documented(alice, name):
    data = alice.ask("plugin.add", {"track_id": "mic1", "name": name, "plugin_id": "p"})["data"]
    assert data["plugin_id"] == "p"
    assert data["plugin_path"] == f"builtin:{name}"
    assert data["plugin_format"] == "BUILTIN"
    assert data["position"] == 0
    assert "substituted_for" not in data
    assert data["parameters"] == {key: default for key, (_, _, default, *_) in RANGES[name].items()}
    same(data["parameter_info"], RANGES[name])
    got = alice.ask("plugin.parameters.get", {"track_id": "mic1", "plugin_id": "p"})["data"]
    same(got["parameter_info"], RANGES[name])
    assert got["parameters"] == data["parameters"]
    assert got["bypassed"] is False


def test_the_list_of_effects(alice):
    plugins = alice.ask("plugin.list")["data"]["plugins"]
    by_path = {plugin["plugin_path"]: plugin for plugin in plugins}
    for name, ranges in RANGES.items():
        plugin = by_path[f"builtin:{name}"]
        assert plugin["name"]
        same(plugin["parameter_info"], ranges)


@pytest.mark.parametrize("plugin_id", [None, ""])
def test_the_rig_makes_an_id_when_asked_to(alice, plugin_id):
    data = {"track_id": "mic1", "name": "gain"}
    if plugin_id is not None:
        data["plugin_id"] = plugin_id
    ids = [alice.ask("plugin.add", data)["data"]["plugin_id"] for _ in range(3)]
    assert len(set(ids)) == 3 and all(ids)
    assert order(alice) == ids


@pytest.mark.parametrize("plugin_id", ["a b", "a:b", "ü", "a/b", "x" * 65, "\n", " "])
def test_ids_have_an_alphabet(alice, plugin_id):
    data = {"track_id": "mic1", "name": "gain", "plugin_id": plugin_id}
    assert alice.fail("INVALID_MESSAGE", "plugin.add", data)["field"] == "plugin_id"


def test_every_letter_of_the_alphabet(alice):
    plugin_id = "ABCXYZabcxyz0189_.-" + "x" * 45
    assert len(plugin_id) == 64
    alice.add(plugin_id=plugin_id)
    assert order(alice) == [plugin_id]


def test_an_id_is_unique_in_the_rig(alice):
    alice.add(plugin_id="g", track_id="mic1")
    data = {"track_id": "mic2", "name": "gain", "plugin_id": "g"}
    assert "reason" in alice.fail("PLUGIN_ADD_FAILED", "plugin.add", data)
    data["plugin_id"] = "limiter"
    alice.fail("PLUGIN_ADD_FAILED", "plugin.add", data)


def test_an_id_is_free_again_after_its_plugin_is_gone(alice):
    at = alice.add("gain", "g")
    alice.ask("plugin.remove", at)
    alice.add("reverb", "g", "mic2")
    assert alice.plugin("g")["plugin_path"] == "builtin:reverb"


@pytest.mark.parametrize("name", ["Reverb", "Reverb Plugin", "reverb plugin", "REVERB", "  reverb  ", "Plugin Reverb"])
@pytest.mark.parametrize("path", ["/path/to/reverb.vst3", "Reverb", "C:\\VST\\reverb.dll", "/etc/passwd"])
def test_a_path_that_is_not_here_gives_the_built_in(alice, name, path):
    data = alice.ask("plugin.add", {"track_id": "mic1", "name": name, "plugin_path": path})["data"]
    assert data["plugin_path"] == "builtin:reverb"
    assert data["plugin_format"] == "BUILTIN"
    assert data["substituted_for"] == path


def test_the_path_is_looked_up_first(alice):
    data = {"track_id": "mic1", "name": "Reverb", "plugin_path": "builtin:gain"}
    reply = alice.ask("plugin.add", data)["data"]
    assert reply["plugin_path"] == "builtin:gain"
    assert "volume" in reply["parameters"]
    assert "substituted_for" not in reply


@pytest.mark.parametrize("path", ["/path/to/autotune.vst3", "builtin:autotune", "/etc/passwd", ""])
def test_neither_path_nor_name(alice, path):
    data = {"track_id": "mic1", "name": "Autotune", "plugin_path": path}
    details = alice.fail("PLUGIN_ADD_FAILED", "plugin.add", data)
    assert details["name"] == "Autotune"
    assert details["plugin_path"] == path or not path
    assert any("reverb" in str(each) for each in details["available"])
    assert "reason" in details
    assert order(alice) == []


@pytest.mark.parametrize("path,kind", [("/x/autotune.vst3", "VST3"), ("/x/autotune.component", "AU")])
def test_vst3_and_au_are_not_loaded_and_the_reason_says_so(alice, path, kind):
    data = {"track_id": "mic1", "name": "Autotune", "plugin_path": path, "plugin_format": kind}
    assert kind in alice.fail("PLUGIN_ADD_FAILED", "plugin.add", data)["reason"]


def test_eight_effects_on_a_track(alice):
    for number in range(8):
        alice.add(plugin_id=f"g{number}")
    data = {"track_id": "mic1", "name": "gain"}
    assert alice.fail("CAPACITY", "plugin.add", data)["limit"] == 8
    alice.add(track_id="mic2", plugin_id="other")
    alice.ask("plugin.remove", {"track_id": "mic1", "plugin_id": "g3"})
    alice.add(plugin_id="again")
    assert len(order(alice)) == 8


def test_position(alice):
    for plugin_id, position in (("a", None), ("b", 0), ("c", 1)):
        more = {} if position is None else {"position": position}
        alice.add(plugin_id=plugin_id, **more)
    assert order(alice) == ["b", "c", "a"]
    positions = [alice.plugin(plugin_id)["position"] for plugin_id in ("b", "c", "a")]
    assert positions == [0, 1, 2]


def test_move(alice):
    for plugin_id in ("a", "b", "c"):
        alice.add(plugin_id=plugin_id)
    reply = alice.ask("plugin.move", {"track_id": "mic1", "plugin_id": "a", "position": 2})
    assert order(alice) == ["b", "c", "a"]
    assert ["b", "c", "a"] in [
        value if not value or isinstance(value[0], str) else [each["plugin_id"] for each in value]
        for value in reply["data"].values()
        if isinstance(value, list)
    ], "the reply shows the new order"
    alice.ask("plugin.move", {"track_id": "mic1", "plugin_id": "a", "position": 0})
    assert order(alice) == ["a", "b", "c"]


@pytest.mark.parametrize("position", [-1, 3, 1.5, "first", 1e9])
def test_a_position_that_is_not_there(alice, position):
    for plugin_id in ("a", "b", "c"):
        alice.add(plugin_id=plugin_id)
    id = alice.send("plugin.move", {"track_id": "mic1", "plugin_id": "a", "position": position})
    assert alice.answer(id)["data"]["code"] in ("INVALID_PARAMETER", "INVALID_MESSAGE")
    assert order(alice) == ["a", "b", "c"]


def test_remove(alice):
    at = alice.add()
    alice.ask("plugin.remove", at)
    assert order(alice) == []
    alice.fail("PLUGIN_NOT_FOUND", "plugin.remove", at)


def test_bypass(alice):
    at = alice.add()
    assert alice.ask("plugin.bypass", {**at, "bypass": True})["data"]["bypass"] is True
    assert alice.ask("plugin.parameters.get", at)["data"]["bypassed"] is True
    alice.ask("plugin.bypass", {**at, "bypass": False})
    assert alice.plugin("g")["bypassed"] is False


LIMITER = {"track_id": "master", "plugin_id": "limiter"}


@pytest.mark.parametrize(
    "kind,data",
    [
        ("plugin.remove", LIMITER),
        ("plugin.move", {**LIMITER, "position": 0}),
        ("plugin.bypass", {**LIMITER, "bypass": True}),
        ("PLUGIN_BYPASS", {**LIMITER, "bypass": True}),
        ("BYPASS_PLUGIN", {"pluginId": "limiter", "bypassed": True}),
        ("REMOVE_PLUGIN", {"pluginId": "limiter"}),
    ],
)
def test_the_masters_limiter_stays(alice, kind, data):
    assert isinstance(alice.fail("ENGINE_ERROR", kind, data)["engine_error"], str)
    assert order(alice, "master") == ["limiter"]
    assert alice.plugin("limiter")["bypassed"] is False


def test_the_masters_limiter_is_always_last(alice):
    alice.add("hpf", "h", "master")
    alice.add("gain", "g", "master", position=1)
    assert order(alice, "master")[-1] == "limiter"
    id = alice.send("plugin.move", {"track_id": "master", "plugin_id": "h", "position": 2})
    alice.answer(id)
    assert order(alice, "master")[-1] == "limiter"


def test_the_masters_limiter_can_be_set(alice):
    alice.ask("plugin.parameter", {**LIMITER, "parameter_id": "ceiling_db", "value": -3})
    assert alice.plugin("limiter")["parameters"]["ceiling_db"] == -3


def test_another_limiter_is_an_effect_like_any_other(alice):
    at = alice.add("limiter", "mine")
    alice.ask("plugin.bypass", {**at, "bypass": True})
    alice.ask("plugin.remove", at)


def test_delay_memory_runs_out_and_comes_back(start):
    alice = start(settings="[audio]\ndelay_pool_mb = 1\n[limits]\noperations_per_s = 1000\n").client()
    added = []
    while len(added) < 8:
        plugin_id = f"r{len(added)}"
        id = alice.send("plugin.add", {"track_id": "mic1", "name": "reverb", "plugin_id": plugin_id})
        answer = alice.answer(id)
        if answer["type"] == "ERROR":
            assert answer["data"]["code"] == "CAPACITY"
            assert "limit" in answer["data"]["details"]
            break
        added.append(plugin_id)
    if len(added) == 8:
        pytest.skip("eight reverbs fit into 1 MiB")
    assert added
    alice.ask("plugin.remove", {"track_id": "mic1", "plugin_id": added[0]})
    for _ in range(2000):  # its line is cleared while sound runs
        id = alice.send("plugin.add", {"track_id": "mic1", "name": "reverb", "plugin_id": "again"})
        answer = alice.answer(id)
        if answer["type"] != "ERROR":
            break
    assert answer["type"] == "plugin.add", answer
