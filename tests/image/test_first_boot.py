"""A new card, with what its owner has put on the boot partition: the box comes up, is claimed, and sings.
One boot serves all tests here; they follow each other."""

import json
import re
import urllib.request

import pytest
import vm as vms
from rig import Client
from tone import is_heard
from updates import claim, device

CODE = "SING-ALON-G2X7"


@pytest.fixture(scope="module")
def box(tmp_path_factory, key, switch_on):
    folder = tmp_path_factory.mktemp("box")
    image = vms.card(folder / "card.img")
    public = key.with_suffix(".pub").read_text()
    vms.put(image, "rig.txt", f"\ufeff# mine\r\nname = Stage \r\nclaim_code={CODE}\r\nwifi_name=Käfer;1\r\nwifi_password=a\\b c=d12\r\n")
    vms.put(image, "ssh-key.pub", public.replace("\n", "\r\n"))
    # An emulated card cannot be served in time with small blocks.
    vms.put(image, "rigd.toml", 'preset = "karaoke"\n[audio]\nblock_frames = 1024\n[alsa]\nperiods = 8\n')
    box = switch_on(image, wav=folder / "card.wav")
    box.wav = folder / "card.wav"
    box.healthy_s = box.wait_healthy()
    return box


@pytest.fixture(scope="module")
def host(box):
    """The first phone, once the code is on the screen."""
    box.wait_said(f"The code {CODE} ")
    body = json.dumps({"code": CODE, "user_id": "ana"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{box.ports[80]}/api/pair", body, {"Content-Type": "application/json", "Host": "stage.local"}
    )
    with urllib.request.urlopen(request, timeout=240) as answer:
        given = json.loads(answer.read())
    assert given["role"] == "host"
    box.token = given["token"]
    client = Client(
        f"ws://127.0.0.1:{box.ports[8000]}/ws", additional_headers={"Authorization": f"Bearer {given['token']}"}
    )
    yield client
    client.close()


def test_the_code_of_rig_txt_makes_the_first_host_once(box, host):
    assert host.status["data"]["authenticated"]
    body = json.dumps({"code": CODE, "user_id": "eve"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{box.ports[8000]}/api/pair", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=240)
    assert refused.value.code == 401


def test_the_page_is_on_port_80_too_under_the_boxs_name(box):
    assert box.http("/", port=80, Host="stage.local")[0] == 200
    assert box.http("/", port=8000, Host="stage.local:8000")[0] == 200
    assert box.http("/", port=80, Host="elsewhere.example")[0] == 421


def test_the_karaoke_preset_is_on_with_two_microphones_and_a_limiter(host):
    tracks = {track["track_id"]: track for track in host.state()["tracks"]}
    assert [id for id, track in tracks.items() if track["kind"] == "mic"] == ["mic1", "mic2"]
    assert {"reverb", "echo"} <= tracks.keys()
    assert len(tracks["mic1"]["plugins"]) > 2
    limiter = next(plugin for plugin in tracks["master"]["plugins"] if plugin["plugin_id"] == "limiter")
    assert limiter["parameters"]["ceiling_db"] == -3


def test_a_parameter_moves_in_the_engine(host):
    limiter = {"track_id": "master", "plugin_id": "limiter", "parameter_id": "release_ms", "parameter_value": 120}
    assert host.ask("plugin.parameter", limiter)["data"]["applied_frame"] is not None


def test_the_card_was_chosen_and_plays_though_its_kind_comes_up_mute(box, host):
    status = host.ask("status.get")["data"]
    assert status["backend"] == "alsa", status
    host.ask("rig.tone", {"freq_hz": 1000, "level_db": -12, "seconds": 20})
    box.wait(lambda: is_heard(box.wav, 1000), 240)


def test_the_root_is_read_only_and_the_data_partition_has_grown(box):
    mounts = box.run("findmnt -rno TARGET,OPTIONS / ; findmnt -rno TARGET,SIZE -b /var").splitlines()
    assert re.match(r"/ (.*,)?ro(,|$)", mounts[0]), mounts
    assert int(mounts[1].split()[1]) > 1 << 30, mounts
    assert box.run("touch /etc/x 2>&1 || true").strip().endswith("Read-only file system")


def test_nobody_has_a_password(box):
    shadow = [line.split(":")[:2] for line in box.run("cat /etc/shadow").splitlines()]
    assert [name for name, password in shadow if password not in ("*", "!", "!*", "!!")] == []
    assert "yes" not in box.run("/usr/sbin/sshd -T | grep -iE '^(passwordauthentication|kbdinteractiveauthentication|permitemptypasswords)'")


def test_the_kernel_is_realtime_and_the_watchdog_is_armed(box):
    assert "PREEMPT_RT" in box.run("uname -v")
    assert box.run("cat /sys/class/watchdog/watchdog0/state").strip() == "active"
    threads = box.run("ps -eLo cls,rtprio,comm | grep rigd-audio").split()
    assert threads[0] == "FF" and int(threads[1]) >= 50, threads


def test_nothing_has_failed(box):
    box.wait_good()
    assert box.run("systemctl --failed --no-legend --plain").strip() == ""
    assert box.run("cat /run/rig/problems").strip() == ""


def test_what_rig_txt_says_holds(box):
    assert box.run("hostname").strip() == "stage"
    wifi = box.run("nmcli -s -g 802-11-wireless.ssid,802-11-wireless-security.psk connection show rig-wifi")
    assert "Käfer;1" in wifi.replace("\\", "") and "a\\b c=d12" in wifi.replace("\\\\", "\\"), wifi


def test_the_journal_is_in_memory_and_warnings_are_kept_within_bounds(box):
    assert "/run/log/journal" in box.run("journalctl --header -q | grep 'File path'")
    assert "/var" not in box.run("journalctl --header -q | grep 'File path'")
    box.run("logger -p user.warning 'a warning to be kept'; journalctl --sync; systemctl start rig-log")
    assert "a warning to be kept" in box.run("cat /var/lib/rig/log/warnings")
    box.run("head -c 600000 /dev/zero > /var/lib/rig/log/warnings; logger -p user.warning one more; systemctl start rig-log")
    assert int(box.run("stat -c %s /var/lib/rig/log/warnings")) < 65536


def test_the_screen_and_the_card_say_that_it_has_a_host(box, host):
    box.wait(lambda: "has a host" in vms.get(box.image, "rig-status.txt"), 240)
    assert CODE not in vms.get(box.image, "rig-status.txt").partition("Wi-Fi")[0]


def test_a_reset_box_shows_its_code_and_can_be_claimed_again(box, host):
    said = len(box.said())
    assert device(box, box.token, "POST", "/reset", b'{"factory": true}')["restarts"] is True
    box.wait_said(f"The code {CODE} ", after=said)
    box.wait(lambda: CODE in vms.get(box.image, "rig-status.txt").partition("Wi-Fi")[0], 240)
    box.wait_healthy()
    with pytest.raises(urllib.error.HTTPError) as refused:
        device(box, box.token, "GET", "")
    assert refused.value.code == 401
    assert device(box, claim(box, CODE, "eve"), "GET", "")["version"]


def test_it_tells_its_figures(box):
    """Not a test of a limit: what README says comes from here."""
    print(f"\nswitched on to healthy {box.healthy_s:.0f} s")
    print(box.run("systemd-analyze; systemd-analyze blame | head -25; systemd-analyze critical-chain rigd.service"))
    print(box.run("free -m; systemctl show -p MemoryCurrent rigd NetworkManager systemd-resolved; df -h / /var"))
