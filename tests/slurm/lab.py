"""A Slurm of three nodes out of namespaces on this machine; needs root and Debian's slurm packages.

    this machine (login node, slurmctld, munged) ── bridge 10.233.N.1/24 ── veth ── eth0 10.233.N.(10+i) of node ni

Each node has its own address, processes, host name, /tmp and /run, and its own slurmd; all else is this machine's, so
that home, repository and interpreters are shared, as they are on a site. ``shared`` is a folder that all see. Whatever
is started dies with the process that made it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hosts.namespaces import DEADLINE_S, REPOSITORY, die_with_parent, is_covered, namespaces_forbidden

NODES = ("n1", "n2", "n3")
CORES, MEMORY_MIB, GPUS = 8, 4000, 2
GRACE_S = 15
_PLACE = Path("/var/tmp")
_OWNERS = Path("/run/tflaunch-test-slurm")
_CGROUPS = Path("/sys/fs/cgroup")
_TOOLS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "srun": "slurm-client", "munged": "munge", "ip": "iproute2"}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_CONF = """\
ClusterName=lab
SlurmctldHost={controller}({network}.1)
SlurmctldPort={port}
SlurmdPort=6818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters={select}
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
KillWait=10
MinJobAge=300
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
{nodes}
PartitionName=main Nodes=n[1-3] Default=YES MaxTime=INFINITE State=UP PreemptMode=OFF
PartitionName=short Nodes=n[1-3] MaxTime=10 State=UP PreemptMode=OFF
PartitionName=low Nodes=n[1-3] MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=high Nodes=n[1-3] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
_CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=no
ConstrainDevices=no
"""
_NODE = """\
set -e
mount --make-rprivate /
hostname {name}
mount -t proc proc /proc
mount --bind {folder}/hosts /etc/hosts
mkdir -p {folder}/{name}
mount -t tmpfs none {folder}/{name}
{keep}
mount -t tmpfs none /tmp; chmod 1777 /tmp
mount -t tmpfs none /run
{show}
while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done
ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up
slurmd -N {name}
set +e
trap : CHLD
while :; do sleep 3600 & wait; done
"""


def missing() -> str:
    """What a lab needs and this machine lacks; empty if nothing."""
    if os.geteuid() != 0:
        return "a Slurm out of namespaces needs root"
    lacking = [package for tool, package in _TOOLS.items() if shutil.which(tool, path=_PATH) is None]
    return f"install {' '.join(lacking)}" if lacking else namespaces_forbidden()


def proctrack() -> str:
    """How Slurm keeps track of the processes of a step here: by control groups, as sites do, where the freezer of
    version 1 can be had; else by their parents, which loses those that have left them."""
    return "cgroup" if (_CGROUPS / "freezer" / "cgroup.procs").exists() else "linuxproc"


@dataclass(kw_only=True)
class Lab:
    """A Slurm that is up. ``inits``: the first process of each node, as this machine counts."""

    number: int
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    inits: dict[str, int] = field(default_factory=dict)

    @property
    def network(self) -> str:
        return f"10.233.{self.number}"

    @property
    def bridge(self) -> str:
        return f"tfs{self.number}"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def environ(self) -> Mapping[str, str]:
        """What a user of the login node has in his environment."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return {**outside, "PATH": _PATH, "SLURM_CONF": f"{self.folder}/slurm.conf"}

    def address(self, name: str) -> str:
        return f"{self.network}.{10 + NODES.index(name) + 1}"

    # --- what a user does

    def run(self, *argv: str, check: bool = True, cwd: Path | None = None, **more: str) -> str:
        """What a command on the login node says."""
        done = subprocess.run(
            argv,
            env={**self.environ, **more},
            cwd=cwd or self.shared,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}{self.words()}"
        return done.stdout

    def job(self, job: str) -> dict[str, str]:
        """What Slurm knows of a job, by the names of scontrol."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.partition("=")[::2] for word in words)

    def jobs(self) -> list[str]:
        return self.run("squeue", "--noheader", "--format=%i").split()

    def nodes(self) -> dict[str, str]:
        return dict(
            line.split() for line in self.run("sinfo", "--noheader", "-N", "-p", "main", "-o", "%n %T").splitlines()
        )

    def until_idle(self) -> None:
        """Waits until no job is left, and every node is ready for another."""
        for job in self.jobs():
            self.run("scancel", job, check=False)
        until(lambda: not self.jobs() and set(self.nodes().values()) == {"idle"}, "idle nodes", self.words)

    # --- what befalls a node

    def inside(self, name: str, *argv: str, check: bool = True) -> str:
        """What a command says inside the node, in no step."""
        enter = ["nsenter", "--target", str(self.inits[name]), "--net", "--mount", "--pid", "--uts", "--ipc"]
        return self.run(*enter, *argv, check=check)

    def processes(self, name: str) -> dict[int, str]:
        """Its processes with their command lines, by their numbers inside; without Slurm's own, and what is no process
        any more."""
        lines = self.inside(name, "ps", "-eo", "pid=,stat=,args=").splitlines()
        rows = [(int(pid), state, words) for pid, state, words in (line.split(None, 2) for line in lines)]
        slurms = ("slurmd", "slurmstepd", "sleep 3600", "ps -eo", "bash -c set -e")
        return {pid: words for pid, state, words in rows if state[0] not in "ZX" and not words.startswith(slurms)}

    def end_node(self, name: str) -> None:
        """The node is gone at once, with everything that ran on it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.inits.pop(name), signal.SIGKILL)

    def end_slurmd(self, name: str) -> None:
        self.inside(name, "pkill", "-KILL", "-x", "slurmd")

    def start_slurmd(self, name: str) -> None:
        self.inside(name, "slurmd", "-N", name)

    def cut(self, name: str) -> None:
        """Nothing passes to the node or from it any more."""
        self.run("ip", "link", "set", f"{self.bridge}v{name}", "down")

    def mend(self, name: str) -> None:
        self.run("ip", "link", "set", f"{self.bridge}v{name}", "up")

    def begin_node(self, name: str) -> None:
        script = _NODE.format(name=name, folder=self.folder, address=self.address(name), **_kept(self.folder / name))
        spaces = ("--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
        process = self._begin(f"node-{name}", "unshare", *spaces, "bash", "-c", script)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: children.read_text().split(), f"the first process of {name}", self.words)
        self.inits[name] = int(children.read_text().split()[0])
        link = f"{self.bridge}v{name}"
        self.run("ip", "link", "del", link, check=False)
        self.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self.inits[name]))
        self.run("ip", "link", "set", link, "master", self.bridge, "up")

    # --- up and down

    def begin(self) -> None:
        self._write()
        self.run("ip", "addr", "add", f"{self.network}.1/24", "dev", self.bridge)
        self.run("ip", "link", "set", self.bridge, "up")
        at = self.folder / "munge"
        files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed", "key-file": "key"}
        self._begin("munged", "munged", "-F", *(f"--{option}={at}/{name}" for option, name in files.items()))
        until((at / "socket").exists, "munged", self.words)
        self._begin("controller", "slurmctld", "-D")
        for name in NODES:
            self.begin_node(name)
        until(lambda: list(self.nodes().values()) == ["idle"] * len(NODES), "idle nodes", self.words)

    def _begin(self, log: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.out").open("ab") as said:
            made = subprocess.Popen(
                argv,
                env=dict(self.environ),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.started.append(made)
        return made

    def _write(self) -> None:
        for name in ("state", "spool", "munge", "shared"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        kinds = {name: f"NodeAddr={self.address(name)} CPUs={CORES} RealMemory={MEMORY_MIB}" for name in NODES}
        conf = _CONF.format(
            controller=socket.gethostname().partition(".")[0],
            network=self.network,
            port=6800 + self.number,
            folder=self.folder,
            proctrack=proctrack(),
            select="CR_Core",
            grace_s=GRACE_S,
            nodes="\n".join(f"NodeName={name} {kind} Gres=gpu:{GPUS} State=UNKNOWN" for name, kind in kinds.items()),
        )
        gpus = [self.folder / f"gpu{n}" for n in range(GPUS)]
        for path in gpus:
            os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))  # as /dev/null: a GPU that is none
        (self.folder / "slurm.conf").write_text(conf)
        (self.folder / "cgroup.conf").write_text(_CGROUP_CONF)
        (self.folder / "gres.conf").write_text(f"Name=gpu Count={GPUS} File={self.folder}/gpu[0-{GPUS - 1}]\n")
        hosts = {"127.0.0.1": "localhost", f"{self.network}.1": socket.gethostname()}
        hosts |= {self.address(name): name for name in NODES}
        (self.folder / "hosts").write_text("".join(f"{address} {name}\n" for address, name in hosts.items()))

    def words(self) -> str:
        """The last words of everybody."""
        logs = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        return "".join(f"\n--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def end(self) -> None:
        """Ends all of it, whatever state it is in."""
        for pid in self.inits.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in reversed(self.started):
            process.kill()
            process.wait()
        _remove(self.number)
        shutil.rmtree(self.folder, ignore_errors=True)


def _kept(at: Path) -> dict[str, str]:
    """What the node's own /tmp and /run would cover, and must be seen there: shell commands before and after."""
    covered = sorted({path for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)) if is_covered(path)})
    keep = [f"mkdir {at}/{n}; mount --rbind {path} {at}/{n}" for n, path in enumerate(covered)]
    show = [f"mkdir -p {path}; mount --rbind {at}/{n} {path}" for n, path in enumerate(covered)]
    return {"keep": "\n".join(keep), "show": "\n".join(show)}


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A Slurm whose nodes are idle; nothing of it is left in the end."""
    made = _make()
    try:
        made.begin()
        yield made
    finally:
        made.end()


def _make() -> Lab:
    _remove_stale()
    for number in range(1, 200):
        if subprocess.run(["ip", "link", "add", f"tfs{number}", "type", "bridge"], capture_output=True).returncode == 0:
            break
    else:
        raise AssertionError("no network is free")
    (_OWNERS / str(number)).write_text(str(os.getpid()))
    folder = Path(tempfile.mkdtemp(prefix="tflaunch-slurm-", dir=_PLACE))
    folder.chmod(0o755)
    return Lab(number=number, folder=folder)


def _remove_stale() -> None:
    """What tests that were killed have left; their processes died with them."""
    _OWNERS.mkdir(exist_ok=True)
    for owner in _OWNERS.iterdir():
        pid = owner.read_text()
        if pid and not Path(f"/proc/{pid}").exists():
            _remove(int(owner.name))


def _remove(number: int) -> None:
    """Networks, and the control groups that slurmd made."""
    links = [entry.name for entry in Path("/sys/class/net").glob(f"tfs{number}v*")]
    for link in (*links, f"tfs{number}"):
        subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)
    for group in sorted(_CGROUPS.glob("*/slurm_n[123]/**/"), reverse=True):
        with contextlib.suppress(OSError):
            group.rmdir()
    (_OWNERS / str(number)).unlink(missing_ok=True)


def until(what: Callable[[], object], why: str, words: Callable[[], str] = str, timeout_s: float = DEADLINE_S) -> None:
    """Waits for it, with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"waited in vain for {why}{words()}"
        time.sleep(0.05)
