"""What an agent says to the supervisor."""

from __future__ import annotations

from enum import Enum

from launcher.wire.messages import NOTHING, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.wire.messages import JsonValue


class Event(Message, kind="event"):
    """The envelope of everything that an agent reports. ``seq`` counts from 1 within one agent process
    (``incarnation``); ``at`` is the host's clock, seconds since the epoch."""

    seq: int
    incarnation: str
    at: float
    body: Message


class Welcome(Message, kind="welcome"):
    """The agent's answer to ``Hello``, not numbered. A new ``incarnation`` means that the tasks of the former died.
    ``received``: how many commands (``Hello`` and ``Ack`` not counted) this incarnation has had: what a lost link
    swallowed is said again. ``open_ports``: why the ports of tasks cannot be guarded there, empty if they can. ``at``:
    when, by a clock of its host that counts sleep; ``Heard`` names it."""

    incarnation: str
    version: int
    host: str
    pid: int
    python: str
    cores: int
    memory_mib: int
    gpus: int
    received: int = 0
    open_ports: str = ""
    at: float = 0.0


class Output(Message, kind="output"):
    """``size`` raw bytes of an attempt's output, from ``offset``, follow this line. ``missing``: so many bytes before
    ``offset`` never come, since they were more than a host keeps."""

    task: str
    attempt: int
    offset: int
    size: int
    missing: int = 0


class Pong(Message, kind="pong"):
    """The agent lives. ``at``: as in ``Welcome``."""

    at: float = 0.0


class LeaseAgreed(Message, kind="lease_agreed"):
    """These are the terms of the lease from now on."""

    grace: bool


class Reserved(Message, kind="reserved"):
    """The ports that are held from now on, by task name."""

    generation: int
    ports: Mapping[str, int]


class Refused(Message, kind="refused"):
    """A command could not be done. ``command`` is its kind, ``task`` whom it was for, ``message`` says why and what
    to do. ``foreign``: what stands in the way, if it is a process (pid, command, since)."""

    command: str
    message: str
    task: str = ""
    attempt: int = 0
    foreign: Mapping[str, JsonValue] = NOTHING


class Locked(Message, kind="locked"):
    """The model_dir is this run's. ``note`` says whose stale lock was replaced, if any. ``emptied``: somebody had
    removed the lock, and most likely all that was in the folder."""

    path: str
    note: str = ""
    emptied: bool = False


class Seen(Message, kind="seen"):
    """The folder is here what it is on the host that has locked it."""

    path: str


class Guarded(Message, kind="guarded"):
    """Tasks find the addresses of the ``Guard`` from now on. ``note``: what people should know of that, said later of
    a task that goes without."""

    note: str = ""


class PreloadStage(str, Enum):
    """How a preloaded interpreter stands."""

    STARTING = "starting"
    READY = "ready"
    DIED = "died"

    def __str__(self) -> str:
        return self.value


class PreloadState(Message, kind="preload_state"):
    """A preloaded interpreter is ready or has died (``state``; ``message`` says why). Seconds and MiB are its own."""

    key: str
    state: str
    pid: int = 0
    seconds: float = 0.0
    message: str = ""


class BoardState(Message, kind="board_state"):
    """TensorBoard is ``up`` and answers at ``url``, or has ``ended``; ``message``: its last words."""

    state: str
    url: str = ""
    message: str = ""


class Started(Message, kind="started"):
    """The attempt's process runs. ``start`` is ``fork`` or ``exec``."""

    generation: int
    task: str
    attempt: int
    pid: int
    start: str


class Listening(Message, kind="listening"):
    """The task's port has exactly one listener, and it is this attempt."""

    task: str
    attempt: int
    port: int


class Exited(Message, kind="exited"):
    """The attempt's process has ended and is reaped, and so is its group. One of ``exit_code`` and ``signal`` is set.
    ``stopped``: it was asked to (``Stop``). ``out_of_memory``: the kernel killed it for memory.
    ``output_bytes``: the whole length of its output; ``tail``: the last lines of it; ``excerpt``: the part of it that
    tells of a failure, where that is not among them. ``raised``: the traceback of the exception that ended a Python
    program; ``crash``: the stacks of one that native code brought down. ``facts``: ``peak_mib`` of its memory, and the
    limits that it had (``address_space_mib``, ``memory_limit_mib``). ``since_s``: how long ago the process ended; the
    supervisor's end of the line adds the time that the event was on its way. ``unkilled``: what was killed in vain and
    is counted as gone; the kernel ends it before it does anything more. ``resisted_s``: how long after SIGTERM it had
    to be killed; 0 where it had not."""

    task: str
    attempt: int
    exit_code: int | None
    signal: int | None
    stopped: bool = False
    out_of_memory: bool = False
    output_bytes: int = 0
    tail: str = ""
    since_s: float = 0.0
    excerpt: str = ""
    raised: str = ""
    crash: str = ""
    facts: Mapping[str, JsonValue] = NOTHING
    unkilled: str = ""
    resisted_s: float = 0.0


class Stacks(Message, kind="stacks"):
    """What an attempt is doing. ``state``: its process's, as in proc(5) (``T``: stopped by a signal); ``text``: the
    Python stacks of all threads with their lines of code, empty where they are not to be had; ``files``: paths that its
    threads wait to open or to read; ``raised``: the traceback of an exception that ought to have ended the program."""

    task: str
    attempt: int
    pid: int = 0
    state: str = ""
    text: str = ""
    files: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()
    raised: str = ""


class Usage(Message, kind="usage"):
    """What the attempts of this host use, by task name: cpu share (1.0 is one core) and resident MiB."""

    cpu: Mapping[str, float]
    rss_mib: Mapping[str, float]


class Connected(Message, kind="connected"):
    """A task listens to its agent, and can be told something."""

    task: str
    attempt: int


class Reported(Message, kind="reported"):
    """What a task said over its socket."""

    task: str
    attempt: int
    report: Message
