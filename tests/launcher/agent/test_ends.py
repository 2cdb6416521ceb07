"""Whoever dies: no process of the run is left, and what may go on goes on."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.agent.host import lock, sweep
from launcher.agent.system import processes
from launcher.wire import protocol
from tests.launcher.agent.harness import Host, alive, kill, until

MakeHost = Callable[..., Host]


def busy(host: Host, tmp_path: Path) -> None:
    """Tasks with grandchildren of every kind, ignoring TERM."""
    for task in ("ps:0", "worker:0"):
        mark = tmp_path / f"{task}-{len(list(tmp_path.iterdir()))}"
        host.start(task, "ignore-term", "child", "child-setsid", f"touch={mark}", "hang")
        until(mark.exists, f"{task} with its children")
    assert len(host.members) >= 8


def test_killed_keeper_leaves_nothing(host: Host, tmp_path: Path) -> None:
    busy(host, tmp_path)
    kill(host.keeper)
    until(lambda: not host.members, "the end of everything")
    assert host.is_gone


def test_killed_agent_is_replaced_its_tasks_die_and_its_ports_stay(host: Host, tmp_path: Path) -> None:
    ports = host.reserve("ps:0")
    host.send(protocol.LockModelDir(path=str(tmp_path / "model")))
    host.wait(protocol.Locked)
    busy(host, tmp_path)
    first = host.welcome
    assert first is not None
    tasks = set(host.members) - host.own
    kill(first.pid)
    host.wait_closed()
    host.events.clear()
    host.connect()
    assert host.welcome is not None and host.welcome.incarnation != first.incarnation
    assert not [pid for pid in tasks if alive(pid)]
    assert host.reserve("ps:0") == ports
    host.send(protocol.LockModelDir(path=str(tmp_path / "model")))
    assert host.wait(protocol.Locked).note == ""


def test_output_of_tasks_that_died_with_their_agent_still_arrives(host: Host, tmp_path: Path) -> None:
    host.start("worker:0", "print=last words", f"touch={tmp_path}/done", "hang")
    until((tmp_path / "done").exists, "the task")
    assert host.welcome is not None
    kill(host.welcome.pid)
    host.wait_closed()
    host.events.clear()
    host.connect()
    assert host.wait_output("worker-0.1", 11) == b"last words\n"


def test_killed_relays_lose_nothing(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host().connect()
    host.start("worker:0", f"wait-file={tmp_path}/go", "print=one", "exit=0")
    host.started("worker:0")
    host.disconnect()
    (tmp_path / "go").touch()
    host.connect()
    assert host.wait(protocol.Exited).exit_code == 0
    assert host.wait_output("worker-0.1", 4) == b"one\n"


def daemons(mark: str) -> list[int]:
    """Processes that bear the mark on their command line, which is all that tells whose they are."""
    return [pid for pid in processes.pids() if processes.command(pid).endswith(f" {mark}") and alive(pid)]


def with_daemons(host: Host, count: int = 9) -> str:
    """A task that has forked twice into sessions of their own and empty environments; what marks its daemons."""
    mark = f"86400.{secrets.randbelow(10**9):09}"
    words = f"for i in $(seq {count}); do (setsid env -i sleep {mark} &); done; exec sleep 1000"
    host.start("chief:0", argv=("sh", "-c", words))
    until(lambda: len(daemons(mark)) == count, "the daemons")
    return mark


@pytest.mark.parametrize("busily", [True, False])
def test_keeper_and_agent_killed_in_one_instant_leave_nothing(host: Host, tmp_path: Path, busily: bool) -> None:
    if busily:
        busy(host, tmp_path)
    mark = with_daemons(host)
    assert host.welcome is not None
    os.kill(host.welcome.pid, signal.SIGSTOP)  # so that it cannot see its keeper die first
    kill(host.keeper, host.welcome.pid)
    until(lambda: not host.members and not daemons(mark), "the end of everything")
    assert host.is_gone


def test_what_is_killed_in_one_instant_with_its_guard_is_swept(host: Host, tmp_path: Path) -> None:
    busy(host, tmp_path)
    tasks = [host.started(task).pid for task in ("ps:0", "worker:0")]
    own = host.own
    for pid in own:
        os.kill(pid, signal.SIGSTOP)
    kill(*own)
    until(lambda: not any(alive(pid) for pid in tasks), "the tasks, which name the agent as what they die with")
    sweep.tidy(kill=True)  # a run that another test has begun meanwhile may have done so already; looking: test_looking
    assert not host.members and host.is_gone


def test_nothing_of_a_live_run_is_tidied_away(make_host: MakeHost) -> None:
    host = make_host().connect()
    sweep.tidy(kill=True)
    assert host.run("worker:0", "exit=0").exit_code == 0 and not host.is_gone


def test_a_sweep_spares_the_one_who_sweeps_and_other_runs(make_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = make_host().connect(), make_host().connect()
    assert sweep.sweep(mine.options.run)
    assert not mine.members
    assert len(other.members) == 3


def test_the_lease_stops_tasks_in_order_and_ends_everything(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(lease_s=0.2, grace_s=60.0).connect()  # each ends by TERM, however busy the machine is
    order = tmp_path / "order"
    note = f"trap 'echo $TFLAUNCH_TASK >> {order}; exit' TERM"
    trap = f"{note}; touch {tmp_path}/$TFLAUNCH_TASK; while :; do sleep 0.01; done"
    for task in ("ps:0", "evaluator:0", "worker:0", "chief:0"):
        host.start(task, argv=("sh", "-c", trap))
        until((tmp_path / task).exists, task)
    members = host.members
    host.disconnect()
    until(lambda: not any(alive(pid) for pid in members), "the end of everything")
    said = order.read_text().split()
    assert {*said[:2]} == {"worker:0", "chief:0"}
    assert said[2:] == ["evaluator:0", "ps:0"]
    assert host.is_gone


def test_a_connection_renews_the_lease(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(lease_s=1.0).connect()
    first = host.welcome
    host.start("worker:0", "hang")
    pid = host.started("worker:0").pid
    for _ in range(5):
        host.connect()
    assert first is not None and host.welcome is not None
    assert (host.welcome.incarnation, host.welcome.received) == (first.incarnation, 1)
    assert alive(pid)


def test_a_supervisor_who_has_not_heard_us_renews_no_lease(make_host: MakeHost, tmp_path: Path) -> None:
    """He speaks all the time; what we say may be lost."""
    host = make_host(lease_s=3.0, silence_s=1.0).connect()
    assert host.welcome is not None
    host.start("worker:0", f"touch={tmp_path}/runs", "hang")
    until((tmp_path / "runs").exists, "the task")
    began = time.monotonic()
    while time.monotonic() < began + 4.0:  # one lease and more
        host.send(protocol.Heard(at=time.clock_gettime(time.CLOCK_BOOTTIME)))
        host.pump(0.1)
    assert host.link is not None and not host.bodies(protocol.Exited)
    until(lambda: _pings_in_vain(host), "the end of the lease")
    until(lambda: not host.members, "the end of everything")


def _pings_in_vain(host: Host) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        host.send(protocol.Ping())
        host.pump(0.1)
    return host.link is None


def test_where_the_run_goes_on_elsewhere_the_lease_ends_without_grace_and_the_chief_saves_before(
    make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host(lease_s=3.0, grace_s=60.0, silence_s=1.0).connect()
    host.send(protocol.LeaseTerms(grace=False))
    assert not host.wait(protocol.LeaseAgreed).grace
    host.start("chief:0", "ignore-term", f"touch={tmp_path}/runs", "save", f"touch={tmp_path}/saved", "hang")
    host.start("ps:0", "ignore-term", "hang")
    until((tmp_path / "runs").exists, "the task")
    members = host.members
    host.disconnect()
    until(lambda: not any(alive(pid) for pid in members), "the end of everything")
    assert (tmp_path / "saved").exists(), "halfway through the lease"


def test_finish_leaves_nothing(host: Host, tmp_path: Path) -> None:
    busy(host, tmp_path)
    assert host.welcome is not None
    tasks = set(host.members) - host.own
    model = tmp_path / "model"
    host.send(protocol.LockModelDir(path=str(model)), protocol.Finish())
    host.wait_closed()
    assert not [pid for pid in tasks if alive(pid)]
    until(lambda: not host.members, "guard, keeper and agent")
    assert host.is_gone
    assert list(model.iterdir()) == []


def test_a_model_dir_is_refused_while_another_run_holds_it(make_host: MakeHost, tmp_path: Path) -> None:
    model = str(tmp_path / "deep" / "model")
    first, second = make_host().connect(), make_host().connect()
    first.send(protocol.LockModelDir(path=model))
    assert first.wait(protocol.Locked).note == ""
    second.send(protocol.LockModelDir(path=model))
    message = second.wait(protocol.Refused).message
    assert first.welcome is not None
    for fact in (first.options.run, first.welcome.host, str(first.welcome.pid), "stop that run"):
        assert fact in message
    first.send(protocol.Finish())
    first.wait_closed()
    second.send(protocol.LockModelDir(path=model))
    assert second.wait(protocol.Locked).note == ""


def test_a_stale_lock_is_taken_over_and_named(make_host: MakeHost, tmp_path: Path) -> None:
    first, second = make_host().connect(), make_host().connect()
    first.send(protocol.LockModelDir(path=str(tmp_path)))
    first.wait(protocol.Locked)
    assert first.welcome is not None
    holders = first.keeper, first.welcome.pid
    kill(*holders)
    # A dying process loses its environment, by which members are known, before its files and their locks.
    until(lambda: not any(map(alive, holders)), "the first run's end")
    second.send(protocol.LockModelDir(path=str(tmp_path)))
    assert first.options.run in second.wait(protocol.Locked).note
    assert json.loads((tmp_path / ".tflaunch.lock").read_text())["run"] == second.options.run


def test_a_lock_holds_although_the_folder_is_removed_and_made_again(make_host: MakeHost, tmp_path: Path) -> None:
    model = tmp_path / "model"
    first, second = make_host().connect(), make_host().connect()
    first.send(protocol.LockModelDir(path=str(model)))
    first.wait(protocol.Locked)
    shutil.rmtree(model)
    second.send(protocol.LockModelDir(path=str(model)))
    assert f"in use by run {first.options.run}" in second.wait(protocol.Refused).message
    assert "was emptied" in first.wait(protocol.Locked, lambda locked: locked.emptied).note
    assert lock.holder(str(model))["run"] == first.options.run, "other hosts see it again"
    first.send(protocol.Finish())
    first.wait_closed()
    second.send(protocol.LockModelDir(path=str(model)))
    second.wait(protocol.Locked)


def test_another_host_of_the_run_sees_the_lock_and_only_that_of_the_run(make_host: MakeHost, tmp_path: Path) -> None:
    one, model = make_host().connect(), str(tmp_path / "model")
    one.send(protocol.SeeModelDir(path=model), protocol.LockModelDir(path=model))
    one.wait(protocol.Locked)
    assert one.wait(protocol.Seen).path == model
    (tmp_path / "other").mkdir()
    one.send(protocol.SeeModelDir(path=str(tmp_path / "other")))
    refused = one.wait(protocol.Refused)
    assert (refused.command, str(tmp_path / "other") in refused.message) == ("see_model_dir", True)


def test_a_folder_that_cannot_be_locked_is_let_through_with_a_note(host: Host) -> None:
    host.send(protocol.LockModelDir(path="gs://bucket/model"))
    assert "cannot be locked" in host.wait(protocol.Locked).note


def test_a_model_dir_that_cannot_be_made_is_refused(host: Host) -> None:
    host.send(protocol.LockModelDir(path="/proc/model"))
    assert "cannot use /proc/model as model_dir" in host.wait(protocol.Refused).message


def test_everything_is_private(host: Host) -> None:
    host.start("worker:0", "print=x", "hang")
    host.wait_output("worker-0.1", 2)
    folder = host.home
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    assert {path.name for path in files} >= {"agent.sock", "task.sock", "worker-0.1"}
    assert not [path for path in files if path.stat().st_mode & 0o077]
    assert os.getuid() == folder.stat().st_uid
