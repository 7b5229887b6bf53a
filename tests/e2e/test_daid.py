"""Reading the log over the wire: `daid.query`, `daid.lineage`, `daid.verify` (wire.md section 6)."""

import hashlib

import pytest
from ledger import GENESIS, canonical, check, link, preimage
from rig import NO_LIMITS, value


def changed(client, kind, data, **envelope):
    """A change that is on disk."""
    id = client.send(kind, data, requires_ack=True, **envelope)
    reply = client.answer(id)
    assert reply["type"] != "ERROR", reply
    assert client.wait("ack", original_message_id=id)["data"]["durable"] is True
    return reply


def query(client, **data):
    found = client.ask("daid.query", data)["data"]
    for event in found["events"]:
        check(event)
    return found["events"], found["next_cursor"]


def everything(client, limit=1000, **data):
    events, cursor = [], None
    while True:
        page, cursor = query(client, limit=limit, **data, **({"cursor": cursor} if cursor else {}))
        assert len(page) <= limit
        events += page
        if cursor is None:
            return events


@pytest.fixture
def night(rig):
    """Some people did some things; all of it is on disk."""
    ana = rig.client()
    ana.ask("AUTH", {"user_id": "ana", "session_id": "stage"})
    ben = rig.client()
    ben.ask("AUTH", {"user_id": "ben", "session_id": "hall"})
    at = {"track_id": "mic1", "plugin_id": "verb"}
    changed(ana, "plugin.add", {"track_id": "mic1", "name": "reverb", "plugin_id": "verb"})
    changed(ben, "plugin.parameter", value(at, "wet_dry", 0.5))
    changed(ana, "plugin.parameter", value(at, "wet_dry", 1))
    changed(ana, "track.update", {"track_id": "mic1", "name": "Anaïs 🎤 \"/\\", "volume": 1.5})
    changed(ben, "rig.panic", {"mode": "mute"})
    changed(ben, "rig.restore", {})
    changed(ana, "track.update", {"track_id": "music", "mute": True})
    changed(ana, "plugin.bypass", {**at, "bypass": True})
    return ana, ben


def test_every_change_is_there_in_order_and_is_what_it_is_called(night):
    ana, _ = night
    events, cursor = query(ana)
    assert cursor is None
    assert [(event["operation"], event["user_id"]) for event in events] == [
        ("plugin.add", "ana"),
        ("plugin.parameter", "ben"),
        ("plugin.parameter", "ana"),
        ("track.update", "ana"),
        ("rig.panic", "ben"),
        ("rig.restore", "ben"),
        ("track.update", "ana"),
        ("plugin.bypass", "ana"),
    ]
    numbers = [event["seq_first"] for event in events]
    assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers)
    assert {event["epoch"] for event in events} == {ana.status["data"]["epoch"]}
    assert {event["role"] for event in events} == {"host"}
    assert {event["verified"] for event in events} == {False}
    assert {event["address"] for event in events} == {"127.0.0.1"}
    assert all(isinstance(event["applied_frame"], int) for event in events)
    assert events[1]["metadata"]["changes"] == {"wet_dry": {"from": 0.25, "to": 0.5, "count": 1}}
    whole = events[2]["metadata"]["changes"]["wet_dry"]["to"]
    assert isinstance(whole, float) and whole == 1.0, "values are floats"


def test_the_chain_is_over_every_column(rig, night):
    """As far as a client can see it: each row's hash is over its columns and the row before."""
    ana, _ = night
    events, _ = query(ana)
    before = GENESIS
    for number, event in enumerate(events, 1):
        row = {**event, "row": number, "id": event["daid"], "action": event["operation"]}
        row["details"] = canonical(event["metadata"])
        row["parents"] = canonical(event["parents"])
        assert link(before, row) == event["chain"]
        before = event["chain"]


def test_the_vectors_of_the_wire():
    """What checks the events above is itself checked."""
    third = {
        "parameter_id": "wet_dry",
        "value": 0.75,
        "user_id": "user_789",
        "session_id": "session_abc",
        "track_id": "track_123",
    }
    for entity_id, operation, metadata, digits in [
        ("test-123", "create", {}, "462a5efa7737fbea"),
        ("test-123", "create", {"key": "C major"}, "83dfd2b9ba53a1b6"),
        ("plugin_456", "plugin.parameter", third, "4d47bbf836c51bda"),
    ]:
        event = {"entity_id": entity_id, "metadata": metadata, "operation": operation, "parents": []}
        assert hashlib.sha256(preimage(event).encode()).hexdigest()[:16] == digits
    assert canonical({"b": [1e-05, 1e16, -0.0], "a": "é/\x7f🎤"}) == (
        r'{"a":"\u00e9/\u007f\ud83c\udfa4","b":[1e-05,1e+16,-0.0]}'
    )


