"""What the supervisor says to an agent."""

from __future__ import annotations

from launcher.wire.messages import NOTHING, VERSION, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Hello(Message, kind="hello"):
    """First line of every connection. ``acked``: the newest event that the supervisor has, of the agent process
    ``incarnation`` (empty: it has met none yet); ``output``: how many bytes it has of each attempt's output, by
    ``worker-1.2`` (task slug, attempt)."""

    run: str
    version: int = VERSION
    incarnation: str = ""
    acked: int = 0
    output: Mapping[str, int] = NOTHING


class Ack(Message, kind="ack"):
    """Every event up to ``seq`` has arrived, and ``output`` bytes of each named attempt's output."""

    seq: int
    output: Mapping[str, int] = NOTHING


class Ping(Message, kind="ping"):
    """Over lines that may be cut unnoticed: the supervisor lives. Neither counted nor kept; answered by ``Pong``."""


class Heard(Message, kind="heard"):
    """The supervisor has your word of that moment (``Welcome.at``, ``Pong.at``), and counts the lease from when it
    came. Neither counted nor kept."""

    at: float


class LeaseTerms(Message, kind="lease_terms"):
    """What happens at the end of the lease, where a line may be cut unnoticed. With ``grace`` tasks are stopped in
    order, each with its time to save. Without, the run goes on elsewhere at that moment, and all are killed; halfway
    through the lease the chief saves, in case it is the supervisor that has died. Answered by ``LeaseAgreed``."""

    grace: bool


class Reserve(Message, kind="reserve"):
    """Hold one port for each task from now to the end. ``low``/``high``: the allowed range; None for any."""

    generation: int
    tasks: tuple[str, ...]
    low: int | None = None
    high: int | None = None


class LockModelDir(Message, kind="lock_model_dir"):
    """Lock this folder for the run (making it if need be), so that no other run trains in it, nor an earlier
    ``generation`` of this one, nor ``departed`` attempts (``chief:0 1``) of tasks that have gone on elsewhere."""

    path: str
    generation: int = 1
    departed: tuple[str, ...] = ()


class SeeModelDir(Message, kind="see_model_dir"):
    """Another host has locked this folder: see that it is the same one here."""

    path: str


class Preload(Message, kind="preload"):
    """Start an interpreter that imports ``modules``, for tasks to be forked from. ``env`` is its whole environment's
    difference from the agent's; a None value unsets."""

    key: str
    python: tuple[str, ...]
    modules: tuple[str, ...]
    env: Mapping[str, str | None] = NOTHING


class Guard(Message, kind="guard"):
    """Let the tasks' ports answer the run's own processes alone. ``addresses``: of each task, ``host:port`` as in
    TF_CONFIG, the key that a connection to it begins with (64 hexadecimal digits), none while ports are not known;
    ``own``: those of this host's tasks."""

    addresses: Mapping[str, str] = NOTHING
    own: tuple[str, ...] = ()


class Board(Message, kind="board"):
    """Start TensorBoard with this interpreter, on loopback; its state is told by ``BoardState``. ``logdir``: the folder
    that it shows, empty for one of the host's own; ``events``: the run's events.jsonl, empty where that is not to be
    had; ``model_dir``: as far as it is known."""

    python: str
    logdir: str = ""
    events: str = ""
    model_dir: str = ""
    env: Mapping[str, str] = NOTHING


class Start(Message, kind="start"):
    """Start one attempt of a task.

    ``env`` is set on top of the agent's environment (a None value unsets). ``preload``: the key of the preloaded
    interpreter to fork from, None to exec ``argv``. ``program``: for Python commands, ``argv`` after the
    interpreter and its flags (``["-m", "pkg.mod", "--flag"]`` or ``["script.py", "--flag"]``); empty otherwise.
    """

    generation: int
    task: str
    attempt: int
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str | None] = NOTHING
    preload: str | None = None
    program: tuple[str, ...] = ()


class Stop(Message, kind="stop"):
    """Take an attempt down: TERM to its process group, after ``grace_s`` KILL. ``grace_s=0`` kills at once."""

    task: str
    attempt: int
    grace_s: float


class Signal(Message, kind="signal"):
    """Send one signal (its number) to the attempt's process group."""

    task: str
    attempt: int
    signal: int


class TakeStacks(Message, kind="take_stacks"):
    """Say what the attempt is doing: ``Stacks``."""

    task: str
    attempt: int


class Prove(Message, kind="prove"):
    """Watch the task's port until it has exactly one listener and that is this attempt: then ``Listening``."""

    task: str
    attempt: int


class Tell(Message, kind="tell"):
    """Pass ``message`` on to a task now, or when it connects. An empty ``task`` means every task of this host."""

    task: str
    message: Message


class Finish(Message, kind="finish"):
    """The run is over: kill whatever is left, release ports and lock, remove the host's files, end agent and keeper."""


class Abandoned(Message, kind="abandoned"):
    """First line of a connection: whoever supervised the run is gone for good. What the lease would do at its end, at
    once; with ``now`` without any grace. ``Refused`` while a supervisor is connected; else the line ends with all of
    it."""

    run: str
    now: bool = False
