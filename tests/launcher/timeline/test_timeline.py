"""Traces of steps: kept, read again, merged with the launcher's events, and judged."""

from __future__ import annotations

import base64
import json
import os
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cli.main import run as tflaunch
from launcher.record import events as ev
from launcher.record.event_log import EventLog
from launcher.timeline.merge import merge
from launcher.timeline.samples import KEPT, Op, Sample, TimelineError, keep, lanes, read_file, read_folder
from launcher.timeline.verdict import COMPUTE, INPUT, OTHER, SERVERS, judge, length, split, uneven
from launcher.wire.protocol import Profiled
from launcher.wire.roles import TaskId

WORKER = "/job:worker/replica:0/task:1/device:CPU:0"
PS_0, PS_1 = (f"/job:ps/replica:0/task:{index}/device:CPU:0" for index in (0, 1))
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
MIB = 2**20
T = round(BEGAN.timestamp() * 1e6)
RECEIVED = f"[2048B] [1.0Mb/s] edge_1_w from {PS_0} to {WORKER}"
DEVICES = {
    WORKER: [
        ["_SOURCE", "NoOp", T, 1, ""],
        ["next", "IteratorGetNext", T, 300, ""],
        ["RecvTensor", "RecvTensor", T + 100, 300, RECEIVED],
        ["tower/MatMul", "MatMul", T + 350, 200, ""],
    ],
    PS_0: [["w", "ReadVariableOp", T + 50, 100, ""], ["apply", "ResourceApplyAdam", T + 600, 100, ""]],
    PS_1: [["v", "ReadVariableOp", T + 50, 100, ""]],
}


def profiled(
    devices: Any = None,
    *,
    steps: int = 100,
    sent_at: float = 0.0,
    hooks: dict[str, float] | None = None,
    held: dict[str, int] | None = None,
) -> Profiled:
    body = {"steps": steps, "began_us": T, "ended_us": T + 1000, "devices": DEVICES if devices is None else devices}
    body |= {"untraced_us": 500.0, "transfers": [[PS_0, WORKER, 2048], [WORKER, PS_0, 512], [PS_0, PS_1, 8]]}
    body["transfers"].append(["/job:ps/replica:0/task:1/device:GPU:0", PS_1, 64])  # inside of one task
    body |= ({"hooks_us": hooks} if hooks else {}) | ({"held": held} if held else {})
    data = base64.b64encode(zlib.compress(json.dumps(body).encode())).decode()
    return Profiled(global_step=300, sent_at=sent_at, data=data)


def sample(tmp_path: Path, **more: Any) -> Sample:
    return read_file(keep(tmp_path, TaskId.parse("worker:1"), 1, profiled(), received_at=more.get("received_at", 0.01)))


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_sample_comes_back_as_it_was(tmp_path: Path) -> None:
    found = sample(tmp_path)
    assert (found.task, found.global_step, found.began_us, found.ended_us, found.delay_s) == (
        "worker:1",
        300,
        T,
        T + 1000,
        0.01,
    )
    assert {
        name: [[op.name, op.type, op.start_us, op.dur_us, op.detail] for op in ops]
        for name, ops in found.devices.items()
    } == {name: sorted(ops, key=lambda op: (op[2], -op[3])) for name, ops in DEVICES.items()}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        path = keep(tmp_path, TaskId.parse("worker:1"), 1, profiled(steps=number), received_at=0.0)
        os.utime(path, ns=(number, number))
    keep(tmp_path, TaskId.parse("worker:11"), 1, profiled(), received_at=0.0)
    left = sorted(path.name for path in tmp_path.glob("worker-1.*"))
    assert len(left) == KEPT
    assert left[-1] == f"worker-1.1-{KEPT + 4:09d}.json"
    assert len(list(tmp_path.iterdir())) == KEPT + 1