@pytest.mark.parametrize(
    "filter, wanted",
    [
        ({"entity_type": "track"}, [4, 7]),
        ({"entity_type": "configuration"}, [5, 6]),
        ({"entity_id": "verb"}, [1, 2, 3, 8]),
        ({"entity_id": "mic1"}, [4]),
        ({"user_id": "ben"}, [2, 5, 6]),
        ({"session_id": "stage"}, [1, 3, 4, 7, 8]),
        ({"operation": "track.update"}, [4, 7]),
        ({"user_id": "ana", "operation": "plugin.parameter"}, [3]),
        ({"user_id": "ana", "entity_type": "plugin_processing", "session_id": "hall"}, []),
        ({"user_id": "nobody"}, []),
        ({"limit": 3}, [1, 2, 3]),
    ],
    ids=str,
)
def test_filters(night, filter, wanted):
    ana, _ = night
    events, _ = query(ana)
    assert query(ana, **filter)[0] == [events[number - 1] for number in wanted]


def test_times_are_inclusive_at_both_ends(night):
    ana, _ = night
    events, _ = query(ana)
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert query(ana, since=times[3])[0] == [e for e in events if e["timestamp"] >= times[3]]
    assert query(ana, until=times[3])[0] == [e for e in events if e["timestamp"] <= times[3]]
    zulu = times[3].replace("+00:00", "Z")
    assert query(ana, since=zulu, until=zulu)[0] == [e for e in events if e["timestamp"] == times[3]]
    assert query(ana, until="2001-01-01T00:00:00+02:00")[0] == []
    assert query(ana, since="2001-01-01")[0] == events


def test_whose_question_it_is_does_not_matter(night):
    ana, _ = night
    id = ana.send("daid.query", {}, user_id="ben", session_id="hall")
    assert len(ana.answer(id)["data"]["events"]) == 8
    flat = ana.send("DAID_QUERY", entityId="verb", limit=1)
    reply = ana.answer(flat)
    assert reply["type"] == "DAID_QUERY"
    assert [event["operation"] for event in reply["data"]["events"]] == ["plugin.add"]


def test_a_change_made_a_moment_ago_is_there(alice):
    """Nobody waited for the disk, nor even for the reply."""
    for step in range(20):
        alice.send("track.update", {"track_id": "mic1", "mute": step % 2 == 0})
        id = alice.send("daid.query", {"limit": 1000})
        assert len(alice.answer(id)["data"]["events"]) == step + 1


def test_a_drag_is_one_event(alice):
    at = alice.add("gain", "g")
    for step in range(50):
        alice.ask("plugin.parameter", value(at, "volume", step / 50))
    alice.ask("plugin.bypass", {**at, "bypass": True})
    events, _ = query(alice, entity_id="g")
    drags = [event for event in events if event["operation"] == "plugin.parameter"]
    changes = [event["metadata"]["changes"]["volume"] for event in drags]
    assert sum(change["count"] for change in changes) == 50
    assert changes[0]["from"] == 1.0 and changes[-1]["to"] == 0.98
    for earlier, later in zip(changes, changes[1:]):
        assert later["from"] == earlier["to"]
    assert [event["operation"] for event in events][0::len(events) - 1] == ["plugin.add", "plugin.bypass"]


def test_pages_while_the_log_grows(start):
    rig = start(settings=NO_LIMITS)
    reader, writer = rig.client(), rig.client()
    for step in range(40):
        writer.ask("track.update", {"track_id": "mic1", "pan": step / 100})
    seen, cursor = query(reader, limit=7)
    pages = 1
    while cursor is not None and pages < 8:
        for step in range(5):
            writer.ask("track.update", {"track_id": "mic2", "pan": step / 100})
        page, cursor = query(reader, limit=7, cursor=cursor)
        seen += page
        pages += 1
    whole = everything(reader)
    assert cursor is not None and len(whole) == 40 + 5 * 7
    assert seen == whole[: 7 * 8], "each once, in order, none left out"
    rest, end = query(reader, limit=1000, cursor=cursor)
    assert seen + rest == whole and end is None
    # The same cursor gives the same again; the filter still counts.
    assert query(reader, limit=1000, cursor=cursor)[0] == rest
    mic2 = [event for event in rest if event["entity_id"] == "mic2"]
    assert query(reader, cursor=cursor, entity_id="mic2")[0] == mic2
    full, end = query(reader, limit=len(rest), cursor=cursor)
    assert full == rest and end is None, "exactly at the end there is nothing more"


def test_an_answer_stays_below_a_megabyte(start):
    """Clients that were not told otherwise take no more."""
    rig = start(settings=NO_LIMITS)
    client = rig.client()
    names = ["é" * 64 + str(step).zfill(4) for step in range(400)]
    for name in names:
        client.send("track.update", {"track_id": "mic1", "name": name})
    client.fence()
    small = rig.client(max_size=2**20)
    first = small.ask("daid.query", {"limit": 1000})["data"]
    assert first["next_cursor"] is not None and len(first["events"]) < 400
    told = [event["metadata"]["changes"]["name"]["to"] for event in everything(small)]
    assert told == names


