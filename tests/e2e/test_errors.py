"""Every error of wire.md section 7, with its exact code and details; nobody else is disturbed."""

import json

import pytest

from rig import NO_LIMITS, refusal, value


@pytest.fixture
def at(alice):
    return alice.add("reverb", "r")


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"type": "status.get"', "{'type': 1}", '{"a": NaN}', "\0"])
def test_not_json(alice, text):
    alice.raw(text)
    details = refusal("INVALID_MESSAGE", alice.wait("ERROR"))
    assert "reason" in details
    alice.ask("status.get")


@pytest.mark.parametrize("text", ["[]", '"status.get"', "5", "null", "true", '[{"type": "status.get"}]'])
def test_not_an_object(alice, text):
    alice.raw(text)
    assert "reason" in refusal("INVALID_MESSAGE", alice.wait("ERROR"))


@pytest.mark.parametrize("message", [{}, {"type": 5}, {"type": None}, {"type": ["a"]}, {"data": {}}])
def test_no_type(alice, message):
    alice.raw(json.dumps({"id": "x", **message}))
    details = refusal("INVALID_MESSAGE", alice.answer("x"))
    assert details["field"] == "type"


@pytest.mark.parametrize("kind", ["no.such", "NO_SUCH", "", "Plugin.Add", "plugin.add ", "x" * 500])
def test_unknown_type(alice, kind):
    details = alice.fail("UNKNOWN_MESSAGE_TYPE", kind)
    assert kind.startswith(details["type"]) if len(kind) > 64 else details["type"] == kind


REQUIRED = [
    ("plugin.add", {"track_id": "mic1", "name": "gain"}),
    ("plugin.remove", {"track_id": "mic1", "plugin_id": "r"}),
    (
        "plugin.parameter",
        {"track_id": "mic1", "plugin_id": "r", "parameter_id": "wet_dry", "parameter_value": 1},
    ),
    ("plugin.bypass", {"track_id": "mic1", "plugin_id": "r", "bypass": True}),
    ("plugin.move", {"track_id": "mic1", "plugin_id": "r", "position": 0}),
    ("plugin.parameters.get", {"track_id": "mic1", "plugin_id": "r"}),
    ("plugin.presets.get", {"track_id": "mic1", "plugin_id": "r"}),
    ("plugin.preset.save", {"track_id": "mic1", "plugin_id": "r", "preset_name": "x"}),
    ("track.add", {"track_id": "t", "kind": "mic"}),
    ("track.remove", {"track_id": "mic1"}),
    ("track.update", {"track_id": "mic1", "volume": 1}),
]
FIELDS = [(kind, data, field) for kind, data in REQUIRED for field in data]


@pytest.mark.parametrize("kind,data,field", FIELDS, ids=[f"{k}-{f}" for k, _, f in FIELDS])
def test_a_missing_or_misspelt_field(alice, bob, at, kind, data, field):
    before = alice.state()
    bob.fence()
    missing = {key: value for key, value in data.items() if key != field}
    misspelt = {**missing, field.upper() + "X": data[field]}
    for wrong in (missing, misspelt):
        details = alice.fail("INVALID_MESSAGE", kind, wrong)
        assert "reason" in details
        if field not in ("volume",):
            assert details["field"] == field
    assert alice.state()["tracks"] == before["tracks"], "nothing changed"
    bob.silence()


TYPED = [(k, d, f) for k, d, f in FIELDS if f not in ("parameter_value", "volume")]


@pytest.mark.parametrize("kind,data,field", TYPED, ids=[f"{k}-{f}" for k, _, f in TYPED])
def test_a_field_of_the_wrong_type(alice, at, kind, data, field):
    for wrong in ("first" if field == "position" else 7, ["mic1"], {"a": 1}):
        details = alice.fail("INVALID_MESSAGE", kind, {**data, field: wrong})
        assert details["field"] == field


def test_an_unknown_track(alice, at):
    for kind, data in REQUIRED:
        if kind != "track.add":
            details = alice.fail("TRACK_NOT_FOUND", kind, {**data, "track_id": "nowhere"})
            assert details["track_id"] == "nowhere"
            assert details.get("plugin_id") == data.get("plugin_id")


def test_an_unknown_plugin(alice, at):
    for kind, data in REQUIRED:
        if "plugin_id" in data:
            details = alice.fail("PLUGIN_NOT_FOUND", kind, {**data, "plugin_id": "nope"})
            assert details["plugin_id"] == "nope"
            assert details["track_id"] == "mic1"


def test_a_plugin_on_another_track(alice, at):
    data = {"track_id": "mic2", "plugin_id": "r", "parameter_id": "wet_dry", "value": 1}
    assert alice.fail("PLUGIN_NOT_FOUND", "plugin.parameter", data)["plugin_id"] == "r"


def test_an_unknown_parameter(alice, at):
    details = alice.fail("INVALID_PARAMETER", "plugin.parameter", value(at, "loudness", 0.5))
    assert details["parameter_id"] == "loudness"
    assert details["parameter_value"] == 0.5
    assert isinstance(details["validation_error"], str)


