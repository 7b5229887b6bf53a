"""A box that was switched on before its USB sound interface was plugged in: it is taken then, without anybody's help.
One boot serves all tests here; they follow each other."""

import pytest
import vm as vms
from tone import is_heard
from updates import claim, person

CODE = "PLUG-ITIN-LATE"


@pytest.fixture(scope="module")
def box(tmp_path_factory, key, switch_on):
    folder = tmp_path_factory.mktemp("usb")
    image = vms.card(folder / "card.img")
    vms.put(image, "rig.txt", f"claim_code={CODE}\n")
    vms.put(image, "ssh-key.pub", key.with_suffix(".pub").read_text())
    vms.put(image, "rigd.toml", 'preset = "karaoke"\n[audio]\nblock_frames = 1024\n[alsa]\nperiods = 8\n')
    box = switch_on(image, wav=folder / "interface.wav", usb=True)
    box.wav = folder / "interface.wav"
    box.wait_healthy()
    return box


@pytest.fixture(scope="module")
def host(box):
    host = person(box, claim(box, CODE, "ana"))
    yield host
    host.close()


def backend(host):
    return host.ask("status.get")["data"]["backend"]


def test_without_a_card_it_runs_all_the_same(box, host):
    assert backend(host) == "null"
    assert box.wait_good()


def test_an_interface_that_is_plugged_in_is_played_to(box, host):
    box.plug_in("usb-audio", audiodev="a")
    box.wait(lambda: backend(host) == "alsa", 240)
    host.ask("rig.tone", {"freq_hz": 1000, "level_db": -12, "seconds": 30})
    box.wait(lambda: is_heard(box.wav, 1000), 240)
    assert "USB" in box.run("cat /proc/asound/cards")


def test_it_is_found_again_when_it_was_pulled_out(box, host):
    box.pull_out("usb-audio")
    box.wait(lambda: host.ask("status.get")["data"]["degraded"], 240)
    box.plug_in("usb-audio", audiodev="a")
    box.wait(lambda: not host.ask("status.get")["data"]["degraded"], 240)
    assert backend(host) == "alsa"
