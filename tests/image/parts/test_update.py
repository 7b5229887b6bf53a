"""A bundle is signed by one's own key; what another key has signed, or is not whole, is refused."""

import re
import subprocess

import pytest


@pytest.fixture(scope="module")
def bundle(stub):
    path = stub.out / "rig.raucb"
    stub.make("bundle", stub.slot, "v7", path)
    return path


def info(bundle, keyring):
    """What RAUC says of a bundle, checked as a box does it."""
    return subprocess.run(["rauc", "info", f"--keyring={keyring}", bundle], capture_output=True, text=True)


def test_a_bundle_says_what_it_is_for(stub, bundle):
    said = info(bundle, stub.out / "certificates/ca.pem")
    assert said.returncode == 0, said.stderr
    assert re.search(r"Compatible:\s+'rigd-arm64'", said.stdout) and re.search(r"Version:\s+'v7'", said.stdout)
    assert "rootfs.ext4" in said.stdout


def test_another_key_is_a_strangers(stub, bundle, tmp_path):
    stub.make("certificates", tmp_path / "stranger")
    said = info(bundle, tmp_path / "stranger/ca.pem")
    assert said.returncode != 0 and "signature" in said.stderr, said.stderr


@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_one_that_is_not_whole_is_refused(stub, bundle, tmp_path, harm):
    data = bytearray(bundle.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 3] ^= 1
    harmed = tmp_path / "harmed.raucb"
    harmed.write_bytes(data)
    said = info(harmed, stub.out / "certificates/ca.pem")
    assert said.returncode != 0, said.stdout


def test_the_keys_are_made_once_and_for_signing_only(stub):
    folder = stub.out / "certificates"
    before = (folder / "ca.pem").read_bytes()
    stub.make("certificates")
    assert (folder / "ca.pem").read_bytes() == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    said = subprocess.check_output(["openssl", "x509", "-in", folder / "sign.pem", "-noout", "-text"], text=True)
    assert "Code Signing" in said and "CA:FALSE" in said