@pytest.mark.parametrize("wrong", [-0.001, 1.001, 1e308, -1e308, 1000000])
def test_a_value_out_of_range(alice, at, wrong):
    details = alice.fail("INVALID_PARAMETER", "plugin.parameter", value(at, "wet_dry", wrong))
    assert (details["min"], details["max"]) == (0, 1)
    assert details["parameter_id"] == "wet_dry"
    assert details["parameter_value"] == wrong
    assert isinstance(details["validation_error"], str)
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.25


@pytest.mark.parametrize("wrong", ["0.5", True, [0.5], {"value": 0.5}, "loud"])
def test_a_value_that_is_no_number(alice, at, wrong):
    details = alice.fail("INVALID_PARAMETER", "plugin.parameter", value(at, "wet_dry", wrong))
    assert details["parameter_value"] == wrong
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.25


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e400"])
def test_a_number_that_is_not_finite(alice, at, number):
    alice.raw(
        '{"type": "plugin.parameter", "id": "x", "data": {"track_id": "mic1", "plugin_id": "r",'
        f' "parameter_id": "wet_dry", "parameter_value": {number}}}}}'
    )
    error = alice.answer("x")["data"]
    assert error["code"] in ("INVALID_PARAMETER", "INVALID_MESSAGE")
    assert alice.plugin("r")["parameters"]["wet_dry"] == 0.25


@pytest.mark.parametrize("name", ["gain", "hpf", "gate", "compressor", "eq", "deesser", "echo", "reverb", "limiter", "feedback"])
def test_the_ends_of_every_range_are_in_it(start, name):
    alice = start(settings=NO_LIMITS).client()
    at = alice.add(name, "p")
    info = alice.ask("plugin.parameters.get", at)["data"]["parameter_info"]
    for parameter, about in info.items():
        for good in (about["min"], about["max"], about["default"]):
            reply = alice.ask("plugin.parameter", value(at, parameter, good))
            assert reply["data"]["parameter_value"] == good
        for bad in (about["min"] - 0.01, about["max"] + 0.01):
            alice.fail("INVALID_PARAMETER", "plugin.parameter", value(at, parameter, bad))


def test_a_value_between_the_steps(alice):
    at = alice.add("hpf", "h")
    alice.ask("plugin.parameter", value(at, "slope", 24))
    assert alice.fail("INVALID_PARAMETER", "plugin.parameter", value(at, "slope", 18))


def nested(depth):
    """An object with `depth` levels, itself included."""
    return json.dumps({"type": "heartbeat", "id": "deep", "data": {}})[:-3] + (
        '{"a":' * (depth - 2) + "{}" + "}" * (depth - 2) + "}"
    )


def test_32_levels_and_no_more(alice):
    assert json.loads(nested(32))
    alice.raw(nested(32))
    assert alice.answer("deep")["type"] == "heartbeat_response"
    alice.raw(nested(33))
    details = refusal("INVALID_MESSAGE", alice.wait("ERROR"))
    assert details["limit"] == 32


def test_very_deep_nesting_is_harmless(alice):
    alice.raw('{"type":"heartbeat","data":' + "[" * 30000 + "]" * 30000 + "}")
    refusal("INVALID_MESSAGE", alice.wait("ERROR"))
    alice.raw("[" * 60000)
    refusal("INVALID_MESSAGE", alice.wait("ERROR"))


def test_brackets_in_strings_are_not_nesting(alice):
    alice.ask("heartbeat", {"text": "[{" * 1000 + '\\"'})


def test_a_binary_frame(alice):
    alice.raw(b"\x01\x02\x03")
    refusal("INVALID_MESSAGE", alice.wait("ERROR"))
    alice.ask("status.get")


def test_an_error_does_not_echo_what_it_refuses(alice, at):
    id = alice.send("plugin.parameter", value(at, "x" * 64, 0.5), junk="y" * 40000)
    assert len(json.dumps(alice.answer(id))) < 4000


def test_errors_leave_the_others_alone(alice, bob, at):
    bob.fence()
    for text in ("{", "[]", "5", '{"type": 1}'):
        alice.raw(text)
    alice.fail("TRACK_NOT_FOUND", "plugin.add", {"track_id": "x", "name": "gain"})
    bob.silence()
    bob.ask("plugin.parameter", value(at, "wet_dry", 0.5))


def test_tokens_are_refused_until_there_is_identity(alice):
    for token in ("", "not.a.token", "eyJhbGciOiJub25lIn0.e30."):
        assert "reason" in alice.fail("AUTH_FAILED", "AUTH", {"token": token})
    alice.ask("status.get")


def test_auth_without_a_token(alice):
    data = alice.ask("AUTH", {"user_id": "ana", "session_id": "s"})["data"]
    assert (data["user_id"], data["session_id"], data["role"]) == ("ana", "s", "host")
    assert "plugin:write" in data["permissions"]
    reply = alice.ask("status.get")
    assert (reply["user_id"], reply["session_id"]) == ("ana", "s")


def test_auth_without_anything(alice):
    data = alice.ask("AUTH")["data"]
    assert data["user_id"] == "anonymous_user"
    assert data["session_id"].startswith("anonymous_")
    assert data["session_id"] != alice.ask("AUTH")["data"]["session_id"]
