"""`rigd update`: RAUC does it; what it says is passed on."""

from rig import run


def box(folder, script=None):
    """An environment with a rauc of the test's own, or none."""
    tools = folder / "tools"
    tools.mkdir()
    if script:
        (tools / "rauc").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "rauc").chmod(0o755)
    (folder / "new.raucb").write_bytes(b"a bundle")
    return {"PATH": str(tools)}.items()


def test_rauc_is_given_the_bundle(tmp_path):
    done = run(tmp_path, "update", "new.raucb", env=box(tmp_path, 'echo "told: $*"'))
    assert done.returncode == 0, done.stderr
    assert "told: install new.raucb" in done.stdout and "switched on again" in done.stdout


def test_what_rauc_refuses_is_not_installed(tmp_path):
    done = run(tmp_path, "update", "new.raucb", env=box(tmp_path, "echo bad signature >&2; exit 1"))
    assert done.returncode == 1 and "switched on again" not in done.stdout
    assert "bad signature" in done.stderr and "the version that runs stays" in done.stderr


def test_a_box_without_slots_says_so(tmp_path):
    done = run(tmp_path, "update", "new.raucb", env=box(tmp_path))
    assert done.returncode == 1 and "device image" in done.stderr


def test_a_file_that_is_not_there_is_bad_usage(tmp_path):
    done = run(tmp_path, "update", "old.raucb", env=box(tmp_path, "exit 0"))
    assert done.returncode == 2 and "old.raucb" in done.stderr
