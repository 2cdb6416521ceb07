"""What tasks say of their trainings: that one begins or ends, how far it goes, and what they do beside it."""

from __future__ import annotations

from collections.abc import Iterable

from launcher import causes
from launcher.lifecycle.ends import locker
from launcher.lifecycle.over import leave_out
from launcher.lifecycle.run import Run
from launcher.lifecycle.state import TaskRecord, Training
from launcher.lifecycle.state.shape import TRAINING_USES
from launcher.lifecycle.values import LockModelDir
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.wire import protocol
from launcher.wire.roles import Role


def on_begun(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Begun)
    # The evaluator has no part in any other kind, and a session by hand has no folder that workers know.
    is_numbered = report.training.rpartition("#")[2].isdigit()
    attempt = record.attempt
    if attempt.training:  # this is the next one
        attempt.ready, attempt.global_step = False, 0
    if is_numbered:
        attempt.folders = (*attempt.folders, report.model_dir)
    attempt.training, attempt.began, attempt.finished = report.training, True, False
    if run.is_chief(record):
        _chief_begins(run, report)
        compare_folders(run, [*run.state.workers, *run.state.of_role(Role.EVALUATOR)])
        return
    compare_folders(run, [record])
    if record.state is TaskState.DRAINING and run.state.phase is Phase.TRAINING:
        run.move(record, TaskState.READY, reason="for the next training")


def _chief_begins(run: Run, report: protocol.Begun) -> None:
    former, folder = run.state.training, report.model_dir
    if former.name == "":
        run.state.training.name = report.training  # what is known of it so far is the plan's
    elif former.name != report.training:
        run.state.training = Training(name=report.training)
        run.state.global_step = 0
    if not folder or folder == run.state.trains_in:
        return
    run.state.trains_in = folder
    run.state.folders.add(folder)
    run.record(events.ModelDirKnown(path=folder))
    if folder not in run.state.generation.locked:
        run.do(LockModelDir(path=folder, task=locker(run), departed=run.state.generation.departed))


def compare_folders(run: Run, records: Iterable[TaskRecord]) -> None:
    """Fails the run whose tasks train, or evaluate, in different folders: one that has begun as many trainings as the
    chief, and names a folder for the last of them that the chief never has."""
    chiefs = run.state.chief.attempt.folders
    for record in records:
        folders = record.attempt.folders
        own = folders[-1] if folders else ""
        theirs = chiefs[len(folders) - 1] if 0 < len(folders) <= len(chiefs) else ""
        if own and theirs and own not in run.state.folders and theirs not in folders:
            run.fail(causes.model_dirs_differ(record.task.name, record.planned.host, own, theirs))


def on_ended(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Ended)
    if not run.is_chief(record):
        return
    if not report.saved and record.past.trained:
        run.notice("warning", "nothing was saved: checkpoints are off", record.task)
    end_training(run, record)


def end_training(run: Run, chief: TaskRecord) -> None:
    """Whoever comes to the chief's training now has nothing to do in it; not if it only stops, to go on later."""
    name = run.state.training.name
    only_stops = chief.state is TaskState.STOPPING or chief.attempt.restart_wanted
    if name and name not in run.state.over and not only_stops:
        run.state.over = (*run.state.over, name)


def on_doing(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Doing)
    if report.what == protocol.SERVING and record.attempt.uses in ("", protocol.TENSORFLOW):
        run.record(events.ProgramSeen(task=record.task.name, attempt=record.attempt.number, uses="server"))
    record.attempt.doing, record.attempt.doing_at = report.what, run.now
    if report.what == protocol.SERVING:
        record.attempt.listens = False  # an evaluator that waits for ever is not in the loop that can be told to end


def on_uses(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Uses)
    if report.what == protocol.TRAINING:
        leave_out(run, record)
        return
    if report.note and not any(other.attempt.uses == report.what for other in run.tasks):  # all run one program
        run.notice("warning", report.note, record.task)
    if record.attempt.uses != report.what and record.attempt.uses not in TRAINING_USES - {protocol.SESSION}:
        record.attempt.uses = report.what
        run.record(events.ProgramSeen(task=record.task.name, attempt=record.attempt.number, uses=report.what))
    if record.task.role.trains:
        run.state.uses |= {report.what}


def on_leaving(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Leaving)
    attempt = record.attempt
    attempt.leaving_at, attempt.threads, attempt.used_nothing = run.now, report.threads, report.used_nothing
    attempt.doing = ""


def on_max_steps(run: Run, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.MaxSteps)
    if report.max_steps != run.state.training.max_steps and run.is_chief(record):
        run.state.training.max_steps = report.max_steps
        run.record(events.TargetKnown(max_steps=report.max_steps))
