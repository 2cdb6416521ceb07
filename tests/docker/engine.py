"""podman, buildah and podman-compose, as root on one machine: what ``make test-docker`` builds and starts with.

No engine and no image registry is needed: the base image is made with debootstrap, images are built without a container
runtime (``--isolation chroot``), and containers are run by runc, since crun refuses hybrid cgroups.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILES = ("docker/compose.yaml", "docker/offline.yaml", "tests/docker/limits.yaml")
PACKAGES = "ca-certificates,openssh-server,openssh-client,python3,python3-venv"


def run(argv: Sequence[str | Path], *, timeout_s: float, env: Mapping[str, str] | None = None) -> str:
    """The command's output. Raises AssertionError, with the end of it, when it fails."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


def make_base(folder: Path, image: str) -> None:
    """A small Debian with what a training host needs of it."""
    root, archive = folder / "root", folder / "root.tar"
    run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root], timeout_s=900)
    run(["tar", "-C", root, "-cf", archive, "."], timeout_s=300)
    run(["podman", "import", "--quiet", archive, image], timeout_s=300)
    run(["rm", "-rf", root, archive], timeout_s=120)


def build(image: str, base: str) -> None:
    """The image of docker/Dockerfile, from docker/wheels/ alone."""
    arguments = ["--build-arg", f"BASE={base}", "--build-arg", "PIP_NO_INDEX=1"]
    recipe = REPOSITORY / "docker" / "Dockerfile"
    run(["buildah", "bud", "--isolation", "chroot", *arguments, "-f", recipe, "-t", image, "."], timeout_s=1800)


class Cluster:
    """docker/compose.yaml, without a way out, under a project name of its own."""

    def __init__(self, project: str, image: str) -> None:
        self._project = project
        self._env = {"TFLAUNCH_IMAGE": image}

    def up(self) -> None:
        """Starts the containers of an image that is there."""
        self._compose("up", "--detach", "--no-build", timeout_s=300)

    def down(self) -> None:
        """Removes containers, network and volumes, also those of a start that has failed."""
        try:
            self._compose("down", "--volumes", "--timeout", "5", timeout_s=300)
        finally:
            for kind in ("container", "network", "volume"):
                for name in self._left(kind):
                    subprocess.run(["podman", kind, "rm", "--force", name], capture_output=True, timeout=60)

    def _left(self, kind: str) -> list[str]:
        """What there still is of the project; its networks and volumes have its name in theirs."""
        field = "Names" if kind == "container" else "Name"
        words = ["--all"] if kind == "container" else []
        listed = run(["podman", kind, "ls", *words, "--format", f"{{{{.{field}}}}}"], timeout_s=60)
        return [name for name in listed.split() if name.startswith(f"{self._project}_")]

    def inside(self, container: str, *argv: str, timeout_s: float = 60) -> str:
        """What a command says in a container, as its user. Raises AssertionError when it fails."""
        return run(["podman", "exec", f"{self._project}_{container}_1", *argv], timeout_s=timeout_s)

    def _compose(self, *words: str, timeout_s: float) -> str:
        tool = [sys.executable, "-m", "podman_compose", "--podman-args=--runtime=runc"]
        files = [word for file in COMPOSE_FILES for word in ("-f", str(REPOSITORY / file))]
        return run([*tool, *files, "-p", self._project, *words], timeout_s=timeout_s, env=self._env)
