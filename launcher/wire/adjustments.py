"""The adjustments: what is changed in TensorFlow inside a task, as a table.

Each removes one wait, hang or loss that tf.estimator has in a cluster. ``launcher.estimator.adjustments`` makes them;
each can be switched off by its name. Seconds are of one chief, two workers, one parameter server and an evaluator that
train a small DNNClassifier for 2,000 steps on two cores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PS, CHIEF, WORKER, EVALUATOR = "ps", "chief", "worker", "evaluator"
TRAINERS = (CHIEF, WORKER)


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """One change. ``name`` is what users write, ``title`` one line for lists, ``why`` the measured reason;
    ``needs``: other adjustments without which it does harm."""

    name: str
    title: str
    why: str
    roles: tuple[str, ...]
    on: bool = True
    needs: tuple[str, ...] = ()


PORT_GUARD = "port-guard"
LEGACY_KERAS = "legacy-keras"
ROAMING = "roaming"
BFLOAT16_TRANSFER = "bfloat16-transfer"
CHOSEN_OUTSIDE = frozenset({PORT_GUARD, LEGACY_KERAS})  # made before a task's program begins
OPEN_PORTS = "whoever reaches the ports of this run can run code as you: {}"

ADJUSTMENTS: tuple[Adjustment, ...] = (
    Adjustment(
        name=PORT_GUARD,
        title="the ports of a run answer its own processes alone; off by its own name only",
        why="TensorFlow's servers listen on all addresses and ask nobody who he is: whoever reaches a port can run code"
        " as you",
        roles=(PS, *TRAINERS),
    ),
    Adjustment(
        name=LEGACY_KERAS,
        title="tf.keras is Keras 2 (tf-keras) from TensorFlow 2.16 on; on and off by what the program imports",
        why="Estimators, and Keras in a cluster, are written for Keras 2: with Keras 3 177 tests of tf.estimator's own"
        " suite fail that pass on 2.15.1, and model.fit fails under ParameterServerStrategy and"
        " MultiWorkerMirroredStrategy",
        roles=(PS, *TRAINERS, EVALUATOR),
        on=False,
    ),
    Adjustment(
        name="model-dir",
        title="an Estimator without a model_dir takes the run's own",
        why="tf.estimator takes a temporary folder, another one in each task: the evaluator never sees a checkpoint",
        roles=(PS, *TRAINERS, EVALUATOR),
    ),
    Adjustment(
        name="session-gate",
        title="no session before every parameter server is proven to be this run's, and the model_dir is locked",
        why="a stale parameter server on the same port is trained on without any error: the job exits 0 with another"
        " job's variables",
        roles=TRAINERS,
    ),
    Adjustment(
        name=ROAMING,
        title="sessions say where everybody is: a task may come, go or move while the others carry on",
        why="a TensorFlow server knows one list of addresses for ever: a lost host restarts all processes of a run,"
        " even if only the evaluator was there",
        roles=(PS, *TRAINERS),
        needs=("session-gate", "session-close"),
    ),
    Adjustment(
        name="ready-poll",
        title="look for initialised variables every 0.2 s instead of every 30 s",
        why="a worker that just misses the chief's initialisation sleeps 30 s (SessionManager.recovery_wait_secs), at"
        " the start and after each recovery: 32 s of wall time became 15.7 s",
        roles=TRAINERS,
    ),
    Adjustment(
        name="worker-start",
        title="workers start at once instead of after 5 s, 10 s, 15 s, ...",
        why="tf.estimator delays worker i by min(60, 5*(i+1)) s; without the delay but with the 30 s poll a job is"
        " slower (46.6 s against 23.6 s)",
        roles=(WORKER,),
        needs=("ready-poll",),
    ),
    Adjustment(
        name="eval-delay",
        title="evaluate as soon as there is a first checkpoint; a new one is seen at once",
        why="EvalSpec waits 120 s for the first evaluation, and looks for a new checkpoint every 600 s only",
        roles=(EVALUATOR,),
    ),
    Adjustment(
        name="eval-drain",
        title="the evaluator ends with the training, after the last checkpoint is evaluated and exported",
        why="it ends only when a checkpoint has global_step >= max_steps: never when input ends early, on early"
        " stopping or without max_steps; and it sleeps throttle_secs (600 s) first",
        roles=(EVALUATOR,),
    ),
    Adjustment(
        name="device-filters",
        title="a session_config of the script keeps the default device_filters",
        why="RunConfig drops them silently when a session_config is given: then nothing starts until every task is up,"
        " and a task can hang when another leaves",
        roles=(PS, *TRAINERS),
    ),
    Adjustment(
        name="final-save",
        title="the chief saves last, after every worker has finished",
        why="a chief that runs out of input saves and leaves; what the workers train after that is in no checkpoint",
        roles=TRAINERS,
    ),
    Adjustment(
        name="save-on-term",
        title="SIGTERM ends training at the next step, with a checkpoint",
        why="TensorFlow saves nothing on SIGTERM: all steps since the last checkpoint are lost",
        roles=TRAINERS,
    ),
    Adjustment(
        name="chief-rejoin",
        title="a restarted chief keeps the live variables instead of rolling everybody back",
        why="it restores the last checkpoint onto the live parameter servers; killed near step 1,500 it went on at"
        " 2,138, and the job took 12.4 s instead of 19.7 s",
        roles=(CHIEF,),
    ),
    Adjustment(
        name="preflight",
        title="a checkpoint that does not fit the model is refused in words, before training",
        why="a variable of another shape is restored without a word: a vocabulary of 6 went on training, and saving,"
        " the table of 10 that it found",
        roles=(*TRAINERS, EVALUATOR),
    ),
    Adjustment(
        name="keep-evaluated",
        title="the chief does not delete the checkpoint that the evaluator is reading",
        why="it deletes all but the newest five: an evaluation or export that takes longer than five of them ends with"
        " an error",
        roles=(CHIEF, EVALUATOR),
    ),
    Adjustment(
        name="save-look",
        title="the chief asks for the global step only when a checkpoint may be due, not after every step",
        why="with save_checkpoints_steps its saver does so after each step: of 2,000 steps of a canned job the chief"
        " did 396, and 561 without (the workers 780 and 725)",
        roles=(CHIEF,),
    ),
    Adjustment(
        name="session-close",
        title="a trainer waits at most 0.5 s for its session to be closed, and for no thread of its strategy",
        why="closing the sessions of several trainers at once can stall for 4 to 16 s, with everybody idle: at the end,"
        " and when a parameter server was lost; the thread that looks after a collective sleeps for 30 s",
        roles=TRAINERS,
    ),
    Adjustment(
        name="heartbeat",
        title="tasks report readiness, steps, checkpoints and evaluations",
        why="without it a hang cannot be told from a long step; it costs one fetched scalar a second",
        roles=(PS, *TRAINERS, EVALUATOR),
    ),
    Adjustment(
        name="log-format",
        title="one form of log lines, with time, task, file and line; each message once; --log-level",
        why="TensorFlow adds a handler of its own: with any other, or after one logging.info, each message comes"
        " twice; a set-up of the script's own wins",
        roles=(PS, *TRAINERS, EVALUATOR),
    ),
    Adjustment(
        name=BFLOAT16_TRANSFER,
        title="trainers and parameter servers send float32 as bfloat16; variables and checkpoints stay float32",
        why="where training waits for the network, half the bytes: the shared job over 1 Gbit/s did 19.0 k examples/s"
        " instead of 15.9 k; gradients and values that are used keep 8 bits of precision",
        roles=TRAINERS,
        on=False,
    ),
    Adjustment(
        name="balanced-placement",
        title="variables are spread over parameter servers by bytes, not by turns",
        why="TensorFlow takes turns: of a table of 1.5 GB and 200 small variables one of three parameter servers held"
        " 1,526 MiB, the others 0.1 and 0.2; what is larger than a share has to be split besides",
        roles=TRAINERS,
        on=False,
    ),
    Adjustment(
        name="input-wait",
        title="trainers report which share of a step they wait for input (comes with --tensorboard)",
        why="nothing else tells a job that starves from one that computes; it adds three small operations to the graph",
        roles=TRAINERS,
        on=False,
        needs=("heartbeat",),
    ),
    Adjustment(
        name="profile",
        title="the trace of one step in every so many goes into the run's timeline/ (--profile-steps)",
        why="a ProfilerHook cannot be built with eager mode on, and tasks overwrite each other's timelines; a traced"
        " step takes longer than others",
        roles=(*TRAINERS, EVALUATOR),
        on=False,
    ),
)

NAMES: tuple[str, ...] = tuple(item.name for item in ADJUSTMENTS)
DEFAULT: frozenset[str] = frozenset(item.name for item in ADJUSTMENTS if item.on)


def unknown(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that are no adjustment, sorted."""
    return tuple(sorted(set(names) - set(NAMES)))


def unmet(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs (adjustment, what it needs and is missing from ``names``)."""
    chosen = set(names)
    return tuple(
        (item.name, need) for item in ADJUSTMENTS if item.name in chosen for need in item.needs if need not in chosen
    )


def for_role(names: Iterable[str], role: str) -> tuple[Adjustment, ...]:
    """Those of ``names`` that change something in a task of ``role``, in the order of the table."""
    chosen = set(names)
    return tuple(item for item in ADJUSTMENTS if item.name in chosen and role in item.roles)
