"""Runs that never were, for the views; ``python -m tests.launcher.views.console_demo --tasks 100`` shows one."""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from launcher.record import events as ev
from launcher.record.runs import RunFolder
from launcher.record.view import RunView
from launcher.views.console import REFRESH_S, open_console
from launcher.views.summary import summary
from launcher.wire.roles import Role, TaskId

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


def cluster(count: int) -> list[TaskId]:
    """``count`` tasks: a chief, an evaluator, a few parameter servers, and workers."""
    servers = max(1, count // 25)
    workers = count - servers - 2
    return sorted(
        [TaskId(Role.CHIEF, 0), TaskId(Role.EVALUATOR, 0)]
        + [TaskId(Role.PS, index) for index in range(servers)]
        + [TaskId(Role.WORKER, index) for index in range(workers)]
    )


class Story:
    """The events of one synthetic run: start, training, a worker killed and back, one failing for good at the end."""

    def __init__(self, count: int, *, seconds: int = 60, max_steps: int | None = 20_000, hosts: int = 1) -> None:
        self.tasks = cluster(count)
        self.seconds = seconds
        self.max_steps = max_steps
        self.hosts = [f"node{number + 1:02}" for number in range(hosts)]
        self.random = random.Random(7)
        self.n = 0
        self.attempts = dict.fromkeys(self.tasks, 1)
        self.trainers = [task for task in self.tasks if task.role.trains]
        self.done = dict.fromkeys(self.trainers, 0)
        self.step = self.saved = 0
        self.victim = self.trainers[-1]

    def host(self, task: TaskId) -> str:
        return self.hosts[self.tasks.index(task) % len(self.hosts)]

    def next(self) -> int:
        self.n += 1
        return self.n

    def at(self, second: float, event: ev.RunEvent) -> ev.Recorded:
        return ev.Recorded(n=0, at=START + timedelta(seconds=second), event=event)

    def change(self, second: float, task: TaskId, state: str, **more: object) -> ev.Recorded:
        attempt = self.attempts[task]
        fields = {"pid": 20_000 + 10 * self.tasks.index(task) + attempt, "host": self.host(task), **more}
        return self.at(second, ev.TaskChanged(task=task.name, attempt=attempt, state=state, **fields))  # type: ignore[arg-type]

    def tell(self) -> Iterator[ev.Recorded]:
        """All events in order of time, one run of ``seconds``."""
        for recorded in self._start():
            yield replace(recorded, n=self.next())
        for second in range(6, self.seconds):
            for recorded in sorted(self._second(second), key=lambda each: each.at):
                yield replace(recorded, n=self.next())
        for recorded in self._end():
            yield replace(recorded, n=self.next())

    def _start(self) -> Iterator[ev.Recorded]:
        yield self.at(
            0,
            ev.RunStarted(
                run="ctr-nightly-20260301T120000Z", name="ctr-nightly", pid=4242, host="node01", version="0.1.0",
                command=("python", "-m", "jobs.esmm", "train"), model_dir="/mnt/models/ctr", run_dir="/runs/ctr",
                tasks=tuple({"task": task.name, "host": self.host(task)} for task in self.tasks),
                max_steps=self.max_steps,
            ),
        )  # fmt: skip
        for host in self.hosts:
            yield self.at(0.2, ev.HostChanged(host=host, state="up", facts={"cores": 8, "memory_mib": 32768}))
            yield self.at(0.3, ev.PreloadChanged(host=host, key="tf", state="starting"))
        for host in self.hosts:
            yield self.at(3.5, ev.PreloadChanged(host=host, key="tf", state="ready", pid=4300, seconds=3.2))
        for task in self.tasks:
            yield self.change(3.6, task, "starting", start="fork")
        for task in self.tasks:
            yield self.change(4.5, task, "ready")
        yield self.at(5.5, ev.PhaseChanged(phase="training"))
        for task in self.trainers:
            yield self.change(5.6, task, "training")

    def _second(self, second: int) -> Iterator[ev.Recorded]:
        down = 20 <= second < 26
        self.step += round((self.max_steps or 20_000) / (self.seconds - 8) * (0.8 if down else 1.0))
        self.step = min(self.step, self.max_steps or self.step)
        for task in self.trainers:
            if task == self.victim and down:
                continue
            self.done[task] += max(1, self.step // (len(self.trainers) * max(1, second - 5)))
            loss = 0.7 * math.exp(-self.step / 8000) + 0.1 + self.random.gauss(0, 0.004)
            yield self.at(
                second + self.random.random() / 2,
                ev.Progressed(
                    task=task.name, attempt=self.attempts[task], global_step=self.step - self.random.randrange(9),
                    local_steps=self.done[task], examples=self.done[task] * 1024, loss=loss,
                ),
            )  # fmt: skip
        for host in self.hosts:
            on_host = [task for task in self.tasks if self.host(task) == host]
            yield self.at(
                second + 0.6,
                ev.UsageSampled(
                    host=host,
                    cpu={task.name: self.random.uniform(0.2, 0.9) for task in on_host},
                    rss_mib={task.name: self.random.uniform(300, 420) for task in on_host},
                ),
            )
        yield from self._incidents(second)

    def _incidents(self, second: int) -> Iterator[ev.Recorded]:
        name = self.victim.name
        if second == 20:
            yield self.at(20.6, ev.DrillFired(fault=f"kill {name} at step 5000", task=name, global_step=self.step))
            yield self.change(
                20.7, self.victim, "backoff", signal=9, pid=None, reason=f"{name} was killed by SIGKILL; again in 1 s"
            )
            yield self.at(
                20.8, ev.Noticed(severity="warning", task=name, message="was killed by SIGKILL, starts again")
            )
        if second == 22:
            self.attempts[self.victim] = 2
            self.done[self.victim] = 0
            yield self.change(22.7, self.victim, "starting", start="fork")
        if second == 25:
            yield self.change(25.7, self.victim, "training")
            yield self.at(25.8, ev.Recovered(task=name, attempt=2, detected_s=0.01, recovered_s=5.0))
            fault = f"kill {name} at step 5000"
            yield self.at(25.8, ev.DrillOver(fault=fault, number=0, task=name, detected_s=0.11, recovered_s=5.2))
        if second % 10 == 5:
            self.saved = self.step
            yield self.at(second + 0.9, ev.CheckpointWritten(task="chief:0", global_step=self.step, path="model.ckpt"))
            yield self.at(second + 0.92, ev.Noticed(severity="info", message=f"checkpoint at step {self.step:,}"))
        if second % 10 == 7 and second > 10:
            metrics = {"ctr_auc": 0.61 + second / 500, "cvr_auc": 0.55 + second / 900, "loss": 0.41 - second / 900}
            yield self.at(second + 0.9, ev.EvaluationDone(task="evaluator:0", global_step=self.saved, metrics=metrics))
            if second == 17:
                yield self.change(17.95, TaskId(Role.EVALUATOR, 0), "evaluating")

    def _end(self) -> Iterator[ev.Recorded]:
        cause = {
            "task": "ps:0", "host": self.host(TaskId(Role.PS, 0)), "kind": "exception", "exit": 1,
            "message": "ps:0 raised ValueError: a shape must not change (model.py:12 in build)",
            "advice": "read the traceback, its whole output: tflaunch logs RUN ps:0",
        }  # fmt: skip
        tail = 'Traceback (most recent call last):\n  File "model.py", line 12, in build\nValueError: a shape changed'
        yield self.change(
            self.seconds, TaskId(Role.PS, 0), "failed", exit_code=1, reason=str(cause["message"]), tail=tail, pid=None
        )
        yield self.at(self.seconds + 0.1, ev.Noticed(severity="error", task="ps:0", message=str(cause["message"])))
        yield self.at(self.seconds + 0.2, ev.PhaseChanged(phase="stopping", reason="ps:0 failed"))
        for task in self.trainers:
            yield self.change(self.seconds + 1, task, "stopped", signal=15, pid=None)
        yield self.change(self.seconds + 1.2, TaskId(Role.EVALUATOR, 0), "stopped", signal=15, pid=None)
        yield self.at(
            self.seconds + 2,
            ev.RunEnded(
                outcome="failed", exit_code=1, duration_s=self.seconds + 2.0, global_step=self.step, cause=cause
            ),
        )


def write_logs(folder: RunFolder, event: ev.RunEvent) -> None:
    """What the task of the event would print."""
    if isinstance(event, ev.Progressed):
        with folder.log(TaskId.parse(event.task)).open("a") as log:
            log.write(f"INFO:tensorflow:loss = {event.loss:.6f}, step = {event.global_step} (0.413 sec)\n")
    elif isinstance(event, ev.TaskChanged) and event.state == "ready":
        with folder.log(TaskId.parse(event.task)).open("a") as log:
            log.write(
                "2026-03-01 12:00:04.52: I tensorflow/core/rpc/server_lib.cc:457] Started server with target: x\n"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--until", type=float, default=1e9, help="stand still at this second")
    parser.add_argument("--endless", action="store_true")
    parser.add_argument("--form", default="live")
    parser.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args()
    view = RunView()
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(Path(scratch), "demo", START)
        console = open_console(view, folder, sys.stdout, form=options.form, environ=os.environ)
        story = Story(
            options.tasks,
            seconds=options.seconds,
            hosts=options.hosts,
            max_steps=None if options.endless else 20_000,
        )
        began, used = time.monotonic(), time.process_time()
        console.start()
        now = START.timestamp()
        for recorded in story.tell():
            while (now := START.timestamp() + (time.monotonic() - began) * options.speed) < recorded.at.timestamp():
                console.tick(now)
                time.sleep(REFRESH_S)
            if (recorded.at - START).total_seconds() > options.until:
                console.tick(now)
                time.sleep(3600)
            write_logs(folder, recorded.event)
            view.apply(recorded)
            console.show(recorded)
        console.stop(now)
        spent = (time.process_time() - used) / (time.monotonic() - began)
        sys.stdout.write(summary(view, folder, color=sys.stdout.isatty()))
        sys.stderr.write(f"cpu: {spent:.1%} of a core\n")


if __name__ == "__main__":
    main()
