"""Broken frames close their own connection with the right code, and nobody else's (wire.md section 7)."""

import json

import pytest

from raw import Raw


@pytest.fixture
def raw(rig):
    raw = Raw(rig.port)
    assert raw.status == 101
    assert json.loads(raw.frame()[1])["type"] == "connection.status"
    yield raw
    raw.close()


@pytest.fixture(autouse=True)
def others_go_on(alice):
    yield
    alice.silence()
    alice.ask("track.update", {"track_id": "mic1", "volume": 0.5})


@pytest.mark.parametrize("text", [b"\xff", b'{"type": "\xc3\x28"}', b"\xed\xa0\x80", b'{"a": "\xf5"}'])
def test_invalid_utf8_is_1007(raw, text):
    raw.send(1, text)
    assert raw.close_code() == 1007


@pytest.mark.parametrize(
    "wrong",
    [
        {"opcode": 1, "masked": False},
        {"opcode": 3},
        {"opcode": 11},
        {"opcode": 1, "reserved": 4},
        {"opcode": 1, "reserved": 1},
        {"opcode": 0},
        {"opcode": 9, "fin": False},
        {"opcode": 9, "payload": b"x" * 126},
    ],
    ids=str,
)
def test_a_broken_frame_is_1002(raw, wrong):
    wrong = {"payload": b"{}", **wrong}
    raw.send(**wrong)
    assert raw.close_code() == 1002


def test_a_new_message_inside_a_fragmented_one_is_1002(raw):
    raw.send(1, b'{"type":', fin=False)
    raw.send(1, b'"status.get"}')
    assert raw.close_code() == 1002


def padded(length):
    head = '{"type": "heartbeat", "id": "big", "data": {"text": "'
    return (head + "x" * (length - len(head) - 3) + '"}}').encode()


def test_64_kib_and_no_more(raw):
    message = padded(65536)
    assert len(message) == 65536
    raw.send(1, message)
    assert json.loads(raw.frame()[1])["type"] == "heartbeat_response"
    raw.send(1, padded(65537))
    assert raw.close_code() == 1009


def test_an_announced_giant_is_1009_before_it_is_sent(raw):
    raw.socket.sendall(b"\x81\xff" + (2**40).to_bytes(8, "big") + b"mask" + b"x" * 1000)
    assert raw.close_code() == 1009


def test_many_fragments_count_together(raw):
    raw.send(1, b"{" + b" " * 40000, fin=False)
    raw.send(0, b" " * 40000, fin=False)
    assert raw.close_code() == 1009


def test_a_fragmented_message_is_one_message(raw):
    text = '{"type": "heartbeat", "id": "ü", "data": {"a": "é"}}'.encode()
    cut = text.index("ü".encode()) + 1  # within a character
    raw.send(1, text[:cut], fin=False)
    raw.send(9, b"are you there")
    raw.send(0, text[cut:])
    assert raw.frame() == (10, b"are you there")
    reply = json.loads(raw.frame()[1])
    assert (reply["type"], reply["id"], reply["data"]["a"]) == ("heartbeat_response", "ü", "é")


def test_a_command_cut_in_two_by_the_network_is_whole(rig, alice, raw):
    alice.ask("plugin.add", {"track_id": "mic1", "name": "gain", "plugin_id": "g"})
    alice.fence()
    message = json.dumps(
        {
            "type": "plugin.parameter",
            "data": {"track_id": "mic1", "plugin_id": "g", "parameter_id": "volume", "value": 0.25},
        }
    ).encode()
    frame = bytes([0x81, 0x80 | 126]) + len(message).to_bytes(2, "big") + b"\0\0\0\0" + message
    for byte in frame[:-1]:
        raw.socket.sendall(bytes([byte]))
    alice.silence()
    raw.socket.sendall(frame[-1:])
    assert alice.wait("plugin.parameter")["data"]["parameter_value"] == 0.25


def test_closing_is_answered(raw):
    raw.send(8, (1000).to_bytes(2, "big"))
    assert raw.close_code() == 1000


def test_pings_are_answered(raw):
    raw.send(9, b"hello")
    assert raw.frame() == (10, b"hello")


def test_who_vanishes_in_the_middle_of_a_frame_harms_nobody(rig):
    for length in (1, 3, 20):
        raw = Raw(rig.port)
        raw.socket.sendall((b"\x81\xfe\x10\x00mask" + b"x" * 100)[:length])
        raw.close()
