"""Hosts out of namespaces: each has its own address, sshd, processes, hostname, home and /tmp, and needs root.

    this process's network ── bridge 10.231.N.1/24 ── veth ── eth0 10.231.N.(11+i) of a host

A host is one process tree below ``unshare``. Its first process is its sshd: with it the whole host dies, and so does
its network. Hosts see the files of this machine, except for /home, /root/.ssh, /run and /tmp, which are their own; the
repository and the interpreters stay visible where they are. ``shared`` is one folder for all hosts, under /mnt/shared.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.plan.model import PlannedHost
from launcher.spec.hosts import FAR
from tests.freezer import Freezer

REPOSITORY = Path(__file__).parents[2]
HOME = "/home/train"
SHARED = "/mnt/shared"
DEADLINE_S = 60.0
_OWNERS = Path("/run/tflaunch-test-bridges")
_ETC = "/run/host"
_NOBODY = "02:00:00:00:00:01"  # a card that nobody has

_SETUP = """\
set -e
mount --make-rprivate /
hostname {name}
mount -t proc proc /proc
mount --bind {etc}/passwd /etc/passwd
mount --bind {etc}/shadow /etc/shadow
mkdir -p {keep}
{keep_commands}
mount --move {keep} /mnt
mount -t tmpfs none /run
mkdir -p /run/sshd {inside_etc} /run/keep
mount --move /mnt /run/keep
mount --bind /run/keep/etc {inside_etc}
mount --bind /run/keep/tmp /tmp
mount -t tmpfs none /home
mkdir -p {home}
mount {home_mount} {home}
mount -t tmpfs none /mnt
mkdir -p {shared}
{shared_commands}
{show_commands}
{extra}
while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done
ip link set lo up
ip addr add {address}/24 dev eth0
ip link set eth0 up
cp -r /run/keep/ssh/. {home}/.ssh 2>/dev/null || true
exec {sshd} -D -e -f {inside_etc}/sshd_config
"""

_SSHD = """\
Port {port}
ListenAddress {address}
HostKey {etc}/host_key
AuthorizedKeysFile {etc}/authorized_keys
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 200
AllowTcpForwarding yes
{more}
"""


def missing() -> str:
    """What these hosts need and this machine lacks; empty if nothing."""
    if os.geteuid() != 0:
        return "hosts out of namespaces need root"
    tools = {"sshd": "openssh-server", "ssh-keygen": "openssh-client", "ip": "iproute2", "unshare": "util-linux"}
    lacking = [package for tool, package in tools.items() if _tool(tool) is None]
    return f"install {' '.join(lacking)}" if lacking else namespaces_forbidden()


def namespaces_forbidden() -> str:
    probe = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "sh", "-c", "mount -t proc proc /proc"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"this kernel allows no namespaces: {done.stderr.strip()}" if done.returncode else ""


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is special about a host. ``path``: the PATH of its sessions; ``sshd``: more lines of its configuration;
    ``extra``: shell commands while it is set up; ``home_mount``: what stands before the mount point of its home."""

    port: int = 22
    path: str = ""
    sshd: str = ""
    extra: str = ""
    home_mount: str = "--bind /run/keep/home"
    shared: bool = True


