"""The plug is pulled at random moments of a first boot and of an evening: the box always comes back by itself, the
log is whole, and what was acknowledged as durable is there. Writes that were not flushed are lost in any part."""

import json
import os
import random
import urllib.request

import pytest
import vm as vms
import writes
from rig import Client

CUTS = int(os.environ.get("CUTS", "10"))
SEED = int(os.environ.get("SEED", "20261121"))
CODE = "CUTS-CUTS-CUTS"
LIMITER = {"track_id": "master", "plugin_id": "limiter", "parameter_id": "release_ms"}


def enter(box, user):
    body = json.dumps({"code": CODE, "user_id": user}).encode()
    url = f"http://127.0.0.1:{box.ports[8000]}/api/pair"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=240) as answer:
        token = json.loads(answer.read())["token"]
    headers = {"Authorization": f"Bearer {token}"}
    return Client(f"ws://127.0.0.1:{box.ports[8000]}/ws", additional_headers=headers), token


@pytest.fixture(scope="module")
def evening(tmp_path_factory, key, switch_on):
    """A recording of all writes: (the card before, the log, [(offset, value that was durable then)], a token)."""
    folder = tmp_path_factory.mktemp("evening")
    before = vms.card(folder / "before.img")
    vms.put(before, "rig.txt", f"claim_code={CODE}\n")
    vms.put(before, "ssh-key.pub", key.with_suffix(".pub").read_text())
    vms.put(before, "rigd.toml", 'preset = "karaoke"\n[audio]\nbackend = "null"\nblock_frames = 1024\n')
    image = folder / "card.img"
    os.system(f"cp --sparse=always {before} {image}")
    log = folder / "writes"
    box = switch_on(image, writes=log)
    box.wait_healthy()
    host, token = enter(box, "ana")
    durable = [(log.stat().st_size, None)]
    for value in range(11, 61):
        id = host.send("plugin.parameter", {**LIMITER, "parameter_value": value}, requires_ack=True)
        ack = host.wait("ack", original_message_id=id)
        assert ack["data"]["durable"] is True, ack
        durable.append((log.stat().st_size, value))
    box.wait_good()
    box.off()
    return before, log, durable, token


def moments(evening):
    """Where to cut: half of them while the box starts for the first time."""
    _, log, durable, _ = evening
    chance = random.Random(SEED)
    ends = [entry[0] for entry in writes.entries(log)]
    early = [end for end in ends if end < durable[0][0]]
    late = [end for end in ends if end >= durable[0][0]]
    return [chance.choice(early if number % 2 else late) for number in range(CUTS)]


@pytest.mark.parametrize("number", range(CUTS))
def test_it_comes_back_by_itself(evening, number, tmp_path, switch_on):
    before, log, durable, token = evening
    end = moments(evening)[number]
    image, lost = writes.cut(before, log, end, SEED + number, tmp_path / "card.img")
    print(f"cut at {end} of {log.stat().st_size}, {lost} writes lost or torn")
    box = switch_on(image)
    box.wait_healthy()
    box.wait_good()
    verified = box.run("rigd log verify --state-dir /var/lib/rigd", check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert box.run("systemctl --failed --no-legend --plain").strip() == ""
    known = [value for at, value in durable if at <= end]
    if known and known[-1]:
        host = Client(f"ws://127.0.0.1:{box.ports[8000]}/ws", additional_headers={"Authorization": f"Bearer {token}"})
        assert host.plugin("limiter")["parameters"]["release_ms"] >= known[-1]
        host.close()
    box.off()
    image.unlink()
