"""Who is here, and what a host does about it (section 8)."""

import pytest
from websockets.exceptions import ConnectionClosed

from rig import PATIENCE


def closed(client):
    try:
        while True:
            client.held.append(client.receive())
    except ConnectionClosed as error:
        return error.rcvd.code


def here(client, *names):
    """The presence in which these are here, sorted, and nobody else."""

    def fits(message):
        if message["type"] != "session.presence":
            return False
        return sorted(user["user_id"] for user in message["data"]["users"]) == sorted(names)

    return client.find(fits, f"a presence of {names}")


@pytest.fixture
def host(rig):
    return rig.enter("host", "ana")


def test_everyone_hears_who_comes_and_goes(rig, host):
    users = here(host, "ana")["data"]["users"]
    assert set(users[0]) == {"connection_id", "user_id", "session_id", "role", "verified", "since"}
    assert users[0]["connection_id"] == host.status["data"]["connection_id"]
    guest = rig.enter("guest", "gus")
    for client in (host, guest):
        message = here(client, "ana", "gus")
        assert "seq" not in message
        assert all("address" not in user for user in message["data"]["users"])
    singer = rig.enter("performer", "pia", "--tracks", "mic1")
    users = here(guest, "ana", "gus", "pia")["data"]["users"]
    assert [(user["role"], user.get("tracks")) for user in users if user["user_id"] == "pia"] == [
        ("performer", ["mic1"])
    ]
    singer.close()
    here(guest, "ana", "gus")


def test_presence_comes_in_every_dialect_and_whatever_is_subscribed(rig, host):
    upper, picky = rig.client(), rig.client()
    upper.ask("STATE_GET")
    picky.ask("client.subscribe", {"types": ["track.update"]})
    for client in (upper, picky):
        client.fence()
    rig.enter("guest", "gus")
    for client in (upper, picky):
        here(client, "ana", "gus", "legacy_user", "legacy_user")


def test_who_has_not_signed_in_is_not_here_and_hears_nothing(start):
    rig = start(settings='allow_anonymous = "off"\n')
    stranger, host = rig.client(), rig.enter()
    here(host, "ana")
    assert len(host.ask("session.list")["data"]["users"]) == 1
    stranger.ask("heartbeat", {})
    assert [message["type"] for message in stranger.held] == []
    stranger.ask("AUTH", {"token": rig.token("guest", "gus")})
    here(host, "ana", "gus")
    here(stranger, "ana", "gus")


def test_the_list_says_where_they_come_from(rig, host):
    rig.enter("guest", "gus", source_address=("127.0.0.3", 0))
    users = host.ask("session.list")["data"]["users"]
    gus = next(user for user in users if user["user_id"] == "gus")
    assert (gus["role"], gus["address"], gus["verified"]) == ("guest", "127.0.0.3", True)
    assert gus["since"].endswith("Z") and gus["session_id"] and gus["connection_id"]


def test_many_who_come_at_once_are_told_in_few_messages(rig, host):
    crowd = [rig.client() for _ in range(30)]
    names = ["ana"] + ["legacy_user"] * 30
    here(host, *names)
    told = [message for message in host.held if message["type"] == "session.presence"]
    assert len(told) < 30
    # Who has not said who it is is not told that it is here itself.
    for client in crowd[:-1]:
        here(client, *names)
    crowd[-1].silence("session.presence")
    crowd[-1].ask("AUTH", {"user_id": "zoe"})
    here(crowd[-1], *names[:-1], "zoe")


def test_a_host_ends_one_connection(rig, host):
    one, two = rig.enter("guest", "gus"), rig.enter("guest", "gus")
    id = one.status["data"]["connection_id"]
    reply = host.ask("session.end", {"connection_id": id})
    assert reply["data"]["connection_id"] == id
    assert closed(one) == 1008
    two.ask("status.get")
    rig.enter("guest", "gus").ask("status.get")
    assert host.fail("INVALID_MESSAGE", "session.end", {"connection_id": id})["field"] == "connection_id"
    assert host.fail("INVALID_MESSAGE", "session.end", {})["field"] == "connection_id"
    both = {"connection_id": "x", "user_id": "gus"}
    assert host.fail("INVALID_MESSAGE", "session.end", both)["field"] == "user_id"


def test_a_host_signs_somebody_out(rig, host):
    token = rig.token("guest", "gus")
    gus = [rig.enter("guest", "gus") for _ in range(2)]
    reply = host.ask("session.end", {"user_id": "gus"}, requires_ack=True)
    assert reply["data"]["connections"] == 2
    assert host.wait("ack", original_message_id=reply["id"])["data"]["durable"] is True
    assert [closed(client) for client in gus] == [1008, 1008]
    here(host, "ana")
    again = rig.client()
    assert "signed you out" in again.fail("AUTH_FAILED", "AUTH", {"token": token})["reason"]
    assert again.ask("AUTH", {"token": rig.token("guest", "gus")})["data"]["user_id"] == "gus"
    code = host.ask("session.invite", {"role": "guest"})["data"]["code"]
    status, body = rig.pair(code, "gus")
    assert status == 200
    again.ask("AUTH", {"token": body["token"]})
    event = host.ask("daid.query", {"operation": "session.end"})["data"]["events"][0]
    assert (event["user_id"], event["metadata"]["subject"]) == ("ana", "gus")


def test_what_was_pending_of_one_who_is_signed_out_is_applied(rig, host):
    at = host.add()
    singer = rig.enter("performer", "pia", "--tracks", "mic1")
    changes = [{**at, "parameter_id": "volume", "value": 0.3}]
    singer.send("plugin.parameter.batch", {"changes": changes, "debounce_ms": 300})
    singer.ask("heartbeat", {})
    host.ask("session.end", {"user_id": "pia"})
    assert closed(singer) == 1008
    assert host.wait("plugin.parameter", timeout=PATIENCE)["data"]["parameter_value"] == 0.3


def test_people_on_record_are_people_with_a_token(rig, host):
    nobody = rig.client()
    nobody.ask("AUTH", {"user_id": "eve"})
    rig.enter("guest", "gus").close()
    again = rig.enter("guest", "gus")
    again.ask("status.get")
    events = host.ask("daid.query", {"operation": "session.join"})["data"]["events"]
    assert [event["user_id"] for event in events] == ["ana", "gus"], "once, however often they come"
    assert events[1]["role"] == "guest" and events[1]["verified"] is True