@dataclass(kw_only=True)
class Host:
    """One host that is up. ``init`` is its first process, as this machine counts."""

    name: str
    address: str
    folder: Path
    link: str
    options: Options
    process: subprocess.Popen[bytes]
    init: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def cut(self) -> None:
        """Nothing passes to the host or from it any more."""
        _run("ip", "link", "set", self.link, "down")

    def mend(self) -> None:
        _run("ip", "link", "set", self.link, "up")

    @contextlib.contextmanager
    def deaf(self, made: Network) -> Iterator[None]:
        """What this machine sends to it is lost without a word; what it sends arrives."""
        nobody = ("lladdr", _NOBODY, "dev", made.bridge, "nud", "permanent")
        _run("ip", "neigh", "replace", self.address, *nobody)
        try:
            yield
        finally:
            _run("ip", "neigh", "del", self.address, "dev", made.bridge)

    @contextlib.contextmanager
    def dumb(self, made: Network) -> Iterator[None]:
        """What it sends to this machine is lost without a word; what it is sent arrives."""
        gateway = f"10.231.{made.number}.1"
        self.run("ip", "neigh", "replace", gateway, "lladdr", _NOBODY, "dev", "eth0", "nud", "permanent")
        try:
            yield
        finally:
            self.run("ip", "neigh", "del", gateway, "dev", "eth0")

    def run(self, *argv: str, check: bool = True) -> str:
        """What a command says inside the host; not by SSH."""
        enter = ["nsenter", "--target", str(self.init), "--net", "--mount", "--pid", "--uts"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> dict[int, str]:
        """Its processes with their command lines; zombies, what is in its exit, and the sshd that listens left out."""
        found = {}
        space = _pid_namespace(self.init)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.init and _pid_namespace(int(entry.name)) == space:
                with contextlib.suppress(OSError):
                    state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                    if state not in "ZX":
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        if command:  # an exit gives back the memory with it before the process is a zombie
                            found[int(entry.name)] = command.decode(errors="replace")
        return found

    def ours(self) -> dict[int, str]:
        """Those of its processes that are neither sshd's nor a shell or relay below it."""
        return {pid: words for pid, words in self.processes().items() if not words.startswith("sshd")}

    @contextlib.contextmanager
    def frozen(self, apart: str) -> Iterator[tuple[Freezer, Freezer]]:
        """Everything on the host stands still, in two groups: processes with ``apart`` on their command line, and the
        rest, sshd among it."""
        with Freezer() as first, Freezer() as rest:
            found = self.processes()
            first.freeze(pid for pid, words in found.items() if apart in words)
            rest.freeze([self.init, *(pid for pid, words in found.items() if apart not in words)])
            yield first, rest

    def crash(self) -> None:
        """The host is gone at once, with everything that ran on it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self.process.wait(DEADLINE_S)


@dataclass(kw_only=True)
class Network:
    """A bridge and its hosts. ``ssh``: a folder with a key that every host lets in, and everybody's host keys."""

    number: int
    folder: Path
    hosts: list[Host] = field(default_factory=list)

    @property
    def bridge(self) -> str:
        return f"tfl{self.number}"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def key(self) -> Path:
        return self.folder / "ssh" / "id_ed25519"

    @property
    def user_home(self) -> Path:
        """A home for whoever connects: his key and the known hosts are in its .ssh."""
        return self.folder / "user"

    def address(self, index: int) -> str:
        return f"10.231.{self.number}.{index + 11}"

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def planned(self, name: str, **ssh: str) -> PlannedHost:
        """The host as a plan has it."""
        host = self.host(name)
        facts = {"host": host.address, "port": str(host.options.port), **ssh}
        return PlannedHost(name=name, address=host.address, transport="ssh", traits=FAR, details=facts)

    def close(self) -> None:
        """Ends every host and the network, whatever state they are in."""
        for host in self.hosts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(host.init or host.process.pid, signal.SIGKILL)
        for host in self.hosts:
            host.process.kill()
            host.process.wait()
        _remove_links(self.number)
        (_OWNERS / str(self.number)).unlink(missing_ok=True)


@contextlib.contextmanager
def network(folder: Path, names: Sequence[str], options: Mapping[str, Options] | None = None) -> Iterator[Network]:
    """Hosts of these names, up and reachable by SSH; taken down at the end."""
    made = _make_network(folder)
    try:
        for name in names:
            _begin(made, name, (options or {}).get(name, Options()))
        for host in made.hosts:
            _connect(host, made)
        for host in made.hosts:
            _await(host)
        yield made
    finally:
        made.close()


def _make_network(folder: Path) -> Network:
    _remove_stale()
    for number in range(1, 250):
        made = Network(number=number, folder=folder)
        if subprocess.run(["ip", "link", "add", made.bridge, "type", "bridge"], capture_output=True).returncode == 0:
            break
    else:
        raise AssertionError("no network is free")
    (_OWNERS / str(number)).write_text(str(os.getpid()))
    _run("ip", "addr", "add", f"10.231.{number}.1/24", "dev", made.bridge)
    _run("ip", "link", "set", made.bridge, "up")
    for path in (made.shared, made.key.parent, made.user_home / ".ssh"):
        path.mkdir(parents=True, mode=0o700)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(made.key))
    shutil.copy(made.key, made.user_home / ".ssh" / "id_ed25519")
    return made


