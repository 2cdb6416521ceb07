"""A program on a node, by ``srun``: a step of the job, beside whatever else the job does there.

Of ``srun`` itself little is believed: it ends with exit code 0 when its node dies, and says nothing at all of a node
that has died but is not yet known to be down. What a program on a node has ended with is said by a shell around it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

from launcher.hosts.reach import Pipe
from launcher.wire.protocol import MAX_LINE_BYTES

_CLOSE_PATIENCE_S = 3.0
_LOOK_S = 0.02
_MOST_SAID_BYTES = 65536
_OPTIONS = ("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_EXACT", "SLURM_CPU_BIND", "SLURM_DISTRIBUTION", "SLURM_EXPORT_ENV")
_NOISE = "srun: cluster configuration lacks support for cpu binding"  # and so it binds nothing, as it is told
_ENDED = re.compile(r"^tflaunch-exit (\d+)$", re.MULTILINE)
# SIGTERM, which comes to all steps of a job that is to end, is for who holds the node: pipes last as long as they can.
_SHELL = ("sh", "-c", 'trap "" TERM; "$@"; c=$?; echo "tflaunch-exit $c" >&2; exit $c', "sh")


class Step:
    """A step with one process, and the pipe to it. ``among``: all that are open to its node; it is one of them until it
    is closed."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes], pipe: Pipe, among: set[Step]) -> None:
        self.reader, self.writer = pipe
        self._process = process
        self._said = said
        self._among = among
        among.add(self)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    async def ended(self, limit_s: float) -> tuple[int | None, str]:
        """The program's exit code, if it has lived to say so, and what it, or srun, wrote to standard error."""
        await self._until_over(limit_s)
        self._said.seek(0)
        said = self._said.read(_MOST_SAID_BYTES).decode("utf-8", "replace")
        code = _ENDED.findall(said) if self.is_over else []
        return (int(code[-1]) if code else None), _ENDED.sub("", said).replace(_NOISE, "").strip()

    async def room(self, most: int) -> int | None:
        """Slurm has a limit of steps for each job (MaxStepCount), far beyond what is needed here."""
        return None

    async def close(self) -> None:
        """Closes the pipe, and waits for the end of the step, not for long: srun may hang where its node has died."""
        self._among.discard(self)
        self.writer.close()
        await self._until_over(_CLOSE_PATIENCE_S)
        if not self.is_over:
            self._process.kill()
            self._process.wait()
        self._said.close()

    async def _until_over(self, limit_s: float) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        while not self.is_over and clock() < deadline:
            await asyncio.sleep(_LOOK_S)


async def begin(
    details: Mapping[str, str], argv: Sequence[str], environ: Mapping[str, str], among: set[Step], *, holds: bool
) -> Step:
    """Starts a program on the node that these details of a host name; raises OSError. ``holds``: it is the step's first
    process itself, which hears when the step is to end."""
    near, far = socket.socketpair()  # one for both directions: who ends one ends both
    said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the step
    words: list[str] = [*command(details), *(() if holds else _SHELL), *argv]
    with far:
        process = subprocess.Popen(
            words,
            stdin=far.fileno(),
            stdout=far.fileno(),
            stderr=said,
            env=dict(environ),
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )
    return Step(process, said, await asyncio.open_connection(sock=near, limit=MAX_LINE_BYTES), among)


def command(details: Mapping[str, str]) -> Sequence[str]:
    """Not bound to one core, as a step of one task would be; not buffered, or what is no line waits for its end."""
    where = (f"--jobid={details['job']}", "--nodes=1", "--ntasks=1", f"--nodelist={details['node']}")
    how = ("--overlap", "--unbuffered", "--no-kill", "--cpu-bind=none", "--export=ALL", "--quiet", "--chdir=/")
    return ("srun", *how, *where)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What steps start from: without what srun takes for its options, such as the number of tasks of a batch script."""
    return {name: value for name, value in environ.items() if not name.startswith(_OPTIONS)}
