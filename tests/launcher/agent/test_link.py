"""The line to the supervisor: nothing lost, nothing twice, nothing that garbage could break."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.agent.host.keeper_line import KeeperLine
from launcher.agent.system.loop import Loop
from launcher.agent.tasks.output import Outputs
from launcher.agent.tasks.pipe import Pipe
from launcher.supervise.output_files import OutputFiles
from launcher.wire import protocol
from launcher.wire.roles import TaskId
from tests.fake_task import spam_bytes
from tests.launcher.agent.harness import Host, connect_to, until
from tests.launcher.lifecycle.test_cost import calls_of

SOAK = os.environ.get("TFLAUNCH_SOAK") == "1"
WRITERS = 32
BYTES_EACH = (50 if SOAK else 2) * 1024 * 1024


def test_a_new_connection_gets_exactly_what_was_not_acknowledged(host: Host) -> None:
    for number in range(4):
        assert host.run(f"worker:{number}", "exit=0").exit_code == 0
    seen = [event.seq for event in host.events]
    assert seen == list(range(1, len(seen) + 1))
    host.send(protocol.Ack(seq=3))
    host.connect(acked=0)
    host.send(protocol.Prove(task="x", attempt=1))
    host.wait(protocol.Refused)
    usage = [event.seq for event in host.events if isinstance(event.body, protocol.Usage)]
    assert [event.seq for event in host.events[len(seen) :] if event.seq <= seen[-1]] == seen[3:]
    assert host.events[-1].seq == seen[-1] + 1 or usage


def test_acknowledgements_of_another_agent_process_do_not_count(host: Host) -> None:
    host.run("worker:0", "exit=0")
    before = len(host.events)
    host.disconnect()
    host.link = connect_to(host.options)
    host.send(protocol.Hello(run=host.options.run, incarnation="another", acked=before))
    host.wait(protocol.Exited, lambda body: len(host.events) >= 2 * before)


def test_commands_are_counted_and_garbage_is_not(host: Host) -> None:
    assert host.link is not None
    host.link.sendall(
        b'garbage\n{}\n\xff\xfe\n[[[\n{"kind":"start"}\n{"kind":"stop","task":3}\n' + b"[" * 100_000 + b"\n"
    )
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=0.0), protocol.Ack(seq=0))
    host.send(protocol.Prove(task="x", attempt=1))
    host.wait(protocol.Refused)
    host.connect()
    assert host.welcome is not None and host.welcome.received == 2


@pytest.mark.parametrize(
    "command",
    [
        {"kind": "reserve", "generation": 1, "tasks": 5},
        {"kind": "lock_model_dir", "path": 7},
        {"kind": "start", "generation": 1, "task": 5, "attempt": "x", "argv": [1], "cwd": None},
        {"kind": "start", "generation": 1, "task": "worker:0", "attempt": 1, "argv": [1, None], "cwd": 3, "env": 5},
        {"kind": "signal", "task": "worker:9", "attempt": 1, "signal": "KILL"},
        {"kind": "tell", "task": [], "message": 3},
    ],
)
def test_a_command_of_wrong_types_does_no_harm(host: Host, command: dict[str, object]) -> None:
    import json

    assert host.link is not None and host.welcome is not None
    host.link.sendall(json.dumps(command).encode() + b"\n")
    assert host.run("chief:0", "exit=0").exit_code == 0
    incarnation = host.welcome.incarnation
    host.connect()
    assert host.welcome.incarnation == incarnation


def test_a_line_that_never_ends_costs_only_its_connection(host: Host) -> None:
    stranger = connect_to(host.options)
    assert stranger is not None
    with pytest.raises(ConnectionError):
        for _ in range(40):
            stranger.sendall(b"x" * (1 << 20))
    assert host.run("chief:0", "exit=0").exit_code == 0


def test_the_agent_of_another_run_is_refused(host: Host) -> None:
    stranger = connect_to(host.options)
    assert stranger is not None
    stranger.sendall(protocol.encode(protocol.Hello(run="another")))
    refused = protocol.decode(stranger.makefile("rb").readline())
    assert isinstance(refused, protocol.Refused) and host.options.run in refused.message


def test_connections_lost_at_any_byte(host: Host) -> None:
    """Commands cut anywhere; what was counted in ``Welcome.received`` is not said again, the rest is."""
    source = random.Random(1)
    commands = [
        protocol.encode(
            protocol.Start(
                generation=1, task=f"worker:{n}", attempt=1, argv=("echo", str(n)), cwd="/", env={"A": "b" * 50}
            )
        )
        for n in range(10)
    ]
    assert host.welcome is not None
    while host.welcome.received < len(commands):
        rest = b"".join(commands[host.welcome.received :])
        assert host.link is not None
        host.link.sendall(rest[: source.randrange(1, len(commands[0]) * 3)])
        host.connect()
    for number in range(10):
        exited = host.wait(protocol.Exited, lambda body, task=f"worker:{number}": body.task == task)
        assert host.wait_output(f"worker-{number}.1", exited.output_bytes) == b"%d\n" % number
    assert len(host.bodies(protocol.Started)) == 10


def test_output_goes_on_where_it_was_cut(host: Host) -> None:
    size = 3_000_000
    host.start("worker:0", f"spam={size}:5", "hang")
    cuts = 0
    while len(host.output.get("worker-0.1", b"")) < size:
        host.pump(1.0)
        if len(host.output.get("worker-0.1", b"")) > cuts * size // 8:
            cuts += 1
            host.connect()
    assert cuts >= 4
    assert bytes(host.output["worker-0.1"]) == spam_bytes(size, 5)


def test_a_flood_of_many_writers_arrives_whole(host: Host) -> None:
    for number in range(WRITERS):
        host.start(f"worker:{number}", f"spam={BYTES_EACH}:{number}", "exit=0")
    wanted = {f"worker-{number}.1" for number in range(WRITERS)}
    received = 0
    while {key for key in wanted if len(host.output.get(key, b"")) >= BYTES_EACH} != wanted:
        host.pump(5.0)
        total = sum(map(len, host.output.values()))
        if total - received > 8 << 20:
            received = total
            host.send(protocol.Ack(seq=0, output={key: len(data) for key, data in host.output.items()}))
    for number in range(WRITERS):
        exited = host.wait(protocol.Exited, lambda body, task=f"worker:{number}": body.task == task)
        assert exited.output_bytes == BYTES_EACH
        expected = hashlib.sha256(spam_bytes(BYTES_EACH, number)).digest()
        assert hashlib.sha256(host.output[f"worker-{number}.1"]).digest() == expected


def test_what_has_arrived_is_given_back_to_the_disk(host: Host) -> None:
    size = 12 * 1024 * 1024
    host.start("worker:0", f"spam={size}:1", "hang")
    data = host.wait_output("worker-0.1", size)
    host.send(protocol.Ack(seq=0, output={"worker-0.1": size}))
    file = host.home / "output" / "worker-0.1"
    until(lambda: file.stat().st_blocks * 512 < size // 2, "the hole")
    assert file.stat().st_size == size
    assert data == spam_bytes(size, 1)
    host.send(protocol.Stop(task="worker:0", attempt=1, grace_s=0.0))
    tail = host.wait(protocol.Exited).tail
    assert tail.endswith("x.") and "\0" not in tail
    until(lambda: not file.exists(), "the end of a file that has arrived")


REOPENS = """
import os, sys
for number in range(500):
    for path in ("/dev/stdout", "/dev/stderr", "/proc/self/fd/1"):
        with open(path, "w") as file:
            file.write(f"{number}\\n")
