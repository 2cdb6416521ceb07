"""What is said between supervisor, agent and task: frozen messages, and their form on the wire.

Three conversations share one form, a JSON object a line with the message's ``kind``:

- supervisor to agent: *commands*;
- agent to supervisor: *events*, each in an ``Event`` envelope that numbers it, so that a lost link loses nothing: the
  agent keeps an event until ``Ack`` has named its number, and says the rest again on the next connection. ``Output``
  alone is not numbered: it names file position instead, and its line is followed by ``size`` raw bytes;
- task and agent, over the socket that ``TASK_SOCKET_VARIABLE`` names: *reports* from the task, *tells* to it.

Standard library only: agents run this on hosts where nothing of ours is installed.
"""

from __future__ import annotations

import json

from launcher.wire import shapes
from launcher.wire.variables import *  # noqa: F403  whoever speaks needs these names, too

TYPE_CHECKING = False
if TYPE_CHECKING:  # the module typing would cost an agent as much as all of this
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import dataclass_transform

    JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
    _M = TypeVar("_M", bound="Message")
else:
    JsonValue = object

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Tells type checkers, and nobody else, that annotations are fields."""
        return lambda cls: cls


VERSION = 1
# What a task notes of itself after its traceback, a line each: "NAME: PATH".
DAMAGED_FILE = "[tflaunch] damaged file"
COMPRESSED_FILE = "[tflaunch] compressed file"
DAMAGED_CHECKPOINT = "[tflaunch] damaged checkpoint"
GOOD_CHECKPOINT = "[tflaunch] whole checkpoint"
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_EVENT_BYTES = 4 * 1024 * 1024  # of what an agent says, which its supervisor trusts less than the other way round
MAX_OUTPUT_BYTES = 1024 * 1024  # of one piece of a task's output

_KINDS: dict[str, type[Message]] = {}
NOTHING: dict[str, Any] = {}


class ProtocolError(Exception):
    """A line that is no message of this protocol; the text says why."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Message:
    """A value that travels: its annotations are its fields, given by keyword. ``kind`` is its name on the wire.

    What a frozen dataclass is, without the module, which costs an agent more than all else that it imports.
    """

    kind: ClassVar[str] = ""
    fields: ClassVar[Mapping[str, str]] = {}
    """Names and types, as they are written."""
    _defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        cls.fields = {**cls.fields, **cls.__annotations__}
        cls._defaults = {name: getattr(cls, name) for name in cls.fields if hasattr(cls, name)}
        if kind:
            cls.kind = kind
            _KINDS[kind] = cls

    def __init__(self, **values: Any) -> None:
        given = {**self._defaults, **values}
        if given.keys() != self.fields.keys():
            unknown, missing = given.keys() - self.fields.keys(), self.fields.keys() - given.keys()
            wrong = f"has no {', '.join(sorted(unknown))}" if unknown else f"lacks {', '.join(sorted(missing))}"
            raise TypeError(f"{type(self).__name__} {wrong}")
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} does not change")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.fields)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"


def changed(message: _M, **changes: Any) -> _M:
    """The same message with other values in some of its fields."""
    return type(message)(**{**vars(message), **changes})


def encode(message: Message) -> bytes:
    """One line of UTF-8 JSON with its newline."""
    return json.dumps(to_json(message), separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def to_json(message: Message) -> dict[str, Any]:
    """The JSON object of a message: its kind and its fields."""
    body: dict[str, Any] = {"kind": message.kind}
    for name in message.fields:
        value = getattr(message, name)
        body[name] = to_json(value) if isinstance(value, Message) else value
    return body


def decode(line: bytes | str) -> Message:
    """The message of one line. Unknown fields are passed over; raises ProtocolError for anything else unknown, and for
    a field of another type than it is written with."""
    try:
        return from_json(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:200]!r}") from error


