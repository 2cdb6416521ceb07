"""What hosts have answered. The shapes are those of ``launcher.agent.doctor``; unknown keys are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_CONFIG = ConfigDict(extra="ignore")


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Disk:
    """The room below a folder; None where the file system does not count."""

    place: str
    free_mib: int | None = None
    free_files: int | None = None
    read_only: bool = False
    device: int = 0


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class OldRun:
    """A run of ours with living processes; ``pid`` is the oldest one."""

    run: str
    pid: int
    processes: int = 1
    since: str = ""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class System:
    """The host itself. ``open_files``: soft and hard limit, None for no limit; ``gpus``: None if nobody asked;
    ``open_ports``: why ports cannot be guarded there; ``listens_at``: the address of its ports, empty for all."""

    python: str
    machine: str
    hostname: str = ""
    open_files: tuple[int | None, int | None]
    cores: float
    memory_mib: int
    available_mib: int
    disks: tuple[Disk, ...] = ()
    gpus: tuple[str, ...] | None = None
    proxies: tuple[str, ...] = ()
    no_proxy: str = ""
    tf_config: bool = False
    open_ports: str = ""
    listens_at: str = ""
    runs: tuple[OldRun, ...] = ()


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class TaskPython:
    """The tasks' interpreter on a host. ``version`` is None if it did not even say that; ``import_s`` if the import
    failed, and then ``last_words`` and ``exit`` say how (``exit`` None: it was not done in time)."""

    python: str
    folder: str = ""
    folder_problem: str = ""
    program: str = ""
    program_found: bool | None = None
    start_problem: str = ""
    version: str | None = None
    tensorflow: str | None = None
    estimator: str | None = None
    estimator_problem: str = ""
    import_s: float | None = None
    gpus: int | None = None
    exit: int | None = 0
    last_words: str = ""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Listening:
    """The ports on which a host answers. ``free``: how many it could hold, counted no further than its tasks."""

    ports: tuple[int, ...] = ()
    free: int = 0
    problem: str = ""
    foreign: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Reached:
    """What became of a connection to a port of another host: ``how`` is ``ok`` or a word for what went wrong."""

    host: str
    port: int
    how: str


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Folder:
    """The model_dir. ``words``: what the host reads there, by the host that has written it; ``holder``: the living run
    that has locked it."""

    path: str
    problem: str = ""
    holder: Mapping[str, int | str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Clock:
    """How far the host's clock is ahead of this machine's; it is known within ``error_s``."""

    ahead_s: float
    error_s: float


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class HostFacts:
    """Everything known about one host. ``trouble``: why it could not be asked at all, with ``advice``; ``unanswered``:
    which questions it has not answered, and why; ``sessions``: how many sshd allows at once, None if not by SSH, and
    counted no further than ``examine.MOST_SESSIONS``; ``sees_runs``: whether it sees the folder of runs as this machine
    does, None if it need not."""

    trouble: str = ""
    advice: str = ""
    unanswered: Mapping[str, str] = field(default_factory=dict)
    connect_s: float = 0.0
    sessions: int | None = None
    system: System | None = None
    pythons: tuple[TaskPython, ...] = ()
    listening: Listening | None = None
    reached: tuple[Reached, ...] | None = None
    folder: Folder | None = None
    sees_runs: bool | None = None
    clock: Clock | None = None
