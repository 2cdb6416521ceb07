from __future__ import annotations

import hashlib
import io
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.record.event_log import EventReader
from launcher.record.runs import RunFolder
from launcher.views.lines import LineAssembler
from launcher.views.logs import CHUNK_BYTES, LastLines, LogWriter, MergedLogs, prefix, print_logs, tail
from launcher.wire.roles import Role, TaskId
from tests.launcher.views.console_demo import START

WRITERS = 32
WRITER_BYTES = 1 << 20  # 50 MB and more: raise it by hand, the test is the same
CHIEF, WORKER = TaskId(Role.CHIEF, 0), TaskId(Role.WORKER, 0)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "logs", START)


def assembled(data: bytes, limit: int = 40) -> list[str]:
    assembler = LineAssembler(limit)
    return assembler.feed(data) + assembler.flush()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"dos\r\nlines\r\n", ["dos", "lines"]),
        (b"10%\r20%\r30%\n", ["30%"]),
        (b"one\n10%\r20%\r\r\ntwo\n", ["one", "20%", "two"]),
        (b"\r\r\n", [""]),
        (b"half \xc3", ["half \ufffd"]),
        ("größe\n".encode(), ["größe"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"\x1b[31mred\x1b[0m\n", ["red"]),
        (b"\x1b]0;title\x07rest\n", ["rest"]),
        (b"\x1b]0;no end\n", [""]),
        (b"\x1b[2J\x1b[H\x1bcgone\n", ["gone"]),
        (b"\x1b\x1b[0m[31mnested\n", ["nested"]),
        (b"bell\x07 nul\x00 tab\t.\n", ["bell\ufffd nul\ufffd tab\t."]),
        ("\u202egnirts\u2028x\x9b31m\n".encode(), ["gnirts x"]),
        (b"12%\b\b\b13%\n", ["12%13%"]),
        (b"x" * 50 + b"\n", ["x" * 40 + " [... 10 more bytes, see the task's log]"]),
        (b"x" * 39 + "ö".encode() + b"\n", ["x" * 39 + " [... 1 more bytes, see the task's log]"]),
        (b"x" * 99 + b"\rshort\n", ["short"]),
    ],
)
def test_lines(data: bytes, lines: list[str]) -> None:
    assert assembled(data) == lines
    assembler = LineAssembler(40)
    bytewise = [line for number in range(len(data)) for line in assembler.feed(data[number : number + 1])]
    assert bytewise + assembler.flush() == lines


PIECES = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"\x1b[1m", b"\x1b]", b"\x1b", b"\x07", "ü€😀".encode(), b"\xe2\x82", b"\x00"]
    )
    | st.binary(max_size=60),
    max_size=30,
).map(b"".join)


@given(PIECES, st.lists(st.integers(0, 60), max_size=30))
def test_any_portions_give_the_same_lines(data: bytes, cuts: list[int]) -> None:
    whole = [line for raw in data.split(b"\n")[:-1] for line in _one(raw)] + assembled(data.split(b"\n")[-1])
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assembler = LineAssembler(40)
    lines = [line for a, b in pairwise(edges) for line in assembler.feed(data[a:b])]
    assert lines + assembler.flush() == whole
    assert assembled(data) == whole


def _one(raw: bytes) -> list[str]:
    return LineAssembler(40).feed(raw + b"\n")


@given(PIECES)
def test_lines_have_nothing_that_steers_a_terminal(data: bytes) -> None:
    for line in assembled(data):
        assert all(char == "\t" or ord(char) >= 32 for char in line)
        assert not any(0x7F <= ord(char) < 0xA0 for char in line)


def test_a_huge_line_takes_bounded_memory() -> None:
    assembler = LineAssembler()
    for _ in range(160):
        assembler.feed(b"y" * 65536)
    assert len(assembler.pending) < 17_000
    assert assembler.feed(b"\n")[0].endswith(f"[... {160 * 65536 - 16384} more bytes, see the task's log]")