os.close(1)
os.dup2(2, 1)
print("dup", flush=True)
os.execvp("sh", ["sh", "-c", ": > /dev/stdout; echo last | tee /dev/stderr; exec >/dev/stderr; echo and least"])
"""


def test_what_opens_its_own_output_anew_loses_none_of_it(host: Host) -> None:
    host.start("worker:0", argv=(sys.executable, "-c", REOPENS))
    exited = host.wait(protocol.Exited)
    text = host.wait_output("worker-0.1", exited.output_bytes).decode()
    assert text.split() == [str(number // 3) for number in range(1500)] + ["dup", "last", "last", "and", "least"]


def test_words_for_which_there_is_no_room_are_counted_and_hold_up_nobody() -> None:
    pipe = Pipe(*os.pipe())
    said = pipe.writer()
    with open("/dev/full", "r+b", buffering=0) as full:
        for _ in range(3):
            os.write(said, b"x" * 40_000)
            assert pipe.pour(full.fileno(), 0) == 0
    assert (pipe.lost, pipe.trouble) == (120_000, "No space left on device")
    for fd in (said, pipe.reader):
        os.close(fd)
    pipe.close()


def test_what_was_said_as_the_agent_died_arrives(host: Host, tmp_path: Path) -> None:
    host.start(
        "worker:0",
        f"touch={tmp_path}/up",
        f"wait-file={tmp_path}/go",
        "print=last words",
        f"touch={tmp_path}/said",
        "hang",
    )
    until((tmp_path / "up").exists, "the task")
    assert host.welcome is not None
    os.kill(host.welcome.pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    until((tmp_path / "said").exists, "its last words")
    os.kill(host.welcome.pid, signal.SIGKILL)
    host.wait_closed()
    host.connect()
    assert host.wait_output("worker-0.1", 1) == b"last words\n"


def test_attempts_of_a_task_are_shipped_one_after_the_other(tmp_path: Path) -> None:
    line, _keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    outputs = Outputs(Loop(), KeeperLine(line, {}), tmp_path, 1 << 30)
    first, other, second = (
        outputs.create(TaskId.parse(task), attempt) for task, attempt in (("ps:0", 1), ("ps:1", 1), ("ps:0", 2))
    )
    for file in (first, other, second):
        os.write(file.pipe.writer(), b"x" * 40_000)
        file.take()
    shipped = []
    while frame := outputs.next_frame():
        shipped.append(frame.partition(b"\n")[0])
    assert not [line for line in shipped if b'"attempt":2' in line], "the first attempt has not ended"
    assert len(shipped) == 4, "both tasks, in turns"
    assert [b"ps:0" in line for line in shipped] == [True, False, True, False]
    outputs.end(first)
    assert b'"attempt":2' in outputs.next_frame()


def test_output_of_one_costs_the_same_however_many_others_are_silent(tmp_path: Path) -> None:
    def cost(tasks: int) -> int:
        line, _keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = tmp_path / str(tasks)
        folder.mkdir()
        outputs = Outputs(Loop(), KeeperLine(line, {}), folder, 1 << 30)
        files = [outputs.create(TaskId.parse(f"worker:{number}"), 1) for number in range(tasks)]
        assert not outputs.next_frame()
        writer = files[0].pipe.writer()
        os.write(writer, b"x")
        os.close(writer)
        files[0].take()
        calls = calls_of(lambda: [outputs.next_frame(), outputs.next_frame()])
        for file in files:
            outputs.end(file)
        return calls

    assert cost(2) == cost(60)


def test_a_host_keeps_no_more_than_its_limit_for_a_supervisor_who_does_not_come(tmp_path: Path) -> None:
    """Nor for one who comes to the agent that follows: it takes over the files as they are."""
    said, size, number = b"", 20 << 20, 0
    (tmp_path / "logs").mkdir()
    for folder, renewed in (("kept", False), ("adopted", True)):
        line, _keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        outputs = Outputs(Loop(), KeeperLine(line, {}), tmp_path / folder, 8 << 20)
        outputs.adopt()
        file = outputs.create(TaskId.parse("ps:0"), 1)
        writer, said = file.pipe.writer(), b""
        while len(said) < size:
            words = b"".join(b"%09d\n" % (number := number + 1) for _ in range(6000))
            os.write(writer, words)
            said += words
            file.take()
        path = tmp_path / folder / "ps-0.1"
        assert path.stat().st_blocks * 512 <= 8 << 20 and path.stat().st_size == len(said)
        if renewed:
            outputs = Outputs(Loop(), KeeperLine(line, {}), tmp_path / folder, 8 << 20)
            outputs.adopt()
        log = tmp_path / "logs" / folder
        received = OutputFiles(lambda task, log=log: log)  # type: ignore[misc]
        while frame := outputs.next_frame():
            head, _, data = frame.partition(b"\n")
            told = protocol.decode(head)
            assert isinstance(told, protocol.Output) and told.size == len(data)
            received.write(told, data)
        received.close()
        assert received.received == {"ps-0.1": len(said)}
        mark, _, rest = log.read_bytes().partition(b"(policy.log_limit_mib)\n")
        gone = int(mark.split()[1])
        assert said[gone:] == rest and 4 << 20 <= len(rest) <= 8 << 20


def test_a_flood_of_reports_stays_with_the_task_and_arrives_whole(host: Host, tmp_path: Path) -> None:
    count = 25_000
    host.start("chief:0", f"touch={tmp_path}/up", f"flood={count}", f"touch={tmp_path}/sent", "exit=0")
    until((tmp_path / "up").exists, "the task")
    host.wait(protocol.Reported)
    host.disconnect()
    host.connect()
    while not host.bodies(protocol.Exited):
        host.pump(1.0)
        assert len(host.events) <= 60_000
        host.send(protocol.Ack(seq=host.events[-1].seq))
    steps = [body.report for body in host.bodies(protocol.Reported)]
    assert [step.global_step for step in steps if isinstance(step, protocol.Step)] == list(range(count))


def test_what_a_task_says_last_is_heard_even_while_tasks_wait(host: Host) -> None:
    """Nothing is acknowledged, so that the agent listens to no task any more when this one ends."""
    host.start("chief:0", "flood=10100", "exit=0")
    host.wait(protocol.Exited)
    steps = [body for body in host.bodies(protocol.Reported) if isinstance(body.report, protocol.Step)]
    assert len(steps) == 10_100


def test_tasks_wait_while_nobody_takes_their_reports(host: Host, tmp_path: Path) -> None:
    host.start("chief:0", "flood=60000", f"touch={tmp_path}/sent", "hang")
    host.wait(protocol.Reported, lambda body: body.report == protocol.Step(global_step=10_000, local_steps=10_000))
    status = Path(f"/proc/{host.started('chief:0').pid}/status")
    switches: list[str] = []
    while switches[-100:].count(switches[-1] if switches else "") < 100 and not (tmp_path / "sent").exists():
        answered = len(host.bodies(protocol.Refused))
        host.send(protocol.Prove(task="x", attempt=1))
        while len(host.bodies(protocol.Refused)) == answered:
            host.pump(5.0)
        switches.append(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].splitlines()[0])
    assert not (tmp_path / "sent").exists()
    host.send(protocol.Stop(task="chief:0", attempt=1, grace_s=0.0))
    assert host.wait(protocol.Exited).signal == 9


def test_descriptors_running_out_is_refused_and_passes(make_host: Callable[..., Host]) -> None:
    host = make_host().connect()
    assert host.welcome is not None
    limit = resource.prlimit(host.welcome.pid, resource.RLIMIT_NOFILE, (16, 20000))
    host.start("worker:0", "exit=0")
    host.send(protocol.Reserve(generation=1, tasks=tuple(f"worker:{n}" for n in range(20))))
    host.wait(protocol.Refused, lambda body: body.command == "reserve")
    strangers = [connect_to(host.options) for _ in range(20)]
    resource.prlimit(host.welcome.pid, resource.RLIMIT_NOFILE, limit)
    for stranger in strangers:
        assert stranger is not None
        stranger.close()
    assert host.run("worker:1", "exit=0").exit_code == 0
