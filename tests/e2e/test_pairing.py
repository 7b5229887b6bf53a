"""A phone comes in without typing a token: codes, links, QR codes, and the box's first host (section 8)."""

import http.client
import json
import os
import re
import socket
import stat
import time
import xml.etree.ElementTree as ET

import pytest

from rig import PATIENCE, run


@pytest.fixture
def locked(start):
    return start(settings='allow_anonymous = "off"\n')


@pytest.fixture
def host(locked):
    return locked.enter()


def invite(host, **data):
    return host.ask("session.invite", data)["data"]


def come(rig, code, user_id="pia", source="127.0.0.1"):
    status, body = rig.pair(code, user_id, source)
    assert status == 200, body
    return body


def wrong(rig, code, source="127.0.0.1"):
    status, body = rig.pair(code, "pia", source)
    assert (status, body["code"]) == (401, "AUTH_FAILED"), body


def leave_code(rig, role="guest", *more):
    """What `rigd pair` prints in the folder of a rig: the code and the link."""
    return printed_code(rig.state, role, *more)


def printed_code(state, role, *more):
    printed = run(state.parent, "pair", "--role", role, *more, "--state-dir", state)
    assert printed.returncode == 0, printed.stderr
    assert len([line for line in printed.stdout.splitlines() if "█" in line]) > 10, "a QR code"
    url = re.search(r"^https?://\S+$", printed.stdout, re.M)[0]
    code = url.split("#pair=")[1]
    assert f"code {code} " in printed.stdout
    return code, url


def test_an_invitation_is_a_link_a_drawing_and_a_code(locked, host):
    data = invite(host, role="performer", tracks=["mic1"])
    assert (data["role"], data["tracks"], data["expires_in_s"]) == ("performer", ["mic1"], 600)
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", data["code"])
    assert data["url"] == f"http://127.0.0.1:{locked.port}/#pair={data['code']}"
    assert ET.fromstring(data["svg"]).tag.endswith("svg")
    body = come(locked, data["code"])
    assert (body["role"], body["user_id"], body["tracks"]) == ("performer", "pia", ["mic1"])
    singer = locked.client()
    who = singer.ask("AUTH", {"token": body["token"]})["data"]
    assert (who["user_id"], who["role"]) == ("pia", "performer")
    singer.ask("track.update", {"track_id": "mic1", "volume": 0.5})
    singer.fail("UNAUTHORIZED", "track.update", {"track_id": "mic2", "volume": 0.5})


def test_the_link_leads_where_the_host_came_from(start):
    rig = start("--listen", "0.0.0.0:0")
    host = rig.enter(url=rig.at("127.0.0.1"))
    url = invite(host, role="guest")["url"]
    assert f":{rig.port}/#pair=" in url
    named = rig.enter(
        url=f"ws://rig.local:{rig.port}/ws", sock=socket.create_connection(("127.0.0.1", rig.port))
    )
    assert invite(named, role="guest")["url"].startswith(f"http://rig.local:{rig.port}/#pair=")


def test_a_code_is_good_once_and_typed_as_people_type(locked, host):
    code = invite(host, role="guest")["code"]
    come(locked, code.lower().replace("-", " "))
    wrong(locked, code)
    assert come(locked, invite(host, role="display")["code"])["role"] == "display"


def test_a_code_is_good_for_as_long_as_was_said(locked, host):
    code = invite(host, role="guest", ttl_s=1)["code"]
    time.sleep(1.2)
    wrong(locked, code)
    for ttl in (0, -5, 1e9):
        assert host.fail("INVALID_MESSAGE", "session.invite", {"role": "guest", "ttl_s": ttl})["field"] == "ttl_s"
    assert host.fail("INVALID_MESSAGE", "session.invite", {})["field"] == "role"


def test_five_wrong_codes_from_an_address_are_enough(locked, host):
    code = invite(host, role="guest")["code"]
    for _ in range(5):
        wrong(locked, "AAAA-AAAA-AAAA", "127.0.0.9")
    status, body = locked.pair(code, "pia", "127.0.0.9")
    assert (status, body["code"]) == (429, "RATE_LIMITED")
    assert 0 < body["details"]["retry_after"] <= 300
    come(locked, code)
    host.ask("status.get")


@pytest.mark.parametrize(
    "body,status",
    [
        ("", 400),
        ("[]", 400),
        ("{}", 400),
        ('{"code": "AAAA-AAAA-AAAA"}', 400),
        ('{"code": 5, "user_id": "pia"}', 400),
        ('{"code": "AAAA-AAAA-AAAA", "user_id": ""}', 400),
        ('{"code": "AAAA-AAAA-AAAA", "user_id": "a\\u0000b"}', 400),
        ('{"code": "' + "A" * 65 + '", "user_id": "pia"}', 400),
        ("[" * 2_000, 400),
        ('{"x": "' + "y" * 10_000 + '"}', 413),
    ],
)
def test_what_is_no_pairing_is_told_so(locked, body, status):
    got, answer = post(locked, body)
    assert got == status, answer
    assert answer["code"] == "INVALID_MESSAGE" and len(answer["error"]) > 10