@pytest.mark.parametrize("data", ["", "!!!", base64.b64encode(b"no zlib").decode()])
def test_what_is_no_sample_is_refused(tmp_path: Path, data: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        keep(tmp_path, TaskId.parse("worker:1"), 1, Profiled(global_step=1, sent_at=0.0, data=data), received_at=0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.timeline.samples._MOST_BYTES", 1000)
    data = base64.b64encode(zlib.compress(b" " * 10_000)).decode()
    with pytest.raises(ValueError, match="too large"):
        keep(tmp_path, TaskId.parse("worker:1"), 1, Profiled(global_step=1, sent_at=0.0, data=data), received_at=0.0)


def test_profiler_hooks_own_files_are_read(tmp_path: Path) -> None:
    """As ``tensorflow/python/client/timeline.py`` writes them; a session of one process names no cluster."""
    events = [
        {"name": "process_name", "ph": "M", "pid": 0, "args": {"name": "Allocators"}},
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": f"{WORKER} Compute"}},
        {
            "name": "MatMul",
            "cat": "Op",
            "ph": "X",
            "pid": 1,
            "tid": 0,
            "ts": T,
            "dur": 7,
            "args": {"name": "m", "op": "MatMul"},
        },
    ]
    (tmp_path / "timeline-100.json").write_text(json.dumps({"traceEvents": events}))
    found = read_file(tmp_path / "timeline-100.json")
    assert (found.task, found.own()) == ("worker:1", (Op(name="m", type="MatMul", start_us=T, dur_us=7),))
    events[1]["args"] = {"name": "/job:localhost/replica:0/task:0/device:CPU:0 Compute"}
    (tmp_path / "evaluator-0").mkdir()
    (tmp_path / "evaluator-0" / "timeline-1.json").write_text(json.dumps({"traceEvents": events}))
    assert read_file(tmp_path / "evaluator-0" / "timeline-1.json").task == "evaluator:0"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"traceEvents": 1}', '{"traceEvents": [1]}', '{"traceEvents": []}', "[" * 100_000, "\0"],
)
def test_a_file_that_is_no_trace_is_left_out_and_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(TimelineError, match=r"bad\.json"):
        read_file(tmp_path / "bad.json")
    keep(tmp_path, TaskId.parse("worker:1"), 1, profiled(), received_at=0.0)
    samples, problems = read_folder(tmp_path)
    assert (len(samples), len(problems)) == (1, 1)


# --- the verdict ---------------------------------------------------------------------------------------------------


def test_each_moment_is_one_thing(tmp_path: Path) -> None:
    """Input 0 to 300, compute 350 to 550, the last operation of a ps ends at 700, nothing else to 1000."""
    assert split(sample(tmp_path)) == {COMPUTE: 200, INPUT: 300, SERVERS: 50 + 150, OTHER: 300}


def test_a_session_of_one_process_waits_for_no_server(tmp_path: Path) -> None:
    alone = {"/job:localhost/replica:0/task:0/device:CPU:0": DEVICES[WORKER]}
    found = read_file(keep(tmp_path, TaskId.parse("evaluator:0"), 1, profiled(alone), received_at=0.0))
    assert split(found) == {COMPUTE: 200, INPUT: 300, SERVERS: 0, OTHER: 500}


OPS = st.lists(
    st.builds(
        Op,
        name=st.just("n"),
        type=st.sampled_from(["MatMul", "IteratorGetNext", "RecvTensor", "NoOp"]),
        start_us=st.integers(-50, 250),
        dur_us=st.integers(0, 300),
    )
)


@given(OPS, OPS)
def test_the_parts_add_up_to_the_step(own: list[Op], foreign: list[Op]) -> None:
    parts = split(Sample(task="worker:1", began_us=0, ended_us=200, devices={WORKER: tuple(own), PS_0: tuple(foreign)}))
    assert sum(parts.values()) == 200
    assert all(value >= 0 for value in parts.values())


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))))
def test_length_is_that_of_the_union(pairs: list[tuple[int, int]]) -> None:
    intervals = [(min(pair), max(pair)) for pair in pairs]
    assert length(intervals) == len({moment for start, end in intervals for moment in range(start, end)})


