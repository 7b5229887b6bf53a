"""Heartbeats, cursors, status, features."""

import json
import time

import pytest


@pytest.mark.parametrize("data", [{}, {"n": 1, "nested": {"a": [1, None, "ü"]}}, {"success": False}])
def test_a_heartbeat_comes_back_with_its_data(alice, data):
    reply = alice.ask("heartbeat", data)
    assert reply["type"] == "heartbeat_response"
    assert {key: reply["data"].get(key) for key in data} == data


@pytest.mark.parametrize("data", ["text", 5, [1, 2], True, 12345678901234567890123, {"n": -0.0}])
def test_a_heartbeats_data_may_be_anything(alice, data):
    alice.raw(json.dumps({"type": "heartbeat", "id": "h", "data": data}))
    reply = alice.answer("h")
    assert (reply["type"], reply["data"]) == ("heartbeat_response", data)


@pytest.mark.parametrize("data", ["1e999", '{"text": "\\ud83c"}'])
def test_what_a_heartbeat_cannot_hold(alice, data):
    alice.raw(f'{{"type": "heartbeat", "id": "h", "data": {data}}}')
    error = alice.answer("h")["data"]
    assert (error["code"], error["details"]["field"]) == ("INVALID_MESSAGE", "data")


@pytest.fixture
def sessions(rig):
    """Two in one session, one in another."""
    people = [rig.client() for _ in range(3)]
    for client, user, session in zip(people, ("ana", "ben", "cat"), ("red", "red", "blue")):
        client.ask("AUTH", {"user_id": user, "session_id": session})
    return people


def test_cursors_are_relayed_within_a_session(sessions):
    ana, ben, cat = sessions
    ana.send("USER_CURSOR_UPDATE", {"x": 1, "y": [2, {"z": "ü"}]})
    ana.ask("heartbeat", {})
    heard = ben.wait("USER_CURSOR_UPDATE")
    assert (heard["data"]["x"], heard["data"]["y"]) == (1, [2, {"z": "ü"}])
    assert heard["user_id"] == "ana"
    assert "seq" not in heard
    ana.silence("USER_CURSOR_UPDATE")
    cat.silence("USER_CURSOR_UPDATE")


def test_a_cursor_has_a_size(sessions):
    ana, ben, _ = sessions
    ana.send("USER_CURSOR_UPDATE", {"text": "x" * 1000})
    ben.wait("USER_CURSOR_UPDATE")
    error = ana.answer(ana.send("USER_CURSOR_UPDATE", {"text": "x" * 1100}))
    assert error["data"]["code"] == "INVALID_MESSAGE"
    assert error["data"]["details"]["limit"] == 1024
    ben.silence("USER_CURSOR_UPDATE")


def test_cursors_are_never_logged(start):
    rig = start(settings="log_messages = true\n", env={"RIGD_LOG": "trace"})
    one, two = rig.client(), rig.client()
    one.send("USER_CURSOR_UPDATE", {"secret": "kolibri"})
    two.wait("USER_CURSOR_UPDATE")
    rig.stop()
    assert "kolibri" not in rig.log


def test_status(rig, alice, bob):
    data = alice.ask("status.get")["data"]
    assert data["backend"] == "null"
    assert (data["sample_rate"], data["block_frames"]) == (48000, 64)
    assert type(data["frame"]) is int and type(data["xruns"]) is int
    assert 0 <= data["dsp_load"] < 10
    assert set(data["latency_ms"]) >= {"in", "out"}
    assert data["clients"] == 2
    assert data["uptime_s"] >= 0
    assert isinstance(data["features"], list)
    assert data["degraded"] == []
    assert data["epoch"] == alice.status["data"]["epoch"]
    later = alice.ask("status.get")["data"]
    assert later["frame"] >= data["frame"] and later["uptime_s"] >= data["uptime_s"]


def test_the_engine_runs_in_real_time(alice):
    started, before = time.monotonic(), alice.ask("status.get")["data"]["frame"]
    alice.ask("meters.subscribe", {"rate_hz": 10, "format": "json"})
    for _ in range(10):
        alice.wait("meters")
    after, took = alice.ask("status.get")["data"]["frame"], time.monotonic() - started
    assert 0.8 < (after - before) / 48000 / took < 1.2


@pytest.mark.parametrize("block,rate", [(128, 44100), (16, 48000), (4096, 192000), (441, 8000)])
def test_block_and_rate_are_settings(start, block, rate):
    alice = start("--block", block, "--sample-rate", rate).client()
    data = alice.ask("status.get")["data"]
    assert (data["sample_rate"], data["block_frames"]) == (rate, block)
    for name in ("gain", "hpf", "reverb", "limiter"):
        alice.ask("plugin.add", {"track_id": "mic1", "name": name})
    reply = alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    assert type(reply["data"]["applied_frame"]) is int


def test_features_say_what_is_in_effect(alice):
    assert alice.ask("client.features")["data"]["batch"] is False
    assert alice.ask("client.features", {"batch": True})["data"]["batch"] is True
    assert alice.ask("client.features", {"dialect": "upper"})["data"]["batch"] is True
    details = alice.fail("INVALID_MESSAGE", "client.features", {"batch": "yes"})
    assert details["field"] == "batch"


def test_people_come_and_go(rig, alice):
    for _ in range(3):
        crowd = [rig.client() for _ in range(20)]
        assert alice.ask("status.get")["data"]["clients"] == 21
        for client in crowd:
            client.close()
        deadline = time.monotonic() + 10
        while alice.ask("status.get")["data"]["clients"] > 1:
            assert time.monotonic() < deadline, "those who are gone are forgotten"
            time.sleep(0.02)
