"""Wi-Fi from a phone, and the box's own network. There is no radio here: an `nmcli` of the test's own answers as
NetworkManager's does, and writes down what it is asked; `tests/image/test_wifi.py` has radios and the real one."""

import json
import os
import time

from test_device import Box

NMCLI = r"""#!/bin/sh
echo "$*" >>{folder}/asked
ask() { echo "A password is required to access the wireless network 'x'."; read -r line; }
case "$*" in
  *"ACTIVE,SSID device wifi list"*) printf 'no:Home\nyes:Caf\\:e\n' ;;
  *"device wifi list"*) printf 'Home:40:WPA2\nCaf\\:e:80:\n:30:WPA2\n' ;;
  *"connection up"*) ask; printf '%s\n' "$line" >{folder}/secret; {up} ;;
esac
"""
PASSWORD = "sesame! 4\\2:x"
CODE = "SING-ALON-G2X7"
JSON = {"Content-Type": "application/json"}


class Wireless(Box):
    """A box with an nmcli, and a file for its own network that the test makes and takes away."""

    def __init__(self, start, folder, up="exit 0", settings=""):
        self.folder, self.point = folder, folder / "point"
        os.mkfifo(folder / "gate")
        super().__init__(start, folder, f'{settings}[device]\nallow_wifi = true\naccess_point = "{self.point}"\n')
        self.connecting(up)

    def connecting(self, does):
        """What nmcli does when it is to connect."""
        fake = self.folder / "bin/nmcli"
        does = does.replace("WAIT", f"read x <{self.folder}/gate")
        fake.write_text(NMCLI.replace("{folder}", str(self.folder)).replace("{up}", does))
        fake.chmod(0o755)

    def open_gate(self):
        (self.folder / "gate").write_text("go\n")

    def nmcli(self):
        """What it was asked, without how long it may take."""
        asked = self.folder / "asked"
        return [line.split(" ", 2)[2].removeprefix("--ask ") for line in asked.read_text().splitlines()] if asked.exists() else []

    def look(self, status=200, **headers):
        got, _, answer = self.http("GET", "/wifi", **headers)
        assert got == status, answer
        return answer

    def join(self, status=202, **fields):
        headers = fields.pop("headers", {})
        got, _, answer = self.http("POST", "/wifi", json.dumps(fields), **JSON, **headers)
        assert got == status, answer
        return answer

    def wait_for(self, stage, **headers):
        while True:
            told = self.look(**headers)["join"]
            if told["stage"] == stage:
                return told
            time.sleep(0.05)  # between two looks, within what one may ask

    def has_own_network(self):
        """As the image's script tells it; here it is the loopback's address that phones come to."""
        self.point.write_text("127.0.0.1\nrig-AB12\nHome:40:WPA2\n")
        while self.http_as("connectivitycheck.gstatic.com", "/generate_204")[0] != 302:
            time.sleep(0.05)  # it is looked at once a second

    def http_as(self, host, path, method="GET"):
        return self.rig.http(path, method, {"Host": host, **JSON}, body="{}" if method == "POST" else None)


def test_a_host_sees_the_networks_and_joins_one(start, tmp_path):
    box = Wireless(start, tmp_path, "WAIT")
    seen = box.look()
    assert seen["networks"] == [
        {"name": "Caf:e", "signal": 80, "is_open": True},
        {"name": "Home", "signal": 40, "is_open": False},
    ]
    assert seen["connected"] == "Caf:e" and seen["own"] is None and seen["join"] == {"stage": "none"}
    before = len(box.nmcli())
    assert box.join(network="Home", password=PASSWORD)["join"] == {"stage": "joining", "network": "Home"}
    assert box.join(429, network="Home", password=PASSWORD)["details"]["limit"] == "device_jobs"
    box.open_gate()
    assert box.wait_for("joined")["network"] == "Home"
    asked = [line for line in box.nmcli()[before:] if "list" not in line]
    assert [line.split()[1] for line in asked] == ["delete", "add", "up", "delete", "modify"], asked
    assert " ssid Home " in asked[1] + " " and "wpa-psk" in asked[1]
    assert asked[4].endswith("connection.autoconnect yes connection.autoconnect-priority 20 connection.autoconnect-retries 0")
    assert (tmp_path / "secret").read_text() == PASSWORD + "\n"