def test_many_writers_keep_their_lines_whole(folder: RunFolder) -> None:
    tasks = [TaskId(Role.WORKER, index) for index in range(WRITERS)]
    dice = random.Random(1)
    wanted = {}
    written = {}
    for task in tasks:
        lines = [f"{task.name} {number} {'z' * dice.randrange(200)}" for number in range(WRITER_BYTES // 110)]
        written[task] = ("\n".join(lines) + "\n").encode()
        wanted[task] = hashlib.sha256(written[task]).hexdigest()
    out = io.StringIO()
    writer = LogWriter(out, tasks)
    merged = MergedLogs.of_run(folder, tasks)
    for part in range(4):  # the files grow, in portions that end within lines
        for task in tasks:
            size = len(written[task]) // 4 + 1
            with folder.log(task).open("ab") as log:
                log.write(written[task][part * size : (part + 1) * size])
        for task, lines in merged.poll():
            writer.write(task, lines)
    for task, lines in merged.drain():
        writer.write(task, lines)
    hashes = {task.name: hashlib.sha256() for task in tasks}
    for line in out.getvalue().splitlines():
        start, _, rest = line.partition(" | ")
        assert rest.startswith(f"{start.strip()} ")
        hashes[start.strip()].update(rest.encode() + b"\n")
    assert {task: hashes[task.name].hexdigest() for task in tasks} == wanted


def test_a_flood_does_not_hold_up_the_others(folder: RunFolder) -> None:
    folder.log(CHIEF).write_bytes(b"flood\n" * (CHUNK_BYTES // 2))
    folder.log(WORKER).write_bytes(b"quiet\n")
    merged = MergedLogs.of_run(folder, [CHIEF, WORKER])
    first = dict(merged.poll())
    assert first[WORKER] == ["quiet"]
    assert len(first[CHIEF]) <= CHUNK_BYTES // 6 + 1


def test_a_log_that_is_written_anew_is_read_anew(folder: RunFolder) -> None:
    folder.log(CHIEF).write_bytes(b"a long first line\n")
    merged = MergedLogs.of_run(folder, [CHIEF])
    assert dict(merged.poll()) == {CHIEF: ["a long first line"]}
    folder.log(CHIEF).write_bytes(b"new\n")
    assert dict(merged.poll()) == {CHIEF: ["new"]}


def test_skip_begins_at_the_end(folder: RunFolder) -> None:
    folder.log(CHIEF).write_bytes(b"old\n")
    merged = MergedLogs.of_run(folder, [CHIEF], skip=True)
    with folder.log(CHIEF).open("ab") as log:
        log.write(b"new\nunfinished")
    assert list(merged.poll()) == [(CHIEF, ["new"])]
    assert list(merged.drain()) == [(CHIEF, ["unfinished"])]


@pytest.mark.parametrize(("lines", "wanted"), [(0, []), (1, ["end"]), (2, ["99999", "end"]), (10**6, None)])
def test_tail(folder: RunFolder, lines: int, wanted: list[str] | None) -> None:
    everything = [*map(str, range(100_000)), "end"]
    folder.log(CHIEF).write_text("\n".join(everything))
    assert tail(folder, CHIEF, lines) == (everything if wanted is None else wanted)
    assert tail(folder, WORKER, 3) == []


def test_last_lines_follow_the_log(folder: RunFolder) -> None:
    last = LastLines(folder)
    assert last.of(CHIEF) == ""
    folder.log(CHIEF).write_bytes(b"x" * 9000 + b"\nfirst\n\n  \n")
    assert last.of(CHIEF) == "first"
    with folder.log(CHIEF).open("ab") as log:
        log.write(b"10%\r20%")
    assert last.of(CHIEF) == "20%"


def test_prefixes_have_the_colour_of_the_role() -> None:
    assert prefix(CHIEF, width=11) == "chief:0     | "
    assert prefix(CHIEF, color=True) == "\x1b[32mchief:0 | \x1b[0m"
    assert len({prefix(TaskId(role, 0), color=True)[:5] for role in Role}) == len(Role)


def test_print_one_task_without_prefix_and_all_with(folder: RunFolder) -> None:
    folder.log(CHIEF).write_bytes(b"one\ntwo")
    folder.log(WORKER).write_bytes("drei: größe\n".encode())
    out = io.StringIO()
    print_logs(folder, CHIEF, out=out)
    assert out.getvalue() == "one\ntwo\n"
    out = io.StringIO()
    print_logs(folder, None, out=out, lines=1)
    assert out.getvalue() == "chief:0  | two\nworker:0 | drei: größe\n"
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_logs(folder, WORKER, out=ascii_only)
    ascii_only.seek(0)
    assert ascii_only.read() == "drei: gr??e\n"


def test_print_follows_until_no_more_comes(folder: RunFolder) -> None:
    folder.log(CHIEF).write_bytes(b"one\ntw")
    rounds = iter([b"o\nthr", b"ee"])

    def wait() -> bool:
        more = next(rounds, None)
        if more is not None:
            with folder.log(CHIEF).open("ab") as log:
                log.write(more)
        return more is not None

    out = io.StringIO()
    print_logs(folder, CHIEF, out=out, wait=wait)
    assert out.getvalue() == "one\ntwo\nthree\n"


def test_a_log_is_no_event_file(folder: RunFolder) -> None:
    folder.events.write_bytes(b"INFO:tensorflow:loss\n[1]\n{}\n\xff\n")
    assert list(EventReader(folder.events).read(final=True)) == []
