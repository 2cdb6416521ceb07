"""What it costs that tasks go elsewhere, come or leave: for how long who trained nothing, and what is trained again.

Trainers report steps about twice a second. A gap counts from twice as long as they usually are apart, and what is
usual is taken off.
"""

from __future__ import annotations

from launcher.lifecycle.run import Run
from launcher.lifecycle.state import Account, TaskRecord
from launcher.lifecycle.state.roster import Is
from launcher.record.events import MoveOver, Scaled
from launcher.record.states import TaskState
from launcher.wire import protocol
from launcher.wire.protocol import changed
from launcher.wire.roles import TRAINERS, TaskId

_USUAL_S = 0.5
_COUNTING_S = 3.0  # the input is counted about once a second


def begin(run: Run, *, began_at: float) -> Account:
    """Counts from now on."""
    account = Account(began_at=began_at, duplicates=run.state.duplicates)
    for record in run.each(Is.TRAINS, *TRAINERS):
        if record.attempt.stepped_at > 0:
            account.seen_at[record.task] = record.attempt.stepped_at
            account.usual_s[record.task] = max(_USUAL_S, record.attempt.usual_s)
    run.state.accounts.append(account)
    return account


def stepped(run: Run, record: TaskRecord) -> None:
    """A trainer has trained, and says so for the first time since ``attempt.stepped_at``."""
    attempt = record.attempt
    if attempt.stepped_at > 0:
        gap_s = run.now - attempt.stepped_at
        attempt.usual_s = gap_s if not attempt.usual_s else 0.8 * attempt.usual_s + 0.2 * gap_s
    for account in run.state.accounts:
        if account.event is None and record.task in account.seen_at:
            _count(account, record.task, run.now)


def _count(account: Account, task: TaskId, now: float) -> None:
    gap_s, usual_s = now - account.seen_at[task], account.usual_s[task]
    if gap_s > 2 * usual_s:
        account.idle_s[task] = account.idle_s.get(task, 0.0) + gap_s - usual_s
    account.seen_at[task] = now


def end(run: Run, account: Account, event: MoveOver | Scaled) -> None:
    """All train that are to. ``event`` is recorded, with the costs, when these are known."""
    for task in account.seen_at:
        record = run.state.tasks[task]
        if not (record.state.final or record.attempt.finished or record.state is TaskState.STOPPING):
            _count(account, task, run.now)
    account.event, account.over_at = event, run.now
    account.told_by = run.now + (0.0 if account.duplicates is None else _COUNTING_S)


def on_input(run: Run, report: protocol.InputState) -> None:
    """The input was counted: what ended before that can be told."""
    run.state.duplicates = report.duplicates
    for account in run.state.accounts:
        if run.now > account.over_at:
            account.told_by = run.now


def tell(run: Run) -> None:
    """Records each whose costs are known, and each when the run ends."""
    ending = not run.any(Is.OPEN, *TRAINERS)
    for account in [item for item in run.state.accounts if item.event is not None]:
        if account.event is None or not (ending or run.now >= account.told_by):
            continue
        run.state.accounts.remove(account)
        again = None
        if account.duplicates is not None and run.state.duplicates is not None:
            again = max(0, run.state.duplicates - account.duplicates)
        idle_s = {task.name: round(seconds, 3) for task, seconds in sorted(account.idle_s.items())}
        run.record(changed(account.event, idle_s=idle_s, examples_again=again))


def forget(run: Run, account: Account) -> None:
    """It will not be over."""
    if account in run.state.accounts:
        run.state.accounts.remove(account)


def next_due(run: Run) -> float:
    """When one is told at the latest."""
    return min((account.told_by for account in run.state.accounts), default=float("inf"))
