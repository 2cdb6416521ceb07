"""Starts runs: what follows ``--`` on the command line is the first argument, the flags are keywords."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from launcher.api import flags as flag_words
from launcher.api import standing
from launcher.api.result import Result
from launcher.api.run import POLL_S, Run
from launcher.wire.errors import EXIT_HOST, EXIT_USAGE, HostError, TflaunchError, UsageError
from launcher.wire.private import peers
from launcher.wire.variables import GIVEN_VARIABLE

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from launcher.api.flags import Flags, PathName

_SIZES = ("ps", "workers", "evaluator")
_log = logging.getLogger("launcher")


def run(
    command: Sequence[PathName] = (),
    *,
    spec: PathName | Mapping[str, object] | None = None,
    cwd: PathName | None = None,
    check: bool = False,
    **flags: Unpack[Flags],
) -> Result:
    """Runs a cluster of ``command`` (``["train.py", "--lr", "0.1"]``) to its end; see ``start``.

    Ctrl-C ends the run as it does on the command line, with a last save, and is raised when that is done. Raises
    RunFailedError if the run does not succeed and ``check`` is true.
    """
    with start(command, spec=spec, cwd=cwd, **flags) as started:
        try:
            result = started.wait()
        except KeyboardInterrupt:
            started.stop()
            raise
    return result.check() if check else result


async def arun(
    command: Sequence[PathName] = (),
    *,
    spec: PathName | Mapping[str, object] | None = None,
    cwd: PathName | None = None,
    check: bool = False,
    **flags: Unpack[Flags],
) -> Result:
    """``run`` for asyncio. Cancelled, it ends the run as Ctrl-C would before it is over."""
    starting = asyncio.ensure_future(asyncio.to_thread(start, command, spec=spec, cwd=cwd, **flags))
    try:
        started = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.to_thread((await starting).close)  # it comes up, whoever waits for it
        raise
    try:
        while started.live:
            await asyncio.sleep(POLL_S)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(started.stop))
        raise
    finally:
        await asyncio.shield(asyncio.to_thread(started.close))
    result = started.result()
    return result.check() if check else result


def start(
    command: Sequence[PathName] = (),
    *,
    spec: PathName | Mapping[str, object] | None = None,
    cwd: PathName | None = None,
    **flags: Unpack[Flags],
) -> Run:
    """Starts a cluster of ``command`` and returns while it runs.

    Without ``command`` the spec's is run, or the sample job. ``spec``: a cluster spec's file, or what would stand in
    it; the cluster runs on the hosts that it names, or on this machine if it names none. ``cwd``: the working folder,
    below whose ``runs/`` the run has its folder. The supervisor is a process of its own, which ends the run if this one
    dies.

    Raises UsageError (SpecError) for what the command line would refuse with exit code 2, HostError where it would end
    with 3, and TflaunchError if the run cannot be started for another reason, each with what it would have said.
    """
    folder = Path(cwd) if cwd is not None else Path.cwd()
    if isinstance(command, (str, bytes, os.PathLike)):
        raise UsageError(f"the command is a list of words, as in [{os.fspath(command)!r}]")
    if odd := [word for word in command if not isinstance(word, (str, os.PathLike))]:
        raise UsageError(f"{odd[0]!r} in the command is no text; write {str(odd[0])!r}")
    if spec is not None and (sizes := [name for name in _SIZES if flags.get(name) is not None]):
        raise UsageError(f"{', '.join(sizes)}: where there is a spec, its roles say how many tasks there are")
    with _spec_file(spec, folder) as file:
        words = ["run", file] if file is not None else ["local"]
        words += flag_words.words(flags)
        words += ["--", *(os.fspath(word) for word in command)] if command else []
        try:
            return launch(words, folder, flags.get("env"))
        except UsageError as error:
            if file is None or file == spec:
                raise
            raise UsageError(re.sub(rf"{re.escape(file)}(:\d+)?", "spec", str(error))) from None


def launch(words: Sequence[str], cwd: Path, env: Mapping[str, str] | None) -> Run:
    """Starts the run of a command line, which ends with this process; raises what ``start`` does. ``env``: the values
    of the variables that it names, which are the tasks' and not the launcher's own."""
    __tracebackhide__ = True  # pytest shows the line of its caller
    if any("\0" in word for word in words):
        raise UsageError("cannot start tflaunch: a word of the command line has a byte 0 in it")
    theirs, ours = os.pipe()
    given = {**os.environ, **({GIVEN_VARIABLE: json.dumps(dict(env))} if env else {})}
    owned = ("--detach", "--json", f"--owned={peers.identity(os.getpid())}")
    try:
        code, told, said = standing.command_line([words[0], *owned, *words[1:]], cwd=cwd, env=given, stdin=theirs)
    except BaseException as error:
        os.close(ours)  # should it have come up: it ends
        if isinstance(error, (OSError, ValueError)):  # a folder that is not there
            raise UsageError(f"cannot start tflaunch in {cwd}: {error}") from error
        raise
    finally:
        os.close(theirs)
    said = "\n".join(line.removeprefix("tflaunch: ") for line in said.splitlines()).rpartition("\nError: ")[2]
    if code:
        os.close(ours)
        raise _error(code, said or f"tflaunch ended with {code}")
    if said:
        _log.warning(said)
    return Run(Path(json.loads(told)), ours)


def _error(exit_code: int, said: str) -> TflaunchError:
    if exit_code == EXIT_HOST:
        host, _, message = said.partition(": ")
        return HostError(host, message)
    return UsageError(said) if exit_code == EXIT_USAGE else TflaunchError(said)


@contextlib.contextmanager
def _spec_file(spec: PathName | Mapping[str, object] | None, cwd: Path) -> Iterator[str | None]:
    """The file of a spec. What would stand in one has a file for as long as it is read: relative paths in it begin at
    the working folder."""
    if spec is None or not isinstance(spec, Mapping):
        yield None if spec is None else os.fspath(spec)
        return
    with tempfile.NamedTemporaryFile("w", prefix=".tflaunch-", suffix=".yaml", dir=cwd, encoding="utf-8") as file:
        try:
            yaml.safe_dump(dict(spec), file)
        except yaml.YAMLError as error:
            raise UsageError(f"spec: {error}; only what a YAML file can hold") from error
        file.flush()
        yield file.name