def from_json(body: object) -> Message:
    """The message of a JSON object; raises ProtocolError if it is none."""
    if not _is_message(body):
        raise ProtocolError(f"no message of this protocol: {str(body)[:200]}")
    assert isinstance(body, dict)
    cls = _KINDS[body["kind"]]
    for name, written in cls.fields.items():
        if name in body and not shapes.fits(body[name], written):
            raise ProtocolError(f"{body['kind']}: {name} is no {written}: {str(body[name])[:200]}")
    # By the field's type, not by the value: other objects may well have a "kind" of their own.
    nested = {name: written == "Message" for name, written in cls.fields.items()}
    values = {key: from_json(value) if nested[key] else _frozen(value) for key, value in body.items() if key in nested}
    try:
        return cls(**values)
    except TypeError as error:
        raise ProtocolError(f"{body['kind']}: {error}") from error


def _is_message(body: object) -> bool:
    kind = body.get("kind") if isinstance(body, dict) else None
    return isinstance(kind, str) and kind in _KINDS


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# --- supervisor to agent -----------------------------------------------------------------------------------------


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


class Reserve(Message, kind="reserve"):
    """Hold one port for each task from now to the end. ``low``/``high``: the allowed range; None for any."""

    generation: int
    tasks: tuple[str, ...]
    low: int | None = None
    high: int | None = None


class LockModelDir(Message, kind="lock_model_dir"):
    """Lock this folder for the run (making it if need be), so that no other run trains in it."""

    path: str


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


# --- agent to supervisor -----------------------------------------------------------------------------------------


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
    swallowed is said again. ``open_ports``: why the ports of tasks cannot be guarded there, empty if they can."""

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


class Output(Message, kind="output"):
    """``size`` raw bytes of an attempt's output, from ``offset``, follow this line."""

    task: str
    attempt: int
    offset: int
    size: int


class Pong(Message, kind="pong"):
    """The agent lives."""


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
    """Tasks find the addresses of the ``Guard`` from now on. ``note``: what people should know of that."""

    note: str = ""


class PreloadState(Message, kind="preload_state"):
    """A preloaded interpreter is ``ready`` or has ``died`` (``message`` says why). Seconds and MiB are its own."""

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
    supervisor's end of the line adds the time that the event was on its way."""

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


class Reported(Message, kind="reported"):
    """What a task said over its socket."""

    task: str
    attempt: int
    report: Message


# --- task to agent -----------------------------------------------------------------------------------------------


class TaskHello(Message, kind="task_hello"):
    """First line of a task's connection."""

    task: str
    attempt: int
    pid: int


class Ready(Message, kind="ready"):
    """The task's session is open (trainer), or its server runs (ps), or it waits for checkpoints (evaluator).
    ``kept``: a restarted chief kept the live variables of the ps instead of restoring."""

    global_step: int | None = None
    kept: bool = False


class Step(Message, kind="step"):
    """Progress of a trainer, at most about once a second. ``local_steps``: steps of this attempt;
    ``examples``: examples of this attempt, None if the job does not say; ``input_wait``: the share of its time that it
    waited for input, since the report before or in this step, None if that is not measured."""

    global_step: int
    local_steps: int
    examples: int | None = None
    loss: float | None = None
    input_wait: float | None = None


class InputState(Message, kind="input_state"):
    """What the chief knows of the input that the trainers share, about once a second. Counts are of all that the model
    has learned, over every run that trained it.

    ``examples``: trained and acknowledged; ``duplicates``: rows trained again after a failure or a stop; ``skipped``:
    unreadable records; ``reread``: shards that were begun again; ``pending`` and ``held``: shards that wait and that
    trainers have; ``most_held``: by one trainer at once. ``epoch`` (from 1) of ``epochs``, ``progress`` through all of
    them, ``left_s``: estimates, None where there is no end. ``lag_s``: how old the newest example was when it had been
    trained, of a watched folder. ``endless``: it ends when it is stopped.
    """

    examples: int
    duplicates: int = 0
    skipped: int = 0
    reread: int = 0
    pending: int = 0
    held: int = 0
    most_held: int = 0
    epoch: int | None = None
    epochs: int | None = None
    progress: float | None = None
    left_s: float | None = None
    lag_s: float | None = None
    endless: bool = False


