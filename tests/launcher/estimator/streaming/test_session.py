"""Trainers and their queue without TensorFlow: who trains what, and what is counted, when somebody is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from launcher.estimator.streaming.queue import holder as holders
from launcher.estimator.streaming.queue import journal as journals
from launcher.estimator.streaming.queue import queue as queues
from launcher.estimator.streaming.queue import upkeep
from launcher.estimator.streaming.queue.client import RolledBackError
from launcher.estimator.streaming.queue.session import Sitting
from launcher.estimator.streaming.reading.leases import Lease, Pause
from launcher.estimator.streaming.tools.audit import read_audit
from tests.launcher.estimator.streaming.memory import Cluster, NoSession, step, take

SESSION = NoSession()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "journal", shards=4, rows=10)
    yield cluster
    cluster.close()


def opened(cluster: Cluster, task: str) -> Sitting:
    sitting = cluster.sitting(task)
    sitting.open(SESSION)
    return sitting


def wait_until(test: Callable[[], bool]) -> None:
    ends_at = monotonic() + 20
    while not test():
        assert monotonic() < ends_at
        sleep(0.01)


def train_rest(cluster: Cluster, sitting: Sitting) -> list[str]:
    """Train everything that can be leased, to the end of the input."""
    holder, paths = sitting.holder, []
    assert holder is not None
    while (lease := holder.take()) is not None:
        if isinstance(lease, Lease):
            rows = np.flatnonzero(~lease.trained.has(np.arange(cluster.rows))).tolist()
            step(sitting, {lease.id: rows})
            holder.ended(lease.id, len(rows))
            paths.append(lease.shard.path)
    return paths


def train_together(cluster: Cluster, *sittings: Sitting) -> list[str]:
    """Each of them trains the rest as fast as it can."""
    with ThreadPoolExecutor() as pool:
        return sorted(path for paths in pool.map(lambda each: train_rest(cluster, each), sittings) for path in paths)


def save(cluster: Cluster, chief: Sitting) -> None:
    chief.snapshot(SESSION)
    chief.saved(1)


def test_a_lease_is_acknowledged_when_it_is_read_to_its_end_and_all_its_rows_are_trained(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    lease = take(chief)
    assert chief.holder is not None
    step(chief, {lease.id: [0, 1, 2]})
    chief.holder.ended(lease.id, 5)
    chief.holder.flush()
    assert cluster.cells.queue.counts.tickets == 0
    step(chief, {lease.id: [3, 4]})
    wait_until(lambda: cluster.cells.queue.counts.tickets == 1)
    assert cluster.cells.queue.counts.examples == 5


def test_a_shard_without_rows_is_done_when_it_is_read(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    assert chief.holder is not None
    chief.holder.ended(take(chief).id, 0)
    wait_until(lambda: cluster.cells.queue.counts.tickets == 1)


def test_a_killed_worker_comes_back_and_its_rows_are_counted(cluster: Cluster) -> None:
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    lease = take(worker)
    step(worker, {lease.id: [0, 1, 2, 3]})
    again = opened(cluster, "worker:0")  # another process of the same task
    queue = cluster.cells.queue
    assert (queue.counts.duplicates, queue.counts.returned >= 1) == (4, True)
    assert train_together(cluster, again, chief) == ["s0", "s1", "s2", "s3"]
    chief.finish()
    save(cluster, chief)
    audit = read_audit(cluster.folder)
    assert audit.duplicates == cluster.cells.queue.counts.duplicates == 4
    assert len(audit.trained) == 40


def test_a_worker_that_never_comes_back_loses_its_shards_to_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "journal", shards=4, rows=10, timeout_s=0.6)
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    lease = take(worker)
    step(worker, {lease.id: [0, 1]})
    assert worker.holder is not None
    worker.holder._contact = lambda: None  # type: ignore[method-assign]  # it is stopped, as by SIGSTOP
    assert lease.shard.path in train_rest(cluster, chief)
    wait_until(lambda: cluster.cells.queue.is_over)
    assert cluster.cells.queue.counts.duplicates == 2

    # It wakes up, trains what it has, and learns that this was in vain.
    step(worker, {lease.id: [2, 3, 4]})
    del worker.holder._contact  # type: ignore[method-assign]
    wait_until(lambda: worker.holder is not None and worker.holder.failure is not None)
    with pytest.raises(RolledBackError, match="no sign of life"):
        worker.holder.wait_for_input(lambda: False)
    worker.open(SESSION)
    assert cluster.cells.queue.counts.duplicates == 5
    cluster.close()


def test_a_chief_that_was_stopped_itself_takes_leases_from_nobody(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    lease, lost_s = take(chief), [0.0]
    step(chief, {lease.id: list(range(5))})
    for module in (holders, upkeep):
        monkeypatch.setattr(module, "monotonic", lambda: monotonic() + lost_s[0])
    chief.holder._contacting.acquire()
    lost_s[0] = 2 * cluster.timeout_s
    worker.holder.flush()  # who was not stopped beats meanwhile
    chief.holder._contacting.release()
    chief.holder.flush()
    step(chief, {lease.id: list(range(5, cluster.rows))})
    chief.holder.ended(lease.id, cluster.rows)
    train_together(cluster, worker, chief)
    chief.finish()
    assert (cluster.cells.queue.counts.examples, cluster.cells.queue.counts.duplicates) == (40, 0)


def test_a_restore_that_a_worker_does_not_notice_takes_its_acknowledgement(cluster: Cluster) -> None:
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    lease = take(worker)
    step(worker, {lease.id: [0, 1, 2]})
    assert worker.holder is not None
    worker.holder.flush()  # the tag that proves these three to be finished before the snapshot
    save(cluster, chief)
    step(worker, {lease.id: [3, 4, 5, 6]})

    cluster.cells.restore()
    chief = opened(cluster, "chief:0")
    step(worker, {lease.id: [7, 8, 9]})
    worker.holder.ended(lease.id, 10)
    wait_until(lambda: worker.holder is not None and worker.holder.failure is not None)
    queue = cluster.cells.queue
    assert (queue.counts.tickets, queue.counts.duplicates, queue.held_by(worker.holder.id)) == (0, 3, ())
    with pytest.raises(RolledBackError):
        worker.holder.wait_for_input(lambda: False)

    worker.open(SESSION)
    train_together(cluster, worker, chief)
    chief.finish()
    save(cluster, chief)
    audit = read_audit(cluster.folder)
    assert len(audit.trained) == 40
    assert audit.duplicates == cluster.cells.queue.counts.duplicates == 3
    assert audit.lost_steps >= 1


def test_while_the_queue_is_closed_nobody_gets_in(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    cluster.cells.restore()
    wait_until(lambda: chief.holder is not None and chief.holder.failure is not None)
    assert isinstance(chief.holder and chief.holder.failure, RolledBackError)


def given_back(cluster: Cluster, task: str, rows: list[int]) -> str:
    """A worker trains some rows of the first shard that it gets, and ends; the shard's path."""
    worker = opened(cluster, task)
    lease = take(worker)
    step(worker, {lease.id: rows})
    worker.finish()
    assert worker.holder is not None and cluster.cells.queue.held_by(worker.holder.id) == ()
    return lease.shard.path


