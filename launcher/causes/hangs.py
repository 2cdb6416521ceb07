"""Who waits for whom when nothing goes on, from what each task does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.causes import stacks as traced
from launcher.causes.cause import Cause
from launcher.causes.traces import Frame, Raised, last_trace
from launcher.causes.words import place, shown, told
from launcher.wire import protocol
from launcher.wire.roles import Role

_SHOWN_FRAMES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A task while nothing goes on. ``since_s``: since its last step, or its start; ``stacks``: what it does, None if
    that could not be had; ``missing``: variables it waits for that nobody initialises;
    ``doing``: what it does outside of any training."""

    task: str
    role: Role
    host: str
    alive: bool
    ready: bool
    finished: bool
    waits_for: protocol.Wait | None
    missing: str = ""
    doing: str = ""
    global_step: int
    since_s: float
    stacks: protocol.Stacks | None

    @property
    def paused(self) -> bool:
        return self.stacks is not None and self.stacks.state in ("T", "t")

    @property
    def raised(self) -> Raised | None:
        """The exception that ought to have ended it."""
        trace = last_trace(self.stacks.raised) if self.stacks is not None and self.stacks.raised else None
        return trace.outer if trace is not None else None

    @property
    def in_disk_wait(self) -> bool:
        return self.stacks is not None and self.stacks.state == "D"

    @property
    def file(self) -> str:
        """A file that does not let itself be opened or read."""
        return self.stacks.files[0] if self.stacks is not None and self.stacks.files else ""

    @property
    def own_frame(self) -> Frame | None:
        """Where the user's code is busy or waits, if that is what the task does."""
        if self.stacks is None or self.waits_for in _WAITS:
            return None
        return traced.own_frame(self.stacks.text)


def hang(standings: Sequence[Standing], global_step: int, hang_s: float) -> Cause:
    """The cause of a run in which nothing goes on."""
    patience = "raise policy.hang_timeout_s if that may take so long"
    if all(item.finished for item in standings if item.role.trains):
        chief = next((item for item in standings if item.role is Role.CHIEF), None)
        what = f"the last step is done, and nothing was saved for {hang_s:g} s"
        return _explained(standings, what, patience, suspect=chief)
    return _explained(standings, f"the global step has stood at {global_step} for {hang_s:g} s", patience)


def not_ready(standings: Sequence[Standing], late: Standing, timeout_s: float) -> Cause:
    """The cause of a run in which a task is not ready in time."""
    what = "listened on its port" if late.role is Role.PS else "opened its session"
    return _explained(
        standings,
        f"{late.task} has not {what} within policy.start_timeout_s = {timeout_s:g} s",
        "raise policy.start_timeout_s if that may take so long",
        suspect=late,
        kind="timeout",
    )


def straggler(late: Standing) -> Cause:
    """The cause of a run that ends without a worker that counts."""
    message = f"{late.task} has not trained for {late.since_s:.0f} s (its last step: {late.global_step})"
    return Cause(
        task=late.task,
        host=late.host,
        kind="hang",
        message=f"{message}, while the others waited: it {does(late)}",
        advice=f"the others' work is saved; {_advice(late)}",
        tail=_tail(late),
    )


def drain_timeout(late: Standing, bound_s: float) -> Cause:
    """The cause of a run whose evaluator does not come to an end."""
    what = f"{late.task} has not evaluated the last checkpoint within policy.evaluator_drain_s = {bound_s:g} s"
    advice = f"give EvalSpec fewer steps or raise policy.evaluator_drain_s; {_advice(late)}"
    if late.doing == "evaluate" and not late.paused:
        what += ": this evaluation never ends"
        advice = (
            "give EvalSpec(steps=...), or evaluate, a number of steps, or an input with an end (no repeat()); or raise "
            "policy.evaluator_drain_s if it only takes long"
        )
    return Cause(
        task=late.task,
        host=late.host,
        kind="timeout",
        message=f"{what}: it {does(late)}",
        advice=f"the model is trained and saved; {advice}",
        tail=_tail(late),
    )


def _explained(
    standings: Sequence[Standing], what: str, patience: str, *, suspect: Standing | None = None, kind: str = "hang"
) -> Cause:
    root = _root(standings) or suspect
    if root is None:
        doing = "; ".join(_grouped([item for item in standings if item.alive]))
        return Cause(
            task=None,
            host=None,
            kind=kind,
            message=f"{what}: {doing}" if doing else f"{what} while trainers were alive",
            advice=f"see the stacks of all tasks, in the folder `stacks` of the run; {patience}",
        )
    waiting = [item.task for item in standings if item is not root and item.alive and _waits_for(item, root)]
    who = f"{_listed(waiting)} wait{'s' if len(waiting) == 1 else ''} for {root.task}, which" if waiting else root.task
    return Cause(
        task=root.task,
        host=root.host,
        kind=kind,
        message=f"{what}: {who} {does(root)}{_also(standings, root)}",
        advice=f"{_advice(root)}; {patience}",
        tail=_tail(root),
    )


