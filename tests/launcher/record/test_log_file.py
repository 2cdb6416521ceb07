"""A log within its limit: first part and newest, a line between, and readers who find their way through it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from launcher.record.files.log_file import LogFile, parts_of, read_at, size_of
from launcher.record.runs import RunFolder
from launcher.views.logs import LastLines, MergedLogs, print_logs, tail_from
from launcher.wire.roles import TaskId

LIMIT = 64 * 1024
WORKER = TaskId.parse("worker:1")
MARK = re.compile(r"\[tflaunch\] ([\d,]+) bytes of this output are missing here \(policy\.log_limit_mib\)")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "logs").mkdir()
    return RunFolder(tmp_path)


def line(number: int) -> bytes:
    return f"line {number:06}\n".encode()


def written(folder: RunFolder, lines: int) -> LogFile:
    log = LogFile(folder.log(WORKER), LIMIT)
    for number in range(lines):
        assert log.add(line(number), most_waiting=0)
    return log


def on_disk(folder: RunFolder) -> int:
    return sum(path.stat().st_size for path in folder.logs.iterdir())


def printed(folder: RunFolder) -> list[str]:
    print_logs(folder, WORKER, out=(out := io.StringIO()))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("lines", [0, 1, 2000, 4000, 5000])
def test_below_the_limit_nothing_is_lost(folder: RunFolder, lines: int) -> None:
    written(folder, lines)
    assert printed(folder) == [line(number).decode().strip() for number in range(lines)]
    assert size_of(folder.log(WORKER)) == 12 * lines


def test_beyond_it_first_and_newest_stay_and_a_line_counts_the_rest(folder: RunFolder) -> None:
    written(folder, 20_000)
    found = printed(folder)
    marks = [number for number, text in enumerate(found) if MARK.fullmatch(text)]
    assert len(marks) == 1 and found[0] == "line 000000" and found[-1] == "line 019999"
    kept = [text for text in found if text.startswith("line ")]
    missing = MARK.fullmatch(found[marks[0]])
    assert missing is not None and int(missing[1].replace(",", "")) == 12 * (20_000 - len(kept))
    first, newest = kept[: marks[0] - 1], kept[marks[0] - 1 :]
    assert len(first) * 12 >= LIMIT // 2 - 12 and len(newest) * 12 >= LIMIT // 4
    assert newest == [f"line {number:06}" for number in range(20_000 - len(newest), 20_000)]
    assert on_disk(folder) <= LIMIT + 200
    together = b"".join(path.read_bytes() for path in sorted(folder.logs.iterdir()))
    assert [text for text in together.decode().splitlines() if text] == [text for text in found if text]
    assert folder.logged_tasks() == (WORKER,)


def test_followers_go_on_through_all_parts(folder: RunFolder) -> None:
    log, merged, heard = LogFile(folder.log(WORKER), LIMIT), MergedLogs.of_run(folder, [WORKER]), []
    for number in range(20_000):
        log.add(line(number), most_waiting=0)
        if number % 50 == 0:
            heard += [text for _, lines in merged.poll() for text in lines]
    heard += [text for _, lines in merged.drain() for text in lines]
    assert heard == [line(number).decode().strip() for number in range(20_000)]
    assert LastLines(folder).of(WORKER) == "line 019999"
    assert tail_from(folder.log(WORKER), 3)[0] == ["line 019997", "line 019998", "line 019999"]


def test_who_was_away_for_long_goes_on_where_there_is_something(folder: RunFolder) -> None:
    log = written(folder, 3000)
    place = size_of(folder.log(WORKER))
    for number in range(3000, 20_000):
        log.add(line(number), most_waiting=0)
    data, after = read_at(folder.log(WORKER), place, 1 << 20)
    assert data and after > place and after - len(data) in {begins for begins, _ in parts_of(folder.log(WORKER))}


def test_the_log_of_a_task_with_a_longer_name_is_another(folder: RunFolder) -> None:
    written(folder, 10_000)
    (folder.logs / "worker-1.log.backup").write_text("mine")
    (folder.logs / "worker-11.log").write_text("other\n")
    names = [path.name for _, path in parts_of(folder.log(WORKER))]
    assert all(re.fullmatch(r"worker-1\.log(\.\d{19})?", name) for name in names) and len(names) > 2
