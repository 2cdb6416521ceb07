"""What Slurm says, as text. Needs no Slurm."""

from __future__ import annotations

import pytest

from launcher.agent.tasks.environment import of_task
from launcher.hosts.slurm.keys import SlurmKeys, seconds
from launcher.hosts.slurm.nodes import Node, parsed
from launcher.hosts.slurm.script import batch_script
from launcher.hosts.slurm.steps import environment
from launcher.hosts.slurm.submitted import expected
from launcher.wire import protocol
from launcher.wire.errors import UsageError
from launcher.wire.private import registry


def test_scontrol_says_a_line_for_each() -> None:
    said = (
        "NodeName=n1 Arch=x86_64 NodeAddr=10.0.0.1 State=ALLOCATED\nNodeName=n2 NodeAddr=n2.site State=DOWN* Reason=\n"
    )
    known = parsed(said)
    assert known["NodeName", "n1"]["NodeAddr"] == "10.0.0.1"
    assert known["NodeName", "n2"]["State"] == "DOWN*"
    assert parsed("No nodes in the system\n") == {}


@pytest.mark.parametrize(
    ("state", "is_up"),
    [
        ("ALLOCATED", True),
        ("MIXED", True),
        ("IDLE+PLANNED", True),
        ("DOWN*", False),
        ("ALLOCATED*", False),
        ("FAIL", False),
    ],
)
def test_a_node_that_slurm_does_not_hear_is_not_up(state: str, is_up: bool) -> None:
    assert Node(name="n", address="n", state=state).is_up is is_up


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [(None, 0), ("gpu", 1), ("gpu:2", 2), ("gpu:a100:4", 4), ("gpu:a100", 1), ("gpu:1g.5gb:2", 2), ("nvme:1,gpu:3", 3)],
)
def test_gpus_of_a_node(gres: str | None, gpus: int) -> None:
    assert SlurmKeys(gres=gres).gpus == gpus


def test_steps_do_not_take_the_options_of_the_batch_script() -> None:
    said = {"SLURM_NTASKS": "7", "SLURM_EXPORT_ENV": "NONE", "SLURM_JOB_ID": "17", "PATH": "/bin"}
    assert environment(said) == {"SLURM_JOB_ID": "17", "PATH": "/bin"}


@pytest.mark.parametrize(
    ("base", "wanted", "seen"),
    [
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "2,3"}, "0", "2"),
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "2,3"}, "0,1", "2,3"),
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "2,3"}, "-1", "-1"),
        ({"SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "2,3"}, "2", "2"),
        ({"SLURM_JOB_ID": "1"}, "0", "0"),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, "0", "0"),
    ],
)
def test_gpus_are_those_of_the_grant(base: dict[str, str], wanted: str, seen: str) -> None:
    start = protocol.Start(
        task="worker:0", attempt=1, generation=1, argv=("ls",), cwd="/", env={"CUDA_VISIBLE_DEVICES": wanted}
    )
    home = registry.make("gpus-of-a-grant", "gpus-of-a-grant")
    assert home is not None
    try:
        assert of_task(base, start, home)["CUDA_VISIBLE_DEVICES"] == seen
    finally:
        home.remove()
        home.close()


@pytest.mark.parametrize(
    ("text", "total_s"),
    [("8h", 28800), ("90m", 5400), ("1d12h", 129600), ("8:00:00", 28800), ("1-12:00:00", 129600), ("30s", 30)],
)
def test_times(text: str, total_s: int) -> None:
    assert seconds(text) == total_s


@pytest.mark.parametrize("text", ["", "8", "h", "8:00", "0h", "eight", "8h30", "-8h", "8h 30m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time such as 8h"):
        seconds(text)


@pytest.mark.parametrize("option", ["--export=ALL", "--output=x", "-N3", "exclusive", "--a\n#SBATCH", "--no-requeue"])
def test_options_that_are_none_or_ours_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=r"is no option of sbatch|about which tflaunch decides"):
        SlurmKeys(extra=(option,))


@pytest.mark.parametrize("name", ["a b", "a\nb", "$(id)", "", "-x", '"'])
def test_names_that_slurm_has_not_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is nothing that Slurm knows by name"):
        SlurmKeys(partition=name)


def test_the_script_of_a_job() -> None:
    keys = SlurmKeys(
        partition="cpu",
        nodes=4,
        spare=1,
        time="8h",
        account="team",
        qos="high",
        gres="gpu:2",
        constraint="a100&nvme",
        cpus_per_node=16,
        memory_mib=64_000,
        requeue=3,
        extra=("--exclusive",),
    )
    argv = ("/env/bin/python", "-m", "launcher", "carry-out", "/shared/my runs/r")
    assert (
        batch_script(keys, name="ctr", folder="/shared/my runs/r", argv=argv)
        == """\
#!/bin/sh
#SBATCH --job-name=ctr
#SBATCH --chdir="/shared/my runs/r"
#SBATCH --output=submit/job-%j.out
#SBATCH --open-mode=append
#SBATCH --export=NONE
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --nodes=5
#SBATCH --time=8:00:00
#SBATCH --partition=cpu
#SBATCH --account=team
#SBATCH --qos=high
#SBATCH --gres=gpu:2
#SBATCH --constraint="a100&nvme"
#SBATCH --mem=64000M
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
exec /env/bin/python -m launcher carry-out '/shared/my runs/r'
"""
    )


@pytest.mark.parametrize("folder", ["/a\nb", '/a"b', "/a%jb", "/a\\b"])
def test_a_folder_that_options_cannot_hold_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="name another: --run-dir"):
        batch_script(SlurmKeys(), name="r", folder=folder, argv=("true",))


def test_how_a_job_stands_is_said_in_words() -> None:
    facts = {"JobState": "PENDING", "Reason": "Resources", "StartTime": "2026-12-01T01:00:00"}
    assert expected(facts) == "waits (Resources), expected to start at 2026-12-01T01:00:00"
    assert expected({"JobState": "PENDING", "Reason": "None", "StartTime": "Unknown"}) == "waits"
    assert expected({"JobState": "RUNNING"}) == "running"