def test_the_verdict_names_the_largest_part_and_the_load_of_each_server(tmp_path: Path) -> None:
    verdict = judge([sample(tmp_path)])
    (task,) = verdict.tasks
    assert (task.task, task.step_ms, task.ms[INPUT]) == ("worker:1", 1.0, 0.3)
    assert task.words == "no single thing dominates"
    assert {op.type: op.count for op in task.ops}["MatMul"] == 1
    assert task.untraced_ms == 0.5
    loads = {item.task: (item.busy_ms, item.ops, round(item.share, 3)) for item in verdict.servers}
    assert loads == {"ps:0": (0.2, 2, 0.667), "ps:1": (0.1, 1, 0.333)}
    traffic = {item.task: (item.sends, item.bytes_out, item.takes, item.bytes_in) for item in verdict.servers}
    assert traffic == {"ps:0": (2, 2056, 1, 512), "ps:1": (0, 0, 1, 8)}
    assert task.hooks == ()
    slow_input = [["next", "IteratorGetNext", T, 900, ""]]
    keep(tmp_path, TaskId.parse("worker:1"), 1, profiled({WORKER: slow_input}), received_at=0.0)
    assert "waits for input" in judge(read_folder(tmp_path)[0]).tasks[0].words


def test_the_verdict_names_the_hook_that_takes_most_of_a_step(tmp_path: Path) -> None:
    """Half of each step of 0.5 ms."""
    keep(tmp_path, TaskId.parse("chief:0"), 1, profiled(hooks={"Saver": 200.04, "Steps": 50}), received_at=0.0)
    keep(tmp_path, TaskId.parse("chief:0"), 1, profiled(steps=200, hooks={"Saver": 200}), received_at=0.0)
    (task,) = judge(read_folder(tmp_path)[0]).tasks
    assert task.hooks == (("Saver", 0.2), ("Steps", 0.025))
    assert task.words.endswith("; hooks take 45% of its steps, most of it Saver")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"ps:0": 96 * MIB, "ps:1": 30 * MIB, "ps:2": 2 * MIB}, "ps:0 holds 75% of 128 MiB of variables: spread them"),
        ({"ps:0": 44 * MIB, "ps:1": 40 * MIB, "ps:2": 44 * MIB}, "ps:0 does 67% of the work of 3 parameter servers"),
        ({"ps:0": 3, "ps:1": 0}, "ps:0 does 67% of the work of 2 parameter servers"),
        ({}, "ps:0 does 67% of the work of 2 parameter servers"),
    ],
)
def test_an_uneven_load_is_said(tmp_path: Path, held: dict[str, int], words: str) -> None:
    keep(tmp_path, TaskId.parse("worker:1"), 1, profiled(held=held), received_at=0.0)
    servers = judge(read_folder(tmp_path)[0]).servers
    assert uneven(servers).startswith(words)
    assert {item.task: item.held for item in servers if item.held is not None} == held
    assert uneven(servers[:1]) == "" or held


# --- the merged trace ----------------------------------------------------------------------------------------------


