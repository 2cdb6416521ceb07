"""TensorBoard beside the run: starts it, says where it answers, and that it has ended.

It is no task: nothing waits for it, and no policy asks how it ended. As a child of the agent it is gone when the agent
is, and its own children are found like every other orphan of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.agent.system import processes
from launcher.agent.system.loop import Loop
from launcher.agent.tasks import environment
from launcher.agent.tasks.spawn import SpawnError, spawn
from launcher.wire import protocol
from launcher.wire.private.folder import Folder

FD_VARIABLE = "TFLAUNCH_BOARD_FD"
_PROGRAM_FILE = Path(__file__).with_name("board_program.py")
_RECEIVE_BYTES = 65536
_TAIL_BYTES = 4096


class Board:
    """At most one. ``say`` is told ``BoardState`` when it answers and when it has ended."""

    def __init__(
        self,
        loop: Loop,
        say: Callable[[protocol.Message], None],
        *,
        base: Mapping[str, str],
        home: Folder,
        open_files: int,
    ) -> None:
        self._loop = loop
        self._say = say
        self._base = base
        self._home = home
        self._open_files = open_files
        self._log = Path(home.here, "tensorboard.log")
        self._pid = 0
        self._said = ""

    @property
    def pids(self) -> set[int]:
        """Its process, while there is one."""
        return {self._pid} if self._pid else set()

    def start(self, command: protocol.Board) -> None:
        """Starts it, unless it runs. What prevents it is said as its end."""
        if self._pid:
            return
        logdir = command.logdir or f"{self._home.path}/tensorboard"
        options = {"logdir": logdir, "events": command.events, "model_dir": command.model_dir}
        reader, writer = os.pipe()
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            env = environment.changed(self._base, {**command.env, FD_VARIABLE: str(writer)})
            argv = (command.python, str(_PROGRAM_FILE), json.dumps(options))
            self._pid = spawn(argv, cwd="/", env=env, output_fd=log, open_files=self._open_files, keep_fd=writer)
        except (SpawnError, OSError) as error:
            os.close(reader)
            self._say(protocol.BoardState(state="ended", message=str(error)))
            return
        finally:
            os.close(writer)
            os.close(log)
        os.set_blocking(reader, False)
        self._said = ""
        self._loop.watch(reader, read=lambda: self._read(reader))

    def _read(self, reader: int) -> None:
        data = os.read(reader, _RECEIVE_BYTES)
        if not data:
            self._loop.forget(reader)
            os.close(reader)
            return
        self._said += data.decode("utf-8", "replace")
        if "\n" in self._said:
            line, _, self._said = self._said.partition("\n")
            self._say(protocol.BoardState(state="up", url=line))

    def child_ended(self, pid: int, status: int) -> bool:
        """Whether that was TensorBoard's process, which is reaped now."""
        if pid != self._pid:
            return False
        self._pid = 0
        processes.kill_group(pid, 9)
        self._say(protocol.BoardState(state="ended", message=self._last_words()))
        return True

    def _last_words(self) -> str:
        try:
            text = self._log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return text.rpartition("\n")[2]