class CheckpointSaved(Message, kind="checkpoint_saved"):
    global_step: int
    path: str


class Evaluated(Message, kind="evaluated"):
    """One evaluation: its metrics by name, None for one that is not a finite number. ``name`` is the EvalSpec's, if it
    has one."""

    global_step: int
    metrics: Mapping[str, float | None]
    checkpoint: str = ""
    name: str = ""


class Profiled(Message, kind="profiled"):
    """The trace of one step: ``data`` is JSON, compressed by zlib, in base64 (``launcher.timeline.samples``).
    ``sent_at``: the host's clock, seconds since the epoch."""

    global_step: int
    sent_at: float
    data: str


class Waiting(Message, kind="waiting"):
    """The task waits: ``what`` is ``gate`` (for the ps to be proven), ``session``, ``barrier`` or ``checkpoint``;
    empty when the wait is over. ``missing``: variables that nobody has initialised while others are, as a text."""

    what: str
    missing: str = ""


class Finished(Message, kind="finished"):
    """The trainer's loop is over, all its gradients are applied. The chief now waits for the barrier. ``nothing_left``:
    there was no loop, since the last step had been reached before."""

    global_step: int
    local_steps: int
    examples: int | None = None
    reason: str = ""
    nothing_left: bool = False


class Begun(Message, kind="begun"):
    """A training begins in this task, or the evaluation of one: what is said until the next is about it. ``training``:
    its name, the same in every task and attempt; ``model_dir``: where it is saved. The chief waits until a ``Gate``
    says that the run has locked that folder."""

    training: str
    model_dir: str


class Ended(Message, kind="ended"):
    """The training is over in this task, and saved. ``saved``: whether a checkpoint was written."""

    training: str
    saved: bool


class Uses(Message, kind="uses"):
    """The program has made an ``estimator``, or a monitored ``session``: from then on its steps are reported."""

    what: str


class Leaving(Message, kind="leaving"):
    """The program of the task has come to its end, and its process is about to. ``threads``: those that it waits for;
    ``used_nothing``: it imported TensorFlow and has used nothing of it that could train."""

    threads: tuple[str, ...] = ()
    used_nothing: bool = False


class Doing(Message, kind="doing"):
    """What a task does outside of any training: ``evaluate``, ``predict`` or ``export``; empty when that is over."""

    what: str


class MaxSteps(Message, kind="max_steps"):
    """How far this training goes; None: as long as there is input."""

    max_steps: int | None


# --- agent to task -----------------------------------------------------------------------------------------------


class Gate(Message, kind="gate"):
    """Whether every ps address is proven to be served by this run. Sent again at every change.
    ``training``: the one whose variables the ps were given last, empty before the first; ``variables_alive``: they
    still hold them, so that a chief that comes back to it may keep them; ``over``: trainings that are; ``closed``: the
    chief has ended, and begins no more; ``model_dir``: the folder that this run has locked because the chief asked for
    it."""

    open: bool
    generation: int = 1
    variables_alive: bool = False
    model_dir: str = ""
    training: str = ""
    over: tuple[str, ...] = ()
    closed: bool = False


class Barrier(Message, kind="barrier"):
    """No trainer that may still apply gradients in this training is left: the chief may save for the last time."""

    training: str = ""


class Drain(Message, kind="drain"):
    """To the evaluator: this training is over, or every one if it is empty; evaluate the last checkpoint unless that is
    done, then end."""

    global_step: int | None = None
    training: str = ""


class StopTraining(Message, kind="stop_training"):
    """To a trainer: end at the next step, with a save by the chief."""

    reason: str = ""


class ExitNow(Message, kind="exit_now"):
    """A fault drill: end at once with this exit code, as a program does that has gone wrong."""

    code: int
