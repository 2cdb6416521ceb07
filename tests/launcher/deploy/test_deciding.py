"""What is deployed: which files of a folder, which requirements, and what becomes of a plan."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from launcher.agent.deploy.environments import last_line
from launcher.agent.deploy.store import DamagedError, entries_of
from launcher.deploy.ignoring import ignoring
from launcher.deploy.manifest import Entry, chosen, manifest_of
from launcher.deploy.requirements import missing_beside_tensorflow, read_requirements
from launcher.deploy.scan import read_folder
from launcher.deploy.wheels import Target, target_of
from launcher.wire.errors import UsageError


@pytest.mark.parametrize(
    ("path", "is_folder", "ignored"),
    [
        ("a.log", False, True),
        ("keep.log", False, False),
        ("sub/keep.log", False, True),  # the deeper .gitignore decides
        ("sub/new.tmp", False, True),
        ("new.tmp", False, False),
        ("build", True, True),
        ("build", False, False),  # the pattern names folders alone
        ("sub/model.ckpt-5", False, True),
        (".git", True, True),
        ("x/.git", False, True),  # a file, in work trees of git
        ("x/__pycache__", True, True),
        ("x/readme.md", False, False),
    ],
)
def test_what_is_left_out(path: str, is_folder: bool, ignored: bool) -> None:
    rules = ignoring(["*.ckpt*"]).inside("", "*.log\n!keep.log\nbuild/\n!*.ckpt*\n")
    if path.startswith("sub/"):
        rules = rules.inside("sub/", "*.tmp\nkeep.log\n")
    assert rules.ignores(path, is_folder=is_folder) is ignored


def test_a_folder_is_read_as_it_is(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for folder in ("empty", "bin", "ignored", "old-run"):
        (top / folder).mkdir(parents=True)
    (top / "bin" / "run").write_text("#!/bin/sh\n")
    (top / "bin" / "run").chmod(0o755)
    (top / "ignored" / "x").write_text("")
    (top / ".gitignore").write_text("ignored/\n")
    (top / "inner").symlink_to("bin/run")
    (tmp_path / "outside.txt").write_text("text")
    (top / "outer").symlink_to("../outside.txt")
    (top / "away").symlink_to("/usr")
    for name in ("plan.json", "events.jsonl"):
        (top / "old-run" / name).write_text("{}")
    os.mkfifo(top / "pipe")
    found = read_folder(top)
    kinds = {entry.path: (entry.kind, entry.size_bytes) for entry in found.manifest.entries}
    assert kinds == {
        ".gitignore": ("file", 9),
        "bin/run": ("exec", 10),
        "empty": ("dir", 0),
        "inner": ("link", 0),
    }
    assert [note.partition(":")[2] for note in found.notes] == [
        " away is left out: it leads to /usr, outside of the folder (see sync.follow)",
        " outer is left out: it leads to ../outside.txt, outside of the folder (see sync.follow)",
        " pipe is left out: it is no file, folder or link",
    ]


def test_links_that_lead_out_are_followed_by_name_alone(tmp_path: Path) -> None:
    """Copied as what they lead to; what follows them may not lead out again."""
    top, other = tmp_path / "top", tmp_path / "other"
    for folder in (top / "sub", other):
        folder.mkdir(parents=True)
    for name in ("secret", "data"):
        (tmp_path / name).write_text(name)
    (other / "in").write_text("in")
    (other / "back").symlink_to("../secret")
    (top / "secret").symlink_to("../secret")
    (top / "data").symlink_to(tmp_path / "data")
    (top / "sub" / "other").symlink_to("../../other")
    (top / "by-others").symlink_to("sub/other/in")  # written as inside, and yet outside
    (top / "round").symlink_to(top.parent)
    found = read_folder(top, follow=["/data", "other"])
    assert {entry.path for entry in found.manifest.entries} == {"data", "sub/other/in"}
    assert {note.split()[1] for note in found.notes} == {"by-others", "round", "secret", "sub/other/back"}
    (entry,) = (entry for entry in found.manifest.entries if entry.path == "data")
    with open(found.open(entry), "rb") as file:
        assert file.read() == b"data"


def test_a_link_that_takes_the_place_of_a_file_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "top" / "file").write_text("file")
    found = read_folder(tmp_path / "top")
    (tmp_path / "top" / "file").unlink()
    (tmp_path / "top" / "file").symlink_to("../secret")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        found.open(found.manifest.entries[0])


def test_folders_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    try:
        with pytest.raises(UsageError, match=r"d/d/d/.* has more than 200 folders, one in the other: name it in sync"):
            read_folder(tmp_path)
    finally:  # by hand: what removes temporary folders cannot do it either
        for _ in range(1500):
            os.chdir("..")
            Path("d").rmdir()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "pattern", ["*a" * 40 + "b", "a*" * 400, "**/" * 60 + "*a*a*a*a*a*a*b", "(a+)+$", "?*" * 200 + "b"]
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    assert not ignoring([]).inside("", f"{pattern}\nkept\n").ignores("a" * 200 + "c", is_folder=False)


def test_a_line_that_is_no_pattern_is_passed_over_as_git_does() -> None:
    lines = ["\\", "!", "foo\\", "[", "[z-a]", "x" * 5000, "*" * 3000, "a[", "\udc80["]
    rules = ignoring([]).inside("", "\n".join([*lines, "*.log"]))
    assert rules.ignores("a.log", is_folder=False) and not rules.ignores("foo", is_folder=False)
    for pattern in ("!", "\\"):
        with pytest.raises(ValueError, match="is no pattern"):
            ignoring([pattern])


PATTERNS = r"""
*.log !keep.log /top build/ a/**/z **/deep mid/*/x [[:digit:]]*.csv [!a]b x?z \#no #yes é* foo/** /*.md !/README.md
"q" a//b []x]y
"""
NAMES = """
a.log keep.log top sub/top build/x sub/build/x a/z a/b/z a/b/c/z q/deep mid/1/x mid/1/2/x 1a.csv sub/2.csv xa.csv ab bb
xyz xz #no #yes é1 sub/é foo/1 foo/2/3 other/foo/1 x.md README.md sub/x.md sub/README.md "q" a/bb ]y xy zy
"""


def test_patterns_mean_what_they_mean_to_git(tmp_path: Path) -> None:
    for name in NAMES.split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_text("")
    (tmp_path / ".gitignore").write_text("\n".join(PATTERNS.split()))
    git = ["git", "-C", str(tmp_path), "-c", "core.quotePath=false"]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "-coz", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    kept = {entry.path for entry in read_folder(tmp_path).manifest.entries if entry.kind != "dir"}
    assert kept == set(filter(None, listed.stdout.split("\0")))


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("same")
    os.utime(tmp_path / "two" / "x", (1, 1))
    one, two = (read_folder(tmp_path / name).manifest for name in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "x").chmod(0o755)
    assert read_folder(tmp_path / "two").manifest.digest != one.digest


def test_a_host_gets_only_what_was_announced() -> None:
    manifest = manifest_of([Entry("b", "link", "a"), Entry("a", "file", "00", 3)])
    assert chosen(manifest, [0]) == (Entry("a", "file", "00", 3),)
    for wrong in ([1], [2], [-1]):
        with pytest.raises(ValueError, match="not announced"):
            chosen(manifest, wrong)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_host_takes_nothing_outside_of_a_tree(path: str) -> None:
    with pytest.raises(DamagedError):
        entries_of([[path, "file", "00", 1]])


def test_requirements_bring_along_what_they_refer_to(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "top.txt").write_text("a==1\n-r sub/more.txt  # more\n-c sub/more.txt\n")
    (tmp_path / "sub" / "more.txt").write_text("b==2\n-r ../top.txt\n")
    assert read_requirements(tmp_path / "top.txt") == {
        "requirements.txt": "a==1\n-r requirements-1.txt\n-c requirements-1.txt\n",
        "requirements-1.txt": "b==2\n-r requirements.txt\n",
    }


@pytest.mark.parametrize("line", ["-e .", "./pkg", "/opt/x.whl", "x @ file:///opt/x.whl", "--find-links wheels"])
def test_requirements_that_hosts_cannot_have_are_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"a==1\n{line}\n")
    with pytest.raises(UsageError, match=r"r\.txt:2: hosts have no such path"):
        read_requirements(tmp_path / "r.txt")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("tensorflow\n", ["tensorflow-estimator==2.15.0", "tf-keras"]),
        ("numpy\ntensorflow-cpu>=2.17  # the newest\ntf_keras\n", ["tensorflow-estimator==2.15.0"]),
        ("tensorflow==2.21.0 --hash=sha256:abc\n", ["tensorflow-estimator==2.15.0", "tf-keras"]),
        ("tensorflow==2.15.1\n", []),
        ("tensorflow<2.16\n", []),
        ("tensorflow==2.21.0\ntensorflow-estimator==2.15.0\ntf-keras\n", []),
        ("tensorflow\ntflaunch\n", []),
        ("torch\n-c other.txt\nhttps://there/x.whl\n", []),
    ],
)
def test_what_an_estimator_needs_besides_is_named(text: str, missing: list[str]) -> None:
    said = missing_beside_tensorflow({"requirements.txt": text})
    assert bool(said) == bool(missing)
    assert all(name in said for name in missing)


def test_requirements_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("\n-c absent.txt\n")
    with pytest.raises(UsageError, match=r"r\.txt:2: absent\.txt: No such file"):
        read_requirements(tmp_path / "r.txt")


def test_wheels_are_for_the_host() -> None:
    target = target_of({"python": [3, 12, 4], "machine": "aarch64", "libc": ["glibc", "2.17"]})
    assert target == Target((3, 12), "aarch64", (2, 17))
    flags = " ".join(target.flags)
    assert "--python-version 3.12" in flags and "manylinux_2_17_aarch64" in flags and "manylinux_2_18" not in flags
    assert "manylinux" not in " ".join(target_of({"python": [3, 12, 4], "machine": "x", "libc": ["", ""]}).flags)


def test_the_line_that_says_what_went_wrong() -> None:
    assert last_line(["Collecting x", "ERROR: a", "ERROR: No matching distribution", "[notice]"]) == (
        "No matching distribution"
    )
    assert last_line(["Killed"]) == "Killed"
    assert last_line([]) == ""