def check_format(trace: dict[str, Any]) -> None:
    """What chrome://tracing and Perfetto need: known phases, numbers, and slices of a thread that nest or are apart."""
    assert json.loads(json.dumps(trace)) == trace
    open_slices: dict[tuple[int, int], list[int]] = {}
    named = {event["pid"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    for event in trace["traceEvents"]:
        assert event["ph"] in ("X", "i", "C", "M")
        assert isinstance(event["name"], str)
        assert event["pid"] in named
        if event["ph"] == "M":
            continue
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
            ends = open_slices.setdefault((event["pid"], event["tid"]), [])
            while ends and ends[-1] <= event["ts"]:
                ends.pop()
            assert not ends or event["ts"] + event["dur"] <= ends[-1], event
            ends.append(event["ts"] + event["dur"])


def recorded() -> list[ev.Recorded]:
    tasks = ({"task": "ps:0", "host": "here"}, {"task": "worker:1", "host": "here"})
    happened: list[ev.RunEvent] = [
        ev.RunStarted(run="r", name="r", pid=1, host="h", command=("x",), model_dir=None, run_dir="/r", tasks=tasks),
        ev.PhaseChanged(phase="training"),
        ev.TaskChanged(task="worker:1", attempt=1, state="starting", host="here"),
        ev.TaskChanged(task="worker:1", attempt=1, state="ready", host="here"),
        ev.TaskChanged(task="worker:1", attempt=1, state="training", host="here"),
        ev.Progressed(task="worker:1", attempt=1, global_step=3, local_steps=3),
        ev.CheckpointWritten(task="worker:1", global_step=3, path="/m/model.ckpt-3"),
        ev.TaskChanged(task="worker:1", attempt=1, state="backoff", host="here", reason="killed"),
        ev.TaskChanged(task="worker:1", attempt=2, state="starting", host="here"),
        ev.EvaluationDone(task="evaluator:0", global_step=3, metrics={"auc": 0.7}),
        ev.RunEnded(outcome="succeeded", exit_code=0, duration_s=3.0),
    ]
    return [ev.Recorded(n=n, at=BEGAN + timedelta(seconds=n), event=event) for n, event in enumerate(happened, 1)]


def test_the_launchers_events_and_the_samples_share_one_clock(tmp_path: Path) -> None:
    trace = merge(recorded(), [sample(tmp_path)])
    check_format(trace)
    events = trace["traceEvents"]
    pids = {event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"}
    assert set(pids) == {"launcher", "ps:0", "ps:1", "worker:1"}
    at = {event["name"]: (event["pid"], event["ts"]) for event in events if event["ph"] != "M"}
    assert at["MatMul"] == (pids["worker:1"], 350)  # the sample began first: it is 0
    assert at["checkpoint written"] == (pids["worker:1"], 7_000_000)
    assert at["restart"] == (pids["worker:1"], 8_000_000)
    assert at["evaluation done"][1] == 10_000_000
    assert at["ResourceApplyAdam"] == (pids["ps:0"], 600)
    states = [(event["name"], event["dur"]) for event in events if event.get("cat") == "run" and event["ph"] == "X"]
    assert ("starting", 1_000_000) in states


def test_a_host_whose_clock_is_off_is_moved(tmp_path: Path) -> None:
    """The sample arrived 90 s before it was sent: its host is ahead."""
    ahead = sample(tmp_path, received_at=-90.0)
    events = {event["name"]: event for event in merge(recorded(), [ahead])["traceEvents"]}
    assert events["checkpoint written"]["ts"] - events["MatMul"]["ts"] == 7_000_000 - 350 + 90_000_000


@given(OPS)
def test_lanes_never_overlap(ops: list[Op]) -> None:
    ends: dict[int, int] = {}
    for lane, op in lanes(ops):
        assert ends.get(lane, op.start_us) <= op.start_us
        ends[lane] = op.end_us


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_writes_a_trace_and_says_where_time_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "r-20260102T030405Z"
    (run / "timeline").mkdir(parents=True)
    log = EventLog(run / "events.jsonl")
    for item in recorded():
        log.append(item.event, item.at)
    log.close()
    assert tflaunch(["timeline"]) == 2
    assert "--profile-steps" in capsys.readouterr().err
    keep(
        run / "timeline",
        TaskId.parse("worker:1"),
        1,
        profiled(hooks={"Saver": 400}, held={"ps:0": 60 * MIB, "ps:1": 0}),
        received_at=0.0,
    )
    (run / "timeline" / "broken.json").write_text("{")
    assert tflaunch(["timeline"]) == 0
    out, error = capsys.readouterr()
    assert "worker:1" in out
    assert "ps:1" in out
    assert "Saver 0.40" in out
    assert "60.0 MiB" in out and "ps:0 holds 100%" in out
    assert "left out" in error
    check_format(json.loads((run / "trace.json").read_text()))
    assert tflaunch(["timeline", str(run / "timeline"), "-o", "merged.json"]) == 0
    check_format(json.loads((tmp_path / "merged.json").read_text()))
    assert tflaunch(["timeline", "-o", "no/such/folder.json"]) == 2