def _remove_stale() -> None:
    """Networks of tests that were killed: their hosts died with them."""
    _OWNERS.mkdir(exist_ok=True)
    for owner in _OWNERS.iterdir():
        pid = owner.read_text()
        if pid and not Path(f"/proc/{pid}").exists():
            _remove_links(int(owner.name))
            owner.unlink(missing_ok=True)


def _remove_links(number: int) -> None:
    """The bridge and the cards on it, which go late by themselves."""
    links = [entry.name for entry in Path("/sys/class/net").glob(f"tfl{number}v*")]
    for link in (*links, f"tfl{number}"):
        subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)


def _begin(made: Network, name: str, options: Options) -> None:
    index = len(made.hosts)
    folder = made.folder / name
    for part in ("etc", "home/.ssh", "tmp", "ssh"):
        (folder / part).mkdir(parents=True, mode=0o755)
    (folder / "tmp").chmod(0o1777)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / "etc" / "host_key"))
    address = made.address(index)
    _write_etc(made, folder, address, options)
    public = (folder / "etc" / "host_key.pub").read_text().split()[:2]
    shown = address if options.port == 22 else f"[{address}]:{options.port}"
    with (made.user_home / ".ssh" / "known_hosts").open("a") as known:
        known.write(f"{shown} {' '.join(public)}\n")
    script = _script(made, name, folder, address, options)
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [*("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"), "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
            cwd="/",
        )
    link = f"tfl{made.number}v{index}"
    made.hosts.append(Host(name=name, address=address, folder=folder, link=link, options=options, process=process))


def _write_etc(made: Network, folder: Path, address: str, options: Options) -> None:
    etc = folder / "etc"
    shutil.copy(made.key.with_suffix(".pub"), etc / "authorized_keys")
    (etc / "passwd").write_text(
        f"root:x:0:0:root:{HOME}:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
    (etc / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    more = options.sshd + (f"\nSetEnv PATH={options.path}" if options.path else "")
    (etc / "sshd_config").write_text(_SSHD.format(port=options.port, address=address, etc=_ETC, more=more))


def _script(made: Network, name: str, folder: Path, address: str, options: Options) -> str:
    """The host's first process, up to where it becomes sshd. What is to be seen again is kept while /tmp and /home are
    covered."""
    keep = folder / "keep"
    seen = {path for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)) if is_covered(path)}
    kept = {"etc": folder / "etc", "home": folder / "home", "tmp": folder / "tmp", "ssh": folder / "ssh"}
    kept |= {"shared": made.shared} if options.shared else {}
    kept |= {f"seen{number}": path for number, path in enumerate(sorted(seen))}
    keep_commands = [f"mount -t tmpfs none {keep}"]
    keep_commands += [f"mkdir {keep}/{word}; mount --rbind {path} {keep}/{word}" for word, path in kept.items()]
    show = [
        f"mkdir -p {path}; mount --rbind /run/keep/{word} {path}" for word, path in kept.items() if word[:4] == "seen"
    ]
    return _SETUP.format(
        name=name,
        etc=folder / "etc",
        keep=keep,
        keep_commands="\n".join(keep_commands),
        inside_etc=_ETC,
        home=HOME,
        home_mount=options.home_mount,
        shared=SHARED,
        shared_commands=f"mount --bind /run/keep/shared {SHARED}" if options.shared else "",
        show_commands="\n".join(show),
        extra=options.extra,
        address=address,
        sshd=_tool("sshd"),
    )


def is_covered(path: Path) -> bool:
    return str(path).startswith(("/tmp/", "/home/", "/mnt/", "/run/"))


def _connect(host: Host, made: Network) -> None:
    """Gives the host its network card."""
    children = Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children")
    _until(lambda: children.read_text().split(), f"the first process of {host.name}: {host.log}")
    host.init = int(children.read_text().split()[0])
    _run(*("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", str(host.init)))
    _run("ip", "link", "set", host.link, "master", made.bridge)
    _run("ip", "link", "set", host.link, "up")


def _await(host: Host) -> None:
    def answers() -> bool:
        assert host.process.poll() is None, f"{host.name} did not come up: {host.log}"
        with contextlib.suppress(OSError), socket.create_connection((host.address, host.options.port), 1.0) as line:
            return line.recv(4) == b"SSH-"
        return False

    _until(answers, f"sshd of {host.name}: {host.log}")


def _until(condition: object, what: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def _pid_namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - it names no file
    return ""


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