def test_the_password_is_in_no_command_no_log_no_record_and_no_error(start, tmp_path):
    box = Wireless(start, tmp_path, f"printf '%s\\n' 'Error: {PASSWORD} is bad' >&2; exit 4")
    box.join(network="Home", password=PASSWORD)
    told = box.wait_for("failed")
    assert "…" in told["reason"]
    box.join(400, network="x" * 33, password=PASSWORD)
    events = box.events(box.rig.client(), "device.wifi")
    assert [event["metadata"].get("network") for event in events] == ["Home", "Home"]
    for text in (json.dumps(told), "\n".join(box.nmcli()), box.rig.log, json.dumps(events)):
        assert PASSWORD not in text and "sesame" not in text, text


def test_a_network_that_cannot_be_joined_is_forgotten_and_it_is_said_why(start, tmp_path):
    box = Wireless(start, tmp_path, "echo 'Error: Connection activation failed: Secrets were required, but not provided.' >&2; exit 4")
    box.join(network="Home", password="wrong-one")
    assert box.wait_for("failed")["reason"].startswith("the password is wrong")
    changes = [line for line in box.nmcli() if "list" not in line]
    assert changes[-1] == "connection delete id rigd-wifi-tried", changes
    assert not any("modify" in line for line in box.nmcli()), "and the one before is as it was"
    box.connecting("exit 0")
    box.join(network="Café", password="")
    assert box.wait_for("joined")["network"] == "Café"
    assert not any("key-mgmt" in line and "Café" in line for line in box.nmcli()), "it is open"


def test_a_password_that_networkmanager_wants_another_one_for_is_wrong(start, tmp_path):
    # It would ask until the time is over.
    box = Wireless(start, tmp_path, "ask; exit 0")
    box.join(network="Home", password="wrong-one")
    assert box.wait_for("failed")["reason"] == "the password is wrong"
    changes = [line for line in box.nmcli() if "list" not in line]
    assert changes[-1] == "connection delete id rigd-wifi-tried", changes


def test_what_can_be_no_network_is_refused(start, tmp_path):
    box = Wireless(start, tmp_path)
    for fields, field in [
        ({"network": ""}, "network"),
        ({}, "network"),
        ({"network": "a\nb"}, "network"),
        ({"network": 7}, "network"),
        ({"network": "Home", "password": "short"}, "password"),
        ({"network": "Home", "password": "new\nline1"}, "password"),
        ({"network": "Home", "password": ["12345678"]}, "password"),
    ]:
        assert box.join(400, **fields)["details"]["field"] == field
    assert box.nmcli() == []


def test_who_is_no_host_neither_looks_nor_joins(start, tmp_path):
    box = Wireless(start, tmp_path, settings='allow_anonymous = "off"\n')
    guest = {"Authorization": f"Bearer {box.rig.token('guest', 'gus')}"}
    assert box.look(403, **guest)["code"] == "UNAUTHORIZED"
    assert box.join(403, network="Home", headers=guest)["code"] == "UNAUTHORIZED"
    assert box.look(401)["code"] == "UNAUTHORIZED"
    (box.state / "claim_code").write_text(CODE)
    assert box.join(401, network="Home", code=CODE)["code"] == "UNAUTHORIZED", "not over another network"
    assert box.nmcli() == []


def test_a_box_whose_settings_do_not_allow_it_says_so(start, tmp_path):
    rig = start()
    for method, body in (("GET", None), ("POST", '{"network": "Home"}')):
        status, _, answer = rig.http("/api/device/wifi", method, JSON, body=body)
        assert status == 403 and "allow_wifi" in json.loads(answer)["error"], answer