def test_lineage(night):
    ana, _ = night
    events, _ = query(ana)
    verb = [event for event in events if event["entity_id"] == "verb"]
    assert [event["parents"] for event in verb] == [[]] + [[e["daid"]] for e in verb[:-1]]

    def nodes(**data):
        found = ana.ask("daid.lineage", data)["data"]
        assert "truncated" not in found
        return found["nodes"]

    assert nodes(entity_id="verb", direction="backward") == verb[::-1]
    assert nodes(entity_id="verb", direction="forward") == verb
    assert nodes(daid=verb[2]["daid"], direction="backward") == verb[2::-1]
    assert nodes(daid=verb[2]["daid"], direction="forward") == verb[2:]
    assert nodes(entity_id="nothing", direction="forward") == []
    unknown = verb[0]["daid"][:-1] + ("0" if verb[0]["daid"][-1] != "0" else "1")
    assert nodes(daid=unknown, direction="backward") == []


def test_lineage_goes_on_over_a_restart(start, tmp_path):
    first = start()
    client = first.client()
    changed(client, "track.update", {"track_id": "mic1", "mute": True})
    first.finish()
    second = start("--state-dir", tmp_path / "rig0/state")
    client = second.client()
    changed(client, "track.update", {"track_id": "mic1", "mute": False})
    nodes = client.ask("daid.lineage", {"entity_id": "mic1", "direction": "backward"})["data"]["nodes"]
    assert len(nodes) == 2
    assert nodes[0]["parents"] == [nodes[1]["daid"]]
    assert nodes[0]["epoch"] != nodes[1]["epoch"] and nodes[0]["seq_first"] > nodes[1]["seq_last"]
    assert client.ask("daid.verify", {})["data"] == {"valid": True, "rows": 2, "success": True}


def test_a_long_lineage_is_cut_and_says_so(start):
    rig = start(settings=NO_LIMITS)
    client = rig.client()
    for step in range(1010):
        client.send("track.update", {"track_id": "mic1", "mute": step % 2 == 0})
    client.fence()
    found = client.ask("daid.lineage", {"entity_id": "mic1", "direction": "forward"})["data"]
    assert found["truncated"] is True and 500 < len(found["nodes"]) <= 1000
    assert found["nodes"] == everything(client)[: len(found["nodes"])]


def test_verify(night):
    ana, _ = night
    assert ana.ask("daid.verify", {})["data"] == {"valid": True, "rows": 8, "success": True}


def test_nothing_happened_yet(alice):
    assert query(alice) == ([], None)
    assert alice.ask("daid.verify", {})["data"] == {"valid": True, "rows": 0, "success": True}


@pytest.mark.parametrize(
    "data, field",
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": 7}, "cursor"),
        ({"cursor": "-1"}, "cursor"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2025-13-01T00:00:00Z"}, "until"),
        ({"until": 5}, "until"),
        ({"user_id": 5}, "user_id"),
        ({"entity_id": "x" * 129}, "entity_id"),
    ],
    ids=str,
)
def test_bad_queries(alice, data, field):
    assert alice.fail("INVALID_MESSAGE", "daid.query", data)["field"] == field


@pytest.mark.parametrize(
    "data, field",
    [
        ({}, "daid"),
        ({"direction": "backward"}, "daid"),
        ({"entity_id": "verb"}, "direction"),
        ({"entity_id": "verb", "direction": "sideways"}, "direction"),
        ({"daid": "verb", "direction": "forward"}, "daid"),
        ({"daid": "daid:v1.0:x", "entity_id": "verb", "direction": "forward"}, "entity_id"),
    ],
    ids=str,
)
def test_bad_lineages(alice, data, field):
    assert alice.fail("INVALID_MESSAGE", "daid.lineage", data)["field"] == field


def test_a_guest_may_not(start):
    guest = start(settings='allow_anonymous = "guest"\n').client()
    lineage = {"entity_id": "mic1", "direction": "forward"}
    for kind, data in [("daid.query", {}), ("daid.lineage", lineage), ("daid.verify", {})]:
        assert guest.fail("UNAUTHORIZED", kind, data)["required_permission"] == "log:read"


def test_a_rig_without_a_log_says_why(start, tmp_path):
    first = start()
    second = start("--state-dir", tmp_path / "rig0/state")
    client = second.client()
    details = client.fail("ENGINE_ERROR", "daid.query", {})
    assert "another rigd" in details["engine_error"]
    client.ask("track.update", {"track_id": "mic1", "mute": True})
    assert first.client().ask("daid.verify", {})["data"]["valid"] is True


def test_too_many_questions_are_refused_and_the_rest_answered(start):
    rig = start(settings=NO_LIMITS)
    client, other = rig.client(), rig.client()
    ids = [client.send("daid.verify", {}) for _ in range(200)]
    answers = [client.answer(id) for id in ids]
    refused = [answer["data"] for answer in answers if answer["type"] == "ERROR"]
    assert {data["code"] for data in refused} <= {"RATE_LIMITED"}
    assert all(data["details"]["retry_after"] > 0 for data in refused)
    assert len(refused) < len(ids), "some were answered"
    assert other.ask("daid.verify", {})["data"]["valid"] is True


def test_who_asks_and_goes_harms_nobody(start):
    rig = start(settings=NO_LIMITS)
    for _ in range(20):
        client = rig.client()
        for _ in range(5):
            client.send("daid.query", {"limit": 1000})
        client.close()
    assert rig.client().ask("daid.verify", {})["data"]["valid"] is True
