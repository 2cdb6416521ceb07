"""The agent as it travels: complete, sent once, and believed only as it was sent."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.agent.bootstrap import WANTED_MARKER
from launcher.hosts.bundle import Bundle, agent_bundle
from launcher.wire.variables import READY_MARKER
from tests.launcher.others import as_somebody, root_only, take
from tests.launcher.test_imports import ROOT, imports_of

FOLDER = "launcher/agent/__main__.py"


def files(bundle: Bundle) -> dict[str, str]:
    return dict(json.loads(zlib.decompress(bundle.data)))


def unlike_others() -> Bundle:
    """The agent with one file more, so that no other test, nor a run, has it in a place that all share."""
    bundle = agent_bundle()
    data = zlib.compress(json.dumps({**files(bundle), "nonce": secrets.token_hex()}).encode())
    return replace(bundle, data=data, digest=hashlib.sha256(data).hexdigest()[:32])


def ask(home: Path, sent: bytes, bundle: Bundle) -> subprocess.CompletedProcess[bytes]:
    """What the bootstrap does with this input; the program that it is to run is a sweep of nothing."""
    options = {"run": "no-such-run", "name": "no-such-run@here"}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import os;exec(os.read(0,{len(bundle.bootstrap.encode())}))"],
        input=bundle.beginning("sweep", options) + sent,
        env={"HOME": str(home)},
        capture_output=True,
        check=False,
    )


def test_everything_of_ours_that_is_imported_travels() -> None:
    names = files(agent_bundle())
    missing = set()
    for name in (name for name in names if name.endswith(".py") and name != "launcher/__init__.py"):  # imports nothing
        for module in imports_of(ROOT / name):
            path = ROOT / module.replace(".", "/")
            if module.startswith("launcher.") and (path.with_suffix(".py").exists() or path.is_dir()):
                file = module.replace(".", "/") + (".py" if path.with_suffix(".py").exists() else "/__init__.py")
                missing |= {(name, file)} if file not in names else set()
    assert missing == set()


def test_it_is_asked_for_once(tmp_path: Path) -> None:
    bundle = unlike_others()
    first = ask(tmp_path, bundle.data, bundle)
    assert (first.returncode, first.stdout) == (0, WANTED_MARKER + READY_MARKER), first.stderr
    again = ask(tmp_path, b"", bundle)
    assert (again.returncode, again.stdout) == (0, READY_MARKER), again.stderr
    (home,) = (tmp_path / ".cache" / "tflaunch").iterdir()
    for name, text in files(bundle).items():
        assert (home / name).read_bytes() == text.encode("latin-1" if name.endswith(".so") else "utf-8")
    assert home.stat().st_mode & 0o777 == 0o700


def test_what_arrives_damaged_is_not_used(tmp_path: Path) -> None:
    bundle = unlike_others()
    done = ask(tmp_path, bundle.data[:-1] + bytes([bundle.data[-1] ^ 1]), bundle)
    assert done.returncode == 1 and b"damaged" in done.stderr
    short = ask(tmp_path, bundle.data[:1000], bundle)
    assert short.returncode == 1 and b"connection ended" in short.stderr
    assert not (tmp_path / ".cache").exists()


@pytest.mark.parametrize("damage", ["open to others", "incomplete"])
def test_a_copy_that_somebody_could_have_changed_is_sent_anew(tmp_path: Path, damage: str) -> None:
    bundle = unlike_others()
    ask(tmp_path, bundle.data, bundle)
    (home,) = (tmp_path / ".cache" / "tflaunch").iterdir()
    if damage == "incomplete":
        (home / FOLDER).unlink()
    else:
        home.chmod(0o722)
        (home / FOLDER).write_text("raise SystemExit('not ours')")
    done = ask(tmp_path, bundle.data, bundle)
    assert (done.returncode, done.stdout) == (0, WANTED_MARKER + READY_MARKER), done.stderr
    assert (home / FOLDER).read_text() == files(bundle)[FOLDER]
    assert home.stat().st_mode & 0o777 == 0o700


def test_without_a_home_it_is_kept_in_a_folder_of_the_user() -> None:
    bundle = unlike_others()
    done = ask(Path("/proc/none"), bundle.data, bundle)
    (kept,) = without_a_home(bundle)
    assert (done.returncode, done.stdout, (kept / FOLDER).is_file()) == (0, WANTED_MARKER + READY_MARKER, True), (
        done.stderr
    )
    again = ask(Path("/proc/none"), b"", bundle)
    assert (again.returncode, again.stdout) == (0, READY_MARKER), again.stderr
    shutil.rmtree(kept)


def without_a_home(bundle: Bundle) -> list[Path]:
    """Where the agent is kept then."""
    return list(Path("/tmp").glob(f"tflaunch-agent-{os.getuid()}-{bundle.digest}*"))


@root_only
@pytest.mark.parametrize("how", ["folder", "link", "file"])
def test_a_name_that_somebody_else_holds_costs_nothing(tmp_path: Path, how: str) -> None:
    bundle = unlike_others()
    wanted = Path(f"/tmp/tflaunch-agent-{os.getuid()}-{bundle.digest}")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    as_somebody(lambda: take(wanted, how, tmp_path / "precious"))
    done = ask(Path("/proc/none"), bundle.data, bundle)
    (kept,) = [path for path in without_a_home(bundle) if path != wanted]
    assert (done.returncode, (kept / FOLDER).is_file()) == (0, True), done.stderr
    assert (tmp_path / "precious" / "file").exists()
    for path in (kept, wanted):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def test_a_folder_that_belongs_to_others_is_not_used(tmp_path: Path) -> None:
    bundle = unlike_others()
    place = tmp_path / ".cache" / "tflaunch"
    ask(tmp_path, bundle.data, bundle)
    place.chmod(0o777)
    done = ask(tmp_path, bundle.data, bundle)
    assert (done.returncode, done.stdout) == (0, WANTED_MARKER + READY_MARKER), done.stderr
    for kept in without_a_home(bundle):
        shutil.rmtree(kept)
