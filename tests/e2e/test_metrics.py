"""What machines are told (`/metrics`), and `log_messages`."""

import json
import re
import time

from raw import Raw
from rig import NO_LIMITS, PATIENCE, value


def test_what_is_counted(rig, alice, bob):
    at = alice.add()
    before = rig.metrics()
    assert before["rigd_connections",] == 2 and before["rigd_engine_running",] == 1
    alice.ask("plugin.parameter", value(at, "volume", 0.5), requires_ack=True)
    alice.wait("ack")
    bob.wait("plugin.parameter")
    alice.send("PLUGIN_PARAMETER", value(at, "volume", 99))
    alice.fail("UNKNOWN_MESSAGE_TYPE", "no.such.thing")
    after = rig.metrics()

    def grown(*name):
        return after[name] - before.get(name, 0)

    assert grown("rigd_messages_total", "plugin.parameter") == 2, "by type, whatever the dialect"
    assert grown("rigd_messages_total", "unknown") == 1
    assert grown("rigd_errors_total", "INVALID_PARAMETER") == 1
    assert grown("rigd_errors_total", "UNKNOWN_MESSAGE_TYPE") == 1
    assert grown("rigd_messages_sent_total") == 5
    assert grown("rigd_message_bytes_total", "in") > 100
    assert grown("rigd_apply_latency_seconds_count") == 1
    assert grown("rigd_ack_latency_seconds_count") == 1
    assert grown("rigd_handle_seconds_count") == 3
    assert grown("rigd_http_answers_total", "2xx") == 1
    for name in ("rigd_apply_latency_seconds", "rigd_ack_latency_seconds", "rigd_handle_seconds"):
        buckets = [value for key, value in after.items() if key[0] == name + "_bucket"]
        assert buckets == sorted(buckets) and buckets[-1] == after[name + "_count",], name
        assert 0 < after[name + "_sum",] < PATIENCE
    for name in ("rigd_xruns_total", "rigd_dsp_load", "rigd_log_lag_seconds", "rigd_log_lag_entries"):
        assert after[name,] >= 0
    assert after["rigd_frames_total",] > 0
    assert after["rigd_resident_memory_bytes",] > 1e6
    assert after["rigd_buffer_bytes", "delay_pool"] == 8 * 2**20


def test_what_waits_for_a_client_that_does_not_read_is_seen(start):
    rig = start(settings=NO_LIMITS)
    alice = rig.client()
    at = alice.add()
    slow = Raw(rig.port, receive_buffer=2048)
    deadline = time.monotonic() + PATIENCE
    while rig.metrics()["rigd_queue_depth", "longest_outbox"] == 0:
        for _ in range(200):
            alice.send("plugin.parameter", value(at, "volume", 0.5))
        alice.ask("status.get")
        alice.held.clear()
        assert time.monotonic() < deadline
    slow.close()
    while rig.metrics()["rigd_queue_depth", "longest_outbox"] > 0:
        assert time.monotonic() < deadline


def test_no_client_can_make_the_page_grow(rig, alice):
    lines = len(rig.metrics())
    for number in range(100):
        alice.send(f"type.of.my.own.{number}", user_id=f"u{number}", session_id=f"s{number}")
        rig.http(f"/path{number}")
    alice.ask("status.get")
    assert len(rig.metrics()) <= lines + 5


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2VzYW1l"


def test_log_messages_writes_what_comes_and_goes_and_no_secret(start):
    rig = start(settings="log_messages = true\n")
    alice = rig.client()
    at = alice.add()
    alice.fail("AUTH_FAILED", "AUTH", {"token": "open-sesame"})
    alice.ask("heartbeat", {"note": JWT})
    alice.raw('{"type": "AUTH", "data": {"token": "open-sesame"')
    rig.http("/api/state", headers={"Authorization": f"Bearer {JWT}"})
    alice.ask("plugin.parameter", value(at, "volume", 0.25))
    lines = [line for line in rig.lines if re.search(r" message (from|to) client \d+ at 127.0.0.1: ", line)]
    sent = [json.loads(line[line.index("{") :]) for line in lines if " from " in line and "{" in line]
    assert [message["type"] for message in sent if message["type"] != "state.get"] == [
        "plugin.add",
        "AUTH",
        "heartbeat",
        "plugin.parameter",
    ]
    assert sent[1]["data"]["token"] == "***"
    assert any(" to client" in line and '"code":"AUTH_FAILED"' in line for line in lines)
    assert any("are not JSON" in line for line in lines)
    assert "sesame" not in rig.log and JWT not in rig.log and "c2VzYW1l" not in rig.log


def test_log_messages_cannot_fill_the_log(start):
    rig = start(settings=NO_LIMITS, env={"RIGD_LOG_MESSAGES": "true"})
    alice = rig.client()
    started = time.monotonic()
    for _ in range(4000):
        alice.send("heartbeat", {})
    alice.ask("status.get")
    seconds = time.monotonic() - started
    alice.held.clear()
    written = sum(" message from " in line or " message to " in line for line in rig.lines)
    assert 0 < written <= 400 + 200 * (seconds + 5)
    while "messages are left out here" not in rig.log:  # said when there is room again
        alice.ask("heartbeat", {})
        assert time.monotonic() - started < PATIENCE


def test_by_itself_no_message_is_written(rig, alice):
    alice.ask("heartbeat", {"a": "pomegranate"})
    assert "pomegranate" not in rig.log
