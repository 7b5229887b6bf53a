"""Updates for a box: bundles of the root that was built, under other versions."""

import json
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import vm as vms
from rig import Client

MAKE = vms.ROOT / "image/make"
ROOT = vms.OUT / "root"


def bundle(folder, version, rigd=None):
    """A bundle of the root that was built, under another version, and with another rigd if one is given."""
    path = folder / f"{version}.raucb"
    # Beside the root, since it is a copy by links.
    beside = Path(tempfile.mkdtemp(dir=vms.OUT, prefix="changed-"))
    root = beside / "root"
    subprocess.run(["cp", "-al", ROOT, root], check=True)
    changed = {"usr/lib/rig/version": version + "\n"}
    if rigd:
        changed["usr/bin/rigd"] = rigd
    for name, text in changed.items():
        (root / name).unlink()
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    slot = folder / "slot.ext4"
    subprocess.run([MAKE / "slot", root, slot], check=True)
    subprocess.run([MAKE / "bundle", slot, version, path], check=True)
    shutil.rmtree(beside)
    slot.unlink()
    return path


def send(box, path):
    """The bundle is on the box: where."""
    command = ["ssh", "-q", "-i", box.key, "-p", str(box.ports[22]), "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", "root@127.0.0.1", f"cat > /var/tmp/{path.name}; sync"]  # fmt: skip
    with open(path, "rb") as file:
        subprocess.run(command, stdin=file, check=True, timeout=1200)
    return f"/var/tmp/{path.name}"


def claim(box, code, user):
    """Makes somebody the box's host, once it shows its code: a token."""
    box.wait_said(f"The code {code} ")
    body = json.dumps({"code": code, "user_id": user}).encode()
    url = f"http://127.0.0.1:{box.ports[8000]}/api/pair"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=240) as answer:
        return json.loads(answer.read())["token"]


def device(box, token, method, path, body=None, kind="application/json", patience=1200):
    """What `/api/device` answers to whoever has that token."""
    headers = {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers |= {"Content-Type": kind, "Content-Length": str(body.seek(0, 2) if hasattr(body, "seek") else len(body))}
        if hasattr(body, "seek"):
            body.seek(0)
    url = f"http://127.0.0.1:{box.ports[8000]}/api/device{path}"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=patience) as answer:
        return json.loads(answer.read())


def bring(box, token, path):
    """Brings an update as a host's page does; what is told of it at the end."""
    with open(path, "rb") as file:
        device(box, token, "POST", "/update", file, "application/octet-stream")
    stages = []

    def told():
        update = device(box, token, "GET", "")["update"]
        stages.append(update)
        return update["stage"] in ("installed", "failed") and update

    end = box.wait(told, 1800)
    return end, stages


def person(box, token):
    """Who has that token, connected."""
    headers = {"Authorization": f"Bearer {token}"}
    return Client(f"ws://127.0.0.1:{box.ports[8000]}/ws", additional_headers=headers)
