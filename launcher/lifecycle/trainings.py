"""What tasks say of their trainings: that one begins or ends, how far it goes, and what they do beside it."""

from __future__ import annotations

from launcher import causes
from launcher.lifecycle.draft import Draft
from launcher.lifecycle.shape import TRAINING_USES
from launcher.lifecycle.state import TaskRecord, Training
from launcher.lifecycle.values import LockModelDir
from launcher.record import events
from launcher.record.states import Phase, TaskState
from launcher.wire import protocol
from launcher.wire.roles import Role


def on_begun(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Begun)
    # The evaluator has no part in any other kind, and a session by hand has no folder that workers know.
    is_numbered = report.training.rpartition("#")[2].isdigit()
    record = draft.update(
        record,
        training=report.training,
        folders=(*record.folders, report.model_dir) if is_numbered else record.folders,
        began=True,
        finished=False,
        ready=record.ready and not record.training,
        global_step=0 if record.training else record.global_step,
    )
    if draft.is_chief(record):
        _chief_begins(draft, report)
    compare_folders(draft)
    if draft.is_chief(record):
        return
    if record.state is TaskState.DRAINING and draft.state.phase is Phase.TRAINING:
        draft.move(record, TaskState.READY, reason="for the next training")


def _chief_begins(draft: Draft, report: protocol.Begun) -> None:
    former, folder = draft.state.training, report.model_dir
    if former.name == "":
        draft.training(name=report.training)  # what is known of it so far is the plan's
    elif former.name != report.training:
        draft.set(training=Training(name=report.training), global_step=0)
    if not folder or folder == draft.state.trains_in:
        return
    draft.set(trains_in=folder, folders=draft.state.folders | {folder})
    draft.record(events.ModelDirKnown(path=folder))
    if folder not in draft.state.locked:
        draft.do(LockModelDir(path=folder))


def compare_folders(draft: Draft) -> None:
    """Fails the run whose tasks train, or evaluate, in different folders: one that has begun as many trainings as the
    chief, and names a folder for the last of them that the chief never has."""
    chief = draft.chief
    for record in (*draft.workers, *draft.of_role(Role.EVALUATOR)):
        count = len(record.folders)
        own = record.folders[-1] if count else ""
        theirs = chief.folders[count - 1] if 0 < count <= len(chief.folders) else ""
        if own and theirs and own not in draft.state.folders and theirs not in record.folders:
            draft.fail(causes.model_dirs_differ(record.task.name, record.planned.host, own, theirs))


def on_ended(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Ended)
    if not draft.is_chief(record):
        return
    if not report.saved and record.trained:
        draft.notice("warning", "nothing was saved: checkpoints are off", record.task)
    end_training(draft, record)


def end_training(draft: Draft, chief: TaskRecord) -> None:
    """Whoever comes to the chief's training now has nothing to do in it; not if it only stops, to go on later."""
    name = draft.state.training.name
    if name and name not in draft.state.over and chief.state is not TaskState.STOPPING and not chief.restart_wanted:
        draft.set(over=(*draft.state.over, name))


def on_doing(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Doing)
    if report.what == protocol.SERVING and record.uses in ("", protocol.TENSORFLOW):
        draft.record(events.ProgramSeen(task=record.task.name, attempt=record.attempt, uses="server"))
    draft.update(record, doing=report.what, doing_at=draft.now)


def on_uses(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Uses)
    if report.note and not any(other.uses == report.what for other in draft.tasks.values()):  # all run one program
        draft.notice("warning", report.note, record.task)
    if record.uses != report.what and record.uses not in TRAINING_USES - {protocol.SESSION}:
        draft.update(record, uses=report.what)
        draft.record(events.ProgramSeen(task=record.task.name, attempt=record.attempt, uses=report.what))
    if record.task.role.trains:
        draft.set(uses=draft.state.uses | {report.what})


def on_leaving(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.Leaving)
    used_nothing = report.used_nothing
    draft.update(record, leaving_at=draft.now, threads=report.threads, used_nothing=used_nothing, doing="")


def on_max_steps(draft: Draft, record: TaskRecord, report: protocol.Message) -> None:
    assert isinstance(report, protocol.MaxSteps)
    if report.max_steps != draft.state.training.max_steps and draft.is_chief(record):
        draft.training(max_steps=report.max_steps)
        draft.record(events.TargetKnown(max_steps=report.max_steps))