def _also(standings: Sequence[Standing], root: Standing) -> str:
    """Trainers that are busy elsewhere, and wait for nobody."""
    others = [item for item in standings if item is not root and item.role.trains and not item.finished]
    busy = [item for item in others if item.paused or item.file or item.own_frame is not None]
    same = [item.task for item in busy if does(item) == does(root)]
    rest = _grouped([item for item in busy if item.task not in same])
    more = f"; and {len(rest) - 2} more" if len(rest) > 2 else ""
    return _same(same) + _last_line(root) + "".join(f"; {words}" for words in rest[:2]) + more


def _grouped(standings: Sequence[Standing]) -> list[str]:
    """What each does; those who do the same are told together."""
    tasks: dict[str, list[str]] = {}
    for item in standings:
        tasks.setdefault(does(item), []).append(item.task)
    return [f"{first} {what}{_same(others)}" for what, (first, *others) in tasks.items()]


def _same(tasks: Sequence[str]) -> str:
    return f" (the same: {_listed(tasks)})" if tasks else ""


def _root(standings: Sequence[Standing]) -> Standing | None:
    """The task that holds up the others: who is paused, or does not serve; else who is busy with code of its own."""
    servers = [item for item in standings if item.role is Role.PS]
    trainers = [item for item in standings if item.role.trains and not item.finished]
    chief_first = sorted(trainers, key=lambda item: item.role is not Role.CHIEF)
    suspects = (
        [item for item in standings if item.raised is not None],
        [item for item in (*servers, *chief_first) if item.paused],
        [item for item in servers if not item.alive or not item.ready],
        [item for item in (*servers, *chief_first) if item.in_disk_wait],
        [item for item in (*servers, *chief_first) if item.file],
        [item for item in chief_first if item.own_frame is not None],
        [item for item in chief_first if item.missing],
        [item for item in chief_first if not item.alive],
        [
            item
            for item in chief_first
            if item.role is Role.CHIEF and any(other.waits_for is protocol.Wait.SESSION for other in trainers)
        ],
    )
    return next((found[0] for found in suspects if found), None)


def _waits_for(item: Standing, root: Standing) -> bool:
    if not item.role.trains or item.finished or item.paused or item.file or item.own_frame is not None:
        return False
    return root.role is Role.PS or root.role is Role.CHIEF or item.waits_for is protocol.Wait.BARRIER


def does(item: Standing) -> str:
    """What a task does, after its name."""
    if not item.alive:
        return "does not run"
    if item.paused:
        return f"is paused (process {item.stacks.pid if item.stacks else 0} was stopped by a signal such as SIGSTOP)"
    if item.raised is not None:
        return f"raised {told(item.raised)}, and has not ended since"
    if item.role is Role.PS and not item.ready:
        return f"is alive but has not listened for {item.since_s:.0f} s" + _at(item.own_frame)
    if item.in_disk_wait or item.file:
        waited_for = f"the file {item.file}" if item.file else "a disk or a network file system"
        return f"waits for {waited_for}" + _at(item.own_frame)
    if item.own_frame is not None:
        return f"is at {item.own_frame}" + (f": {item.own_frame.source}" if item.own_frame.source else "")
    if item.missing:
        return f"waits for variables that no task initialises: {item.missing}"
    if item.waits_for in _WAITS:
        return _WAITS[item.waits_for]
    operation = traced.operation(item.stacks.text) if item.stacks is not None else ""
    return operation or ("serves" if item.role is Role.PS else "is alive; where it waits is not known")


_WAITS = {
    protocol.Wait.GATE: "waits for the parameter servers to listen, or for the chief to begin this training",
    protocol.Wait.SESSION: "waits for the chief to initialise the variables",
    protocol.Wait.BARRIER: "waits for the other trainers to finish",
    protocol.Wait.CHECKPOINT: "waits for a checkpoint",
}


def _at(frame: Frame | None) -> str:
    if frame is None:
        return ""
    return f", it is at {frame}" + (f": {frame.source}" if frame.source else "")


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def _advice(item: Standing) -> str:
    if item.paused:
        pid = item.stacks.pid if item.stacks is not None else 0
        return f"let it go on (kill -CONT {pid} on {item.host}), and see who stopped it"
    if item.raised is not None:
        return f"correct {place(item.raised)}, and see which thread keeps the process from ending"
    if item.file:
        return (
            f"see whether {item.file} can be read on {item.host}: it may be a named pipe that nobody writes, or lie on "
            "a disk or network file system that does not answer"
        )
    if item.own_frame is not None:
        return f"see why it stays at {item.own_frame}"
    if item.missing:
        return "build the same graph in every role: the chief initialises the variables of its own graph, and no others"
    if item.in_disk_wait:
        return f"see whether the disks and network file systems of {item.host} answer"
    return f"see what it does: tflaunch logs RUN {item.task}, and the folder `stacks` of the run"


def _last_line(item: Standing) -> str:
    if item.role is not Role.PS or item.ready or item.stacks is None:
        return ""
    lines = [line for line in item.stacks.last_lines if line.strip()]
    return f"; its last line was: {lines[-1].strip()[:200]}" if lines else ""


def _tail(item: Standing) -> str:
    """The thread that decides, or what the task printed last."""
    if item.stacks is None:
        return ""
    if item.raised is not None:
        return shown(item.raised)
    inner = traced.thread_of(item.stacks.text, item.own_frame)[:_SHOWN_FRAMES]
    lines = [f"{frame}" + (f": {frame.source}" if frame.source else "") for frame in inner]
    return "\n".join(lines or item.stacks.last_lines)
