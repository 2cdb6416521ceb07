"""The batch script of a job that was submitted for a run. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from launcher.hosts.slurm.keys import SlurmKeys, seconds
from launcher.wire.errors import UsageError

OUTPUT = "submit/job-%j.out"  # in the run's folder; %j: the job's number
_PLAIN_PATH = re.compile(r"[^\x00-\x1f\x7f\"\\%]+")


def batch_script(keys: SlurmKeys, *, name: str, folder: str, argv: Sequence[str]) -> str:
    """What ``sbatch`` is given: it holds options and one command, and nothing of the user's environment.

    A node that is lost does not end the job (``--no-kill``). Raises UsageError for a folder that Slurm's options cannot
    hold."""
    if not _PLAIN_PATH.fullmatch(folder):
        raise UsageError(f"the run's folder {folder!r} is no name for Slurm's options; name another: --run-dir")
    options = "\n".join(f"#SBATCH {option}" for option in _options(keys, name, folder))
    return f"#!/bin/sh\n{options}\nexec {shlex.join(argv)}\n"


def where(keys: SlurmKeys) -> Iterator[str]:
    """The options that say which nodes, and what of them: for sbatch, salloc and srun alike."""
    yield f"--nodes={keys.all_nodes}"
    written = {
        "partition": keys.partition,
        "account": keys.account,
        "qos": keys.qos,
        "gres": keys.gres,
        "constraint": keys.constraint,
        "mem": f"{keys.memory_mib}M" if keys.memory_mib is not None else None,
    }
    yield from (f"--{option}={value}" for option, value in written.items() if value is not None)
    if keys.cpus_per_node is not None:
        yield "--ntasks-per-node=1"
        yield f"--cpus-per-task={keys.cpus_per_node}"
    yield from keys.extra


def _options(keys: SlurmKeys, name: str, folder: str) -> Iterator[str]:
    yield f"--job-name={name}"
    yield f'--chdir="{folder}"'
    yield f"--output={OUTPUT}"
    yield "--open-mode=append"
    yield "--export=NONE"
    yield "--no-kill"
    yield "--requeue" if keys.requeue else "--no-requeue"
    nodes, *others = where(keys)
    yield nodes
    if keys.time is not None:
        yield f"--time={_clock(seconds(keys.time))}"
    for option in others:
        word, _, value = option.partition("=")
        yield f'{word}="{value}"' if word == "--constraint" else option


def _clock(total_s: int) -> str:
    minutes, seconds_ = divmod(total_s, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds_:02}"
