"""The envelope: ids, times, who said it, and what a reply must carry (wire.md section 1)."""

import re
from datetime import datetime, timedelta, timezone

import pytest

MICROS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


def time_of(text):
    assert MICROS.match(text), text
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def test_the_first_message_says_how_things_stand(alice):
    data = alice.status["data"]
    assert data["connected"] is True
    assert data["authenticated"] is False
    assert data["protocol"] == 1
    assert re.match(r"^rigd/\d+\.\d+\.\d+", data["server"])
    assert isinstance(data["connection_id"], str) and data["connection_id"]
    assert isinstance(data["epoch"], str) and data["epoch"]
    assert isinstance(data["seq"], int)


def test_every_connection_has_an_id_of_its_own_and_the_same_epoch(alice, bob):
    mine, others = alice.status["data"], bob.status["data"]
    assert mine["connection_id"] != others["connection_id"]
    assert mine["epoch"] == others["epoch"]


def test_a_restart_is_another_epoch(start):
    assert start().client().status["data"]["epoch"] != start().client().status["data"]["epoch"]


def test_a_reply_carries_its_messages_id(alice):
    assert alice.ask("status.get", id="so kann man es nennen: ñ")["id"] == "so kann man es nennen: ñ"


def test_messages_without_an_id_are_counted(alice):
    alice.raw('{"type": "status.get"}')
    alice.raw('{"type": "track.list"}')
    first, second = alice.wait("status.get"), alice.wait("track.list")
    numbers = [re.match(r"^legacy_(\d+)$", reply["id"]) for reply in (first, second)]
    assert all(numbers), (first["id"], second["id"])
    assert int(numbers[1][1]) == int(numbers[0][1]) + 1


@pytest.mark.parametrize("id", ["7", "7.5", "null", "true", '["a"]', '{"a": 1}'])
def test_an_id_that_is_not_a_string_is_refused(alice, id):
    alice.raw(f'{{"type": "status.get", "id": {id}}}')
    error = alice.wait("ERROR")
    assert error["data"]["code"] == "INVALID_MESSAGE"
    assert error["data"]["details"]["field"] == "id"
    assert isinstance(error["id"], str)


def test_absent_data_is_empty_data(alice):
    alice.raw('{"type": "track.list", "id": "a"}')
    assert len(alice.answer("a")["data"]["tracks"]) == 4


@pytest.mark.parametrize("data", ['"text"', "[1]", "5", "true"])
def test_data_must_be_an_object(alice, data):
    alice.raw(f'{{"type": "track.list", "id": "a", "data": {data}}}')
    error = alice.answer("a")
    assert error["data"]["code"] == "INVALID_MESSAGE"
    assert error["data"]["details"]["field"] == "data"


def test_times_are_utc_with_microseconds(alice):
    before = datetime.now(timezone.utc)
    reply = alice.ask("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": "g"})
    after = datetime.now(timezone.utc)
    handed_over, sent = time_of(reply["t1_engine_call"]), time_of(reply["timestamp"])
    slack = timedelta(milliseconds=1)
    assert before - slack <= handed_over <= sent <= after + slack
    time_of(alice.status["timestamp"])
    time_of(alice.answer(alice.send("nonsense"))["timestamp"])


@pytest.mark.parametrize("t0", ["2026-01-01T12:00:00.5+01:00", 1767268800123, 1767268800123.25, 0])
def test_t0_comes_back_untouched(alice, t0):
    reply = alice.ask("plugin.add", {"track_id": "mic1", "name": "gain"}, t0_timestamp=t0)
    assert reply["t0_timestamp"] == t0
    assert type(reply["t0_timestamp"]) is type(t0)
    assert alice.ask("status.get", t0_timestamp=t0)["t0_timestamp"] == t0


def test_without_t0_there_is_none_in_the_reply(alice):
    assert "t0_timestamp" not in alice.ask("status.get")


def test_a_clients_clock_is_not_trusted(alice):
    reply = alice.ask("track.update", {"track_id": "mic1", "mute": True}, timestamp="1970-01-01T00:00:00Z")
    assert time_of(reply["timestamp"]).year > 2000


def test_who_says_nothing_is_legacy(alice):
    reply = alice.ask("status.get")
    assert (reply["user_id"], reply["session_id"]) == ("legacy_user", "legacy_session")


def test_an_anonymous_claim_is_used(alice):
    reply = alice.ask("status.get", user_id="ana", session_id="tuesday")
    assert (reply["user_id"], reply["session_id"]) == ("ana", "tuesday")


@pytest.mark.parametrize("field", ["user_id", "session_id"])
def test_claims_have_a_limit(alice, field):
    assert alice.ask("status.get", **{field: "x" * 128})[field] == "x" * 128
    details = alice.fail("INVALID_MESSAGE", "status.get", **{field: "x" * 129})
    assert details["field"] == field
    assert details["limit"] == 128
    assert alice.fail("INVALID_MESSAGE", "status.get", **{field: 5})["field"] == field


def test_a_change_is_answered_after_the_engine_has_applied_it(alice):
    reply = alice.ask("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": "g"})
    data = reply["data"]
    assert type(data["applied_frame"]) is int and data["applied_frame"] >= 0
    assert type(data["engine_latency_us"]) is int and 0 <= data["engine_latency_us"] < 2_000_000
    assert type(reply["seq"]) is int
    assert alice.ask("status.get")["data"]["frame"] >= data["applied_frame"]


def test_applied_frames_never_go_back(alice):
    frames = [
        alice.ask("track.update", {"track_id": "mic1", "volume": step / 10})["data"]["applied_frame"]
        for step in range(10)
    ]
    assert frames == sorted(frames)


def test_seq_goes_up_by_one_with_each_change(alice, bob):
    first = alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})["seq"]
    alice.fail("TRACK_NOT_FOUND", "track.update", {"track_id": "nope", "volume": 0.5})
    alice.ask("status.get")
    second = bob.ask("track.update", {"track_id": "mic1", "volume": 0.6})["seq"]
    third = alice.ask("plugin.add", {"track_id": "mic1", "name": "gain"})["seq"]
    assert (second, third) == (first + 1, first + 2)


def test_what_changes_nothing_has_no_seq(alice):
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    for kind in ("status.get", "track.list", "plugin.list", "client.features"):
        assert "seq" not in alice.ask(kind), kind
    assert "seq" not in alice.answer(alice.send("nonsense"))


def test_the_present_value_is_a_change_like_any_other(alice, bob):
    at = alice.add()
    first = alice.ask("plugin.parameter", {**at, "parameter_id": "volume", "value": 1.0})["seq"]
    second = alice.ask("plugin.parameter", {**at, "parameter_id": "volume", "value": 1.0})["seq"]
    assert second == first + 1
    before, _ = bob.fence()
    heard = [message["seq"] for message in before if message["type"] == "plugin.parameter"]
    assert heard == [first, second]


def test_unknown_fields_are_ignored(alice):
    alice.ask(
        "track.update",
        {"track_id": "mic1", "volume": 0.5, "colour": "red", "nested": {"a": [1, 2]}},
        version=9,
        trace={"id": 1},
    )


def test_epoch_and_seq_agree_everywhere(alice):
    seq = alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})["seq"]
    snapshot = alice.state()
    assert snapshot["seq"] == seq
    assert snapshot["epoch"] == alice.status["data"]["epoch"]
