"""When the box opens its own Wi-Fi network, and when it ends it: the script, with an nmcli of the test's own, whose
devices are what a file says, and which tells of something when the test does."""

import os
import subprocess
import time

import pytest
from test_box import Box

NMCLI = """
echo "$*" >>"$HERE/asked"
ethernet=$(sed -n 1p "$HERE/devices") wifi=$(sed -n 2p "$HERE/devices") connection=$(sed -n 3p "$HERE/devices")
case "$*" in
  monitor) exec cat "$HERE/events" ;;
  '-t -f TYPE,STATE,DEVICE device') echo "ethernet:$ethernet:end0"; echo "wifi:$wifi:wlan0" ;;
  '-t -f TYPE,STATE device') echo "ethernet:$ethernet"; echo "wifi:$wifi" ;;
  '-g GENERAL.STATE device show wlan0') [ "$wifi" = connected ] && echo "100 (connected)" || echo "${wifi%% *} (x)" ;;
  '-g GENERAL.CONNECTION device show wlan0') echo "$connection" ;;
  '-g TYPE,AUTOCONNECT connection show') cat "$HERE/known" ;;
  *'device wifi list'*) echo 'Home:40:WPA2' ;;
  *'connection up rig-own'*) printf '%s\\nconnected\\nrig-own\\n' "$ethernet" >"$HERE/devices" ;;
  'connection down rig-own') printf '%s\\n30\\n\\n' "$ethernet" >"$HERE/devices" ;;
esac
"""
PATIENCE = 30


class Radio(Box):
    """A box with a radio."""

    def __init__(self, folder):
        super().__init__(folder)
        (folder / "programs/nmcli").write_text(f"#!/bin/bash\n{NMCLI}")
        (folder / "programs/nmcli").chmod(0o755)
        self.put("run/rig/own-wifi", "rig-AB12\nSING-ALON\n")
        self.put("known", "")
        self.is_("unavailable", "30")
        os.mkfifo(folder / "events")
        self.process = None

    def is_on(self, wait=0, again=600):
        env = {**self.env, "WAIT": str(wait), "AGAIN": str(again)}
        self.process = subprocess.Popen([self.moved("wifi")], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.events = open(self.folder / "events", "w", buffering=1)

    def is_(self, ethernet, wifi, connection=""):
        self.put("devices.new", f"{ethernet}\n{wifi}\n{connection}\n")
        os.replace(self.folder / "devices.new", self.folder / "devices")

    def happens(self, *devices):
        """Something does, and NetworkManager tells of it."""
        self.is_(*devices)
        self.events.write("something\n")

    def asked(self):
        return self.get("asked").splitlines()

    def until(self, what):
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline and self.process.poll() is None, self.asked()[-9:]
            time.sleep(0.02)

    def point(self):
        return self.get("run/rig/access-point")


@pytest.fixture
def radio(tmp_path):
    radio = Radio(tmp_path)
    yield radio
    if radio.process:
        radio.process.kill()
        radio.events.close()
        radio.process.wait()


def test_alone_it_opens_its_own_and_asks_nothing_until_something_happens(radio):
    radio.is_on()
    radio.until(radio.point)
    assert radio.point() == "10.42.0.1\nrig-AB12\nHome:40:WPA2\n"
    assert "ssid=rig-AB12" in radio.get("run/NetworkManager/system-connections/rig-own.nmconnection")
    # What itself has caused is looked at once more.
    up = radio.asked().index("-w 40 connection up rig-own ifname wlan0")
    radio.until(lambda: "-t -f TYPE,STATE device" in radio.asked()[up:])
    asked = len(radio.asked())
    time.sleep(3)  # only waiting shows that nothing is asked
    assert len(radio.asked()) == asked
    radio.happens("unavailable", "connected", "rig-own")
    radio.until(lambda: len(radio.asked()) > asked)


def test_a_cable_ends_it(radio):
    radio.is_on()
    radio.until(radio.point)
    radio.happens("connected", "connected", "rig-own")
    radio.until(lambda: "connection down rig-own" in radio.asked())
    radio.happens("connected", "30")
    radio.until(lambda: not radio.point())
    assert "restart --no-block rig-claim.service" in radio.get("done")


def test_in_a_network_there_is_none(radio):
    radio.is_("unavailable", "connected", "Home")
    radio.is_on()
    radio.until(lambda: any("GENERAL.STATE" in line for line in radio.asked()))
    radio.happens("unavailable", "30")
    radio.until(radio.point)


def test_what_is_being_joined_is_not_interrupted(radio):
    radio.is_("unavailable", "50", "Home")
    radio.is_on()
    for looks in range(1, 4):
        radio.until(lambda: radio.asked().count("-t -f TYPE,STATE,DEVICE device") >= looks)
        radio.happens("unavailable", "70", "Home")
    assert not any("up rig-own" in line for line in radio.asked())
    radio.happens("unavailable", "30")
    radio.until(radio.point)


def test_with_nobody_on_it_known_networks_are_looked_for(radio):
    radio.put("known", "802-11-wireless:yes\n")
    radio.is_on(again=1)
    radio.until(lambda: "device set wlan0 autoconnect yes" in radio.asked())
    assert not radio.point()


def test_when_networkmanager_tells_no_more_it_begins_anew(radio):
    radio.is_on()
    radio.until(radio.point)
    radio.events.close()
    assert radio.process.wait(PATIENCE) == 1