def test_a_box_without_networkmanager_says_so(start, tmp_path):
    box = Wireless(start, tmp_path)
    none = tmp_path / "none"
    none.mkdir()
    rig = start(settings="[device]\nallow_wifi = true\n", env={"PATH": str(none)})
    status, _, answer = rig.http("/api/device/wifi")
    assert status == 409 and "no NetworkManager" in json.loads(answer)["error"], answer
    box.connecting("echo 'Error: NetworkManager is not running.' >&2; exit 8")
    box.join(network="Home")
    assert "does not run" in box.wait_for("failed")["reason"]


def test_phones_on_the_boxs_own_network_are_led_to_the_page(start, tmp_path):
    box = Wireless(start, tmp_path, settings='allow_anonymous = "off"\n')
    probes = [
        ("connectivitycheck.gstatic.com", "/generate_204"),
        ("captive.apple.com", "/hotspot-detect.html"),
        ("www.msftconnecttest.com", "/connecttest.txt"),
        ("example.org", "/"),
    ]
    for host, path in probes:
        assert box.http_as(host, path)[0] == 421, "not before there is such a network"
    box.has_own_network()
    for host, path in probes:
        status, headers, _ = box.http_as(host, path)
        assert (status, headers["location"]) == (302, "http://127.0.0.1/wifi"), (host, path)
    # Under a foreign name there is nothing but the way to the page.
    for method, path in [("GET", "/api/state"), ("POST", "/api/message"), ("POST", "/api/pair"), ("POST", "/"), ("GET", "/ws")]:
        assert box.http_as("example.org", path, method)[0] == 421, (method, path)
    status, headers, page = box.rig.http("/wifi")
    assert status == 200 and b"own Wi-Fi" in page
    box.point.unlink()
    while box.http_as("example.org", "/")[0] != 421:
        time.sleep(0.05)  # it is looked at once a second


def test_on_its_own_network_the_claim_code_is_enough_to_join_one_and_is_not_used_up(start, tmp_path):
    box = Wireless(start, tmp_path, settings='allow_anonymous = "off"\n')
    (box.state / "claim_code").write_text(CODE)
    box.has_own_network()
    seen = box.look()
    assert seen["own"] == "rig-AB12" and [n["name"] for n in seen["networks"]] == ["Home"] and not seen["is_host"]
    assert box.join(401, network="Home", password=PASSWORD)["code"] == "UNAUTHORIZED"
    assert box.join(401, network="Home", password=PASSWORD, code="WRONG-CODE-1234")["code"] == "AUTH_FAILED"
    assert box.nmcli() == []
    box.join(network="Home", password=PASSWORD, code="sing alon g2x7")
    assert box.wait_for("joined")["network"] == "Home"
    # The same code still makes the first host; then it is worth nothing.
    status, _, answer = box.rig.http("/api/pair", "POST", JSON, body=json.dumps({"code": CODE, "user_id": "ana"}))
    token = json.loads(answer)["token"]
    assert status == 200
    assert box.join(401, network="Home", code=CODE)["code"] == "AUTH_FAILED"
    box.join(network="Home", headers={"Authorization": f"Bearer {token}"})
    host = {"Authorization": f"Bearer {token}"}
    box.wait_for("joined", **host)
    client = box.rig.enter("host", "log")
    by = [(event["user_id"], "joined" in event["metadata"]) for event in box.events(client, "device.wifi")]
    assert by == [("claim_code", False), ("claim_code", True), ("ana", False), ("ana", True)]


def test_wrong_codes_are_counted(start, tmp_path):
    box = Wireless(start, tmp_path, settings='allow_anonymous = "off"\n')
    (box.state / "claim_code").write_text(CODE)
    box.has_own_network()
    for _ in range(5):
        assert box.join(401, network="Home", code="WRONG-CODE-1234")["code"] == "AUTH_FAILED"
    assert box.join(429, network="Home", code=CODE)["details"]["limit"] == "wrong_codes"
    assert box.nmcli() == []