def post(rig, body, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=PATIENCE)
    connection.request("POST", "/api/pair", body, dict(headers))
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_a_page_of_somebody_elses_does_not_pair(locked, host):
    code = invite(host, role="host")["code"]
    body = json.dumps({"code": code, "user_id": "eve"})
    status, _ = post(locked, body, {"Origin": "http://evil.example", "Content-Type": "text/plain"})
    assert status == 403
    come(locked, code)


def test_the_box_makes_codes_while_the_rig_runs(locked):
    code, url = leave_code(locked, "host")
    assert url == f"http://127.0.0.1:{locked.port}/#pair={code}"
    files = list((locked.state / "codes").iterdir())
    assert len(files) == 1 and stat.S_IMODE(os.stat(files[0]).st_mode) == 0o600
    assert code not in files[0].read_text() + files[0].name
    body = come(locked, code, "ana")
    assert body["role"] == "host"
    wrong(locked, code)
    locked.client().ask("AUTH", {"token": body["token"]})


def test_the_box_makes_codes_before_the_rig_runs(start, tmp_path):
    folder = tmp_path / "kept"
    code, url = printed_code(folder, "performer", "--tracks", "mic1,mic2")
    assert url.startswith("http://127.0.0.1:8000/#pair=")
    rig = start("--state-dir", folder)
    body = come(rig, code)
    assert body["tracks"] == ["mic1", "mic2"]
    # Used up for good.
    rig.process.kill()
    rig.process.wait()
    rig.finish = lambda: None
    wrong(start("--state-dir", folder), code)


def test_rotating_voids_codes(locked, host):
    made, (left, _) = invite(host, role="guest")["code"], leave_code(locked)
    run(locked.folder, "token", "--rotate", "--state-dir", locked.state)
    wrong(locked, left)
    deadline = time.monotonic() + PATIENCE
    while "new secret" not in locked.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    wrong(locked, made)


def test_a_fresh_box_is_claimed_once(start, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "claim_code").write_text("KARA-OKE2-4567\n")
    rig = start("--state-dir", folder, settings='allow_anonymous = "off"\n')
    wrong(rig, "KARA-OKE2-4568")
    body = come(rig, "kara oke2 4567", "owner")
    assert (body["role"], body["expires_in_s"] > 300 * 24 * 3600) == ("host", True)
    wrong(rig, "KARA-OKE2-4567")
    assert not (folder / "claim_code").exists()
    rig.process.kill()
    rig.process.wait()
    rig.finish = lambda: None
    (folder / "claim_code").write_text("KARA-OKE2-4567\n")
    rig = start("--state-dir", folder)
    wrong(rig, "KARA-OKE2-4567")
    assert rig.client().ask("AUTH", {"token": body["token"]})["data"]["role"] == "host"


def test_whoever_becomes_a_host_otherwise_claims_the_box_too(start, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "claim_code").write_text("KARA-OKE2-4567")
    rig = start("--state-dir", folder)
    come(rig, leave_code(rig, "guest")[0])
    assert (folder / "claim_code").exists()
    come(rig, leave_code(rig, "host")[0])
    wrong(rig, "KARA-OKE2-4567")


def test_pairing_is_on_record_and_codes_are_not(start):
    rig = start(env={"RIGD_LOG": "trace"}, settings="log_messages = true\n")
    host = rig.enter()
    data = invite(host, role="performer", tracks=["mic1"])
    body = come(rig, data["code"])
    left, _ = leave_code(rig)
    come(rig, left, "gus")
    events = host.ask("daid.query", {"entity_type": "session"})["data"]["events"]
    told = [(event["operation"], event["user_id"], event["metadata"].get("for_role")) for event in events]
    assert [event for event in told if event[0] != "session.join"] == [
        ("session.invite", "ana", "performer"),
        ("session.pair", "pia", "performer"),
        ("session.pair", "gus", "guest"),
    ]
    paired = [event for event in events if event["operation"] == "session.pair"]
    assert [event["metadata"]["from"] for event in paired] == ["ana", "the box"]
    assert paired[0]["address"] == "127.0.0.1" and paired[0]["metadata"]["tracks"] == ["mic1"]
    assert host.ask("daid.verify", {})["data"]["valid"] is True
    rig.stop()
    for text in (rig.log, json.dumps(events)):
        for secret in (data["code"], left, body["token"].split(".")[2]):
            assert secret not in text


def test_invitations_are_bounded(locked, host):
    for _ in range(64):
        invite(host, role="guest")
    assert host.fail("CAPACITY", "session.invite", {"role": "guest"})["limit"] == 64


def test_the_box_shows_its_claim_code_until_it_has_a_host(locked):
    def shown():
        return run(locked.state.parent, "pair", "--claim", "--state-dir", locked.state)

    printed = shown()
    assert printed.returncode == 0, printed.stderr
    code = re.search(r"^https?://\S+#pair=(\S+)$", printed.stdout, re.M)[1]
    assert f"code {code} makes a host once" in printed.stdout
    assert len([line for line in printed.stdout.splitlines() if "█" in line]) > 10, "a QR code"
    assert shown().stdout == printed.stdout, "it stays the same"
    assert come(locked, code)["role"] == "host"
    again = shown()
    assert again.returncode == 1 and "has a host already" in again.stderr and not again.stdout
    both = run(locked.state.parent, "pair", "--claim", "--role", "host", "--state-dir", locked.state)
    assert both.returncode == 2