def counts_of(cluster: Cluster) -> tuple[int, int]:
    return cluster.cells.queue.counts.examples, cluster.cells.queue.counts.duplicates


def test_a_trainer_that_ends_early_gives_back_what_it_has_not_trained(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    path = given_back(cluster, "worker:0", [7, 0, 1])
    assert counts_of(cluster) == (3, 0)
    assert given_back(cluster, "worker:1", [2, 9]) == path
    assert counts_of(cluster) == (5, 0)
    assert [len(ticket.trained) > 0 for ticket in cluster.cells.queue.pending].count(True) == 1
    save(cluster, chief)
    cluster.cells.restore()
    again = opened(cluster, "chief:0")
    train_rest(cluster, again)
    again.finish()
    save(cluster, again)
    audit = read_audit(cluster.folder)
    assert set(audit.trained.values()) == {1} and len(audit.trained) == 40
    assert counts_of(cluster) == (40, 0)


def test_where_it_is_lost_which_rows_are_trained_they_are_trained_again_and_counted(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    path = given_back(cluster, "worker:0", [3, 4, 5])
    cluster.shelf.clear()
    assert given_back(cluster, "worker:1", [3]) == path
    assert counts_of(cluster) == (1, 3)
    cluster.shelf.clear()
    train_rest(cluster, chief)
    chief.finish()
    assert counts_of(cluster) == (40, 4)


def test_where_it_cannot_be_written_they_are_trained_again_and_counted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    chief = opened(cluster, "chief:0")

    def full(name: str, text: str) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(cluster.shelf, "keep", full)
    given_back(cluster, "worker:0", [3, 4, 5])
    assert counts_of(cluster) == (0, 3)
    train_rest(cluster, chief)
    chief.finish()
    assert counts_of(cluster) == (40, 3)


def test_a_reader_that_leaves_nothing_out_trains_rows_again_and_they_are_counted(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    path = given_back(cluster, "worker:0", [3, 4, 5])
    lease = take(chief)
    while lease.shard.path != path:
        lease = take(chief)
    step(chief, {lease.id: list(range(10))})
    assert chief.holder is not None
    chief.holder.ended(lease.id, 10)
    wait_until(lambda: counts_of(cluster) == (10, 3))


def test_a_chief_that_has_finished_leases_nothing_in_a_new_session(cluster: Cluster) -> None:
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    save(cluster, chief)
    chief.finish()
    cluster.cells.restore()
    chief.open(SESSION)
    wait_until(lambda: worker.holder is not None and worker.holder.failure is not None)
    worker.open(SESSION)
    assert len(train_rest(cluster, worker)) == 4
    worker.finish()
    wait_until(lambda: cluster.cells.queue.is_over)
    chief.check_end()


def test_a_roll_back_after_the_end_is_an_error(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    save(cluster, chief)
    train_rest(cluster, chief)
    chief.finish()
    chief.check_end()
    cluster.cells.restore()
    chief.open(SESSION)
    with pytest.raises(RolledBackError, match="start again"):
        chief.check_end()
    again = opened(cluster, "chief:0")
    assert len(train_rest(cluster, again)) == 4


def test_a_chief_that_comes_back_to_live_variables_goes_on(cluster: Cluster) -> None:
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    token = cluster.cells.queue.token
    taken = take(worker)
    opened(cluster, "chief:0")
    assert cluster.cells.queue.token == token
    step(worker, {taken.id: list(range(10))})
    assert worker.holder is not None
    worker.holder.ended(taken.id, 10)
    wait_until(lambda: cluster.cells.queue.counts.tickets == 1)
    assert chief.holder is not None
    wait_until(lambda: chief.holder is not None and chief.holder.failure is not None)


def test_when_the_parameter_server_is_gone_the_trainer_is_told(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    cluster.cells.fails = ConnectionError("gone")
    wait_until(lambda: chief.holder is not None and chief.holder.failure is not None)
    assert chief.holder is not None
    with pytest.raises(ConnectionError, match="gone"):
        chief.holder.wait_for_input(lambda: False)
    with pytest.raises(ConnectionError, match="gone"):
        chief.finish()
    cluster.cells.fails = None


def test_waiting_for_input_ends_when_somebody_says_so(cluster: Cluster) -> None:
    chief, worker = opened(cluster, "chief:0"), opened(cluster, "worker:0")
    train_together(cluster, chief, worker)
    assert worker.holder is not None
    assert not worker.holder.wait_for_input(lambda: False)


def test_news_are_acknowledgements_and_no_signs_of_life(cluster: Cluster) -> None:
    chief = opened(cluster, "chief:0")
    assert chief.holder is not None
    wait_until(lambda: len(cluster.cells.queue.held) == 2)
    save(cluster, chief)
    assert not chief.has_news(SESSION)
    lease = take(chief)
    step(chief, {lease.id: list(range(10))})
    chief.holder.ended(lease.id, 10)
    wait_until(lambda: cluster.cells.queue.counts.tickets == 1)
    assert chief.has_news(SESSION)


def test_a_checkpoint_of_a_new_session_waits_for_nothing_in_the_lost_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in a session whose parameter server has left may never return."""
    chief, lost, new, stuck, over = cluster.sitting("chief:0"), NoSession(), NoSession(), Event(), Event()
    read = cluster.cells.read

    def never(session: Any) -> bytes:
        if session is lost and chief.holder is not None:
            stuck.set()
            over.wait()
        return read(session)

    monkeypatch.setattr(cluster.cells, "read", never)
    chief.open(lost)
    assert stuck.wait(20)
    before = cluster.cells.queue.snapshots
    with ThreadPoolExecutor() as pool:
        try:
            pool.submit(chief.snapshot, new).result(20)
        finally:
            over.set()
    assert cluster.cells.queue.snapshots == before + 1


def test_a_journal_that_is_no_audit_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_COMPACT_BYTES", 2000)
    journal = journals.Journal(tmp_path, "worker-0-a", "worker:0", "t")
    for number in range(300):
        journal.step({number // 10: 3})
        journal.tag(journal.steps, number // 50)
        journal.compact({number // 10, number // 10 - 1})
    told = journals.read(journal.path)
    assert journal.path.stat().st_size < 4000
    assert told.rows(slice(None))[29] == 30
    assert told.rows(slice(told.finished_before(6)))[29] == 30
    assert told.finished_before(4) < len(told.steps)


def test_small_shards_are_leased_many_at_once_and_large_ones_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a contact with the parameter server costs is not paid for each of them."""
    cluster = Cluster(tmp_path, shards=1000, rows=5)
    trainers: list[Any] = []
    swaps: list[int] = []
    swap = cluster.cells.swap

    def slow_swap(session: Any, expected: bytes, new: bytes, *, saves: bool = False) -> bool:
        """Takes as long as the trainer needs for all that it has, until it waits for more."""
        while trainers and (trainers[0].holder._available or not trainers[0].holder._taking):
            sleep(0.0005)
        swaps.append(len(queues.decode(new).held))
        return swap(session, expected, new, saves=saves)

    monkeypatch.setattr(cluster.cells, "swap", slow_swap)
    chief = opened(cluster, "chief:0")
    trainers.append(chief)
    assert chief.holder is not None
    first = take(chief)
    assert max(swaps) <= 3
    for number in range(1000):
        lease = first if number == 0 else take(chief)
        chief.holder.ended(lease.id, 5)
        step(chief, {lease.id: list(range(5))})
    trainers.clear()
    chief.finish()
    assert cluster.cells.queue.counts.tickets == 1000 and cluster.cells.queue.is_over
    assert len(swaps) < 100
    cluster.close()


def test_at_the_most_leases_what_was_read_is_handed_on_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, shards=300, rows=5)
    chief = opened(cluster, "chief:0")
    assert chief.holder is not None
    held = [take(chief) for _ in range(128)]
    assert chief.holder.take() is Pause.NOTHING_NOW
    for lease in held:
        chief.holder.ended(lease.id, 5)
        step(chief, {lease.id: list(range(5))})
    assert take(chief).id not in {lease.id for lease in held}
    cluster.close()


def test_of_few_large_shards_each_trainer_has_one_and_those_of_an_epoch_come_first(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, shards=3, rows=50_000, epochs=4)
    cluster.trainers = 3
    trainers = [opened(cluster, task) for task in ("chief:0", "worker:0", "worker:1")]
    for epoch in range(4):
        leases = [take(trainer) for trainer in trainers]
        assert [lease.epoch for lease in leases] == [epoch] * 3
        for trainer, lease in zip(trainers, leases, strict=True):
            assert trainer.holder is not None
            assert trainer.holder.take(opened=1) is Pause.NOTHING_NOW
            trainer.holder.flush()
            trainer.holder.ended(lease.id, 50_000)  # its rows wait in a shuffle buffer
        assert len(cluster.cells.queue.held) == 3 * (epoch + 1)
    cluster.close()
