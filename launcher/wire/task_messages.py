"""What a task says to its agent, and what it is told."""

from __future__ import annotations

from enum import Enum

from launcher.wire.messages import NOTHING, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class TaskHello(Message, kind="task_hello"):
    """First line of a task's connection."""

    task: str
    attempt: int
    pid: int


class StartingOver(Message, kind="starting_over"):
    """The process becomes another interpreter, whose program says again all that it has said so far. The agent closes
    the connection when that is taken back."""


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
    has one. ``pause_s``: how long the evaluator waits at least before it begins the next."""

    global_step: int
    metrics: Mapping[str, float | None]
    checkpoint: str = ""
    name: str = ""
    pause_s: float = 0.0


class Profiled(Message, kind="profiled"):
    """The trace of one step: ``data`` is JSON, compressed by zlib, in base64 (``launcher.timeline.samples``).
    ``sent_at``: the host's clock, seconds since the epoch."""

    global_step: int
    sent_at: float
    data: str


class Wait(str, Enum):
    """What a task waits for."""

    GATE = "gate"  # the parameter servers to be proven, or the chief to begin this training
    SESSION = "session"  # the chief to initialise the variables
    BARRIER = "barrier"  # the other trainers' last gradients
    CHECKPOINT = "checkpoint"  # an evaluator: something to evaluate
    HOLD = "hold"  # the word to go on, while a host is drained
    SAVED = "saved"  # the same, and the chief has saved

    def __str__(self) -> str:
        return self.value


class Waiting(Message, kind="waiting"):
    """The task waits: ``what`` is a ``Wait``; empty when the wait is over. ``missing``: variables that nobody has
    initialised while others are, as a text; ``done_with``: the checkpoint that an evaluator's own loop was given
    before, and asks for the next one now."""

    what: str
    missing: str = ""
    done_with: str = ""


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
    """The program has made an ``estimator``, a monitored ``session``, a ``coordinator`` of workers
    (ParameterServerStrategy) or a member of a ``collective`` (MultiWorkerMirroredStrategy): from then on its steps are
    reported; or it uses something else of ``tensorflow``; or it is an evaluator's, and does ``training``. ``note``:
    what its user should know about that."""

    what: str
    note: str = ""


class Leaving(Message, kind="leaving"):
    """The program of the task has come to its end, and its process is about to. ``threads``: those that it waits for;
    ``used_nothing``: it imported TensorFlow and has used nothing of it that could train."""

    threads: tuple[str, ...] = ()
    used_nothing: bool = False


class Doing(Message, kind="doing"):
    """What a task does outside of any training: ``evaluate``, ``predict`` or ``export``; empty when that is over. It
    does nothing of its own from now on: ``serve``."""

    what: str


class Reached(Message, kind="reached"):
    """The answer of a member of a collective to ``StopTraining``: how many steps this attempt has begun. It begins no
    other before it is told how far all go."""

    steps: int


class Roaming(Message, kind="roaming"):
    """A session of a trainer was told where the parameter servers are, and can be told anew. ``possible``: that is all
    that it needs; else it is bound to the addresses of other trainers as well. ``fixed``: why the number of trainers
    cannot change, empty if it can."""

    possible: bool
    fixed: str = ""


class Divides(Message, kind="divides"):
    """A line of the program (``where``: ``train.py:12``) has read how many trainers there are, or divides its input by
    a number: ``what``, in words; or, if not ``surely``, it may."""

    where: str
    what: str
    surely: bool = True


class MaxSteps(Message, kind="max_steps"):
    """How far this training goes; None: as long as there is input."""

    max_steps: int | None


# --- agent to task ---------------------------------------------------------------------------------------------------


class Gate(Message, kind="gate"):
    """Whether every ps address is proven to be served by this run. Sent again at every change.
    ``training``: the one whose variables the ps were given last, empty before the first; ``variables_alive``: they
    still hold them, so that a chief that comes back to it may keep them; ``over``: trainings that are; ``closed``: the
    chief has ended, and begins no more; ``model_dir``: the folder that this run has locked because the chief asked for
    it; ``ps``: where the parameter servers are, ``host:port`` by index, empty where tasks keep to TF_CONFIG; ``hold``:
    trainers are to begin no step."""

    open: bool
    generation: int = 1
    variables_alive: bool = False
    model_dir: str = ""
    training: str = ""
    over: tuple[str, ...] = ()
    closed: bool = False
    ps: Mapping[str, str] = NOTHING
    hold: bool = False


class SaveNow(Message, kind="save_now"):
    """To the chief, which holds still: save. ``Waiting`` for ``saved`` is the answer."""


class Barrier(Message, kind="barrier"):
    """No trainer that may still apply gradients in this training is left: the chief may save for the last time."""

    training: str = ""


class Drain(Message, kind="drain"):
    """To the evaluator: this training is over, or every one if it is empty; evaluate the last checkpoint unless that is
    done, then end."""

    global_step: int | None = None
    training: str = ""


class StopTraining(Message, kind="stop_training"):
    """To a trainer: end at the next step, with a save by the chief. ``after``: to a member of a collective, in which
    all must end at the same step: after so many steps of this attempt; None: that is still to be agreed on."""

    reason: str = ""
    after: int | None = None


class ExitNow(Message, kind="exit_now"):
    """A fault drill: end at once with this exit code, as a program does that has gone wrong."""

    code: int
