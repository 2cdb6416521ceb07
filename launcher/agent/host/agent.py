"""The agent: hears the supervisor's commands and acts, one thread, one loop.

It is the parent of every task and, as subreaper, of every orphan among their descendants. It ends with everything
below it: when told to (``Finish``), when its lease has passed, and when its keeper has died.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from launcher.agent.host import lock
from launcher.agent.host.fence import Deadline
from launcher.agent.host.keeper_line import KeeperLine
from launcher.agent.host.lease import Lease
from launcher.agent.host.model_locks import ModelLocks
from launcher.agent.host.options import Inheritance, Options
from launcher.agent.host.outbox import Outbox
from launcher.agent.host.supervisor_link import SupervisorLink
from launcher.agent.inside import last_words
from launcher.agent.inside.guard import library
from launcher.agent.inside.guard.addresses import Liveliness
from launcher.agent.ports import reservations
from launcher.agent.ports.guarding import Guarding
from launcher.agent.ports.lookout import Lookout
from launcher.agent.ports.prover import Prover
from launcher.agent.ports.reservations import Reservations
from launcher.agent.ports.reserving import PortsError
from launcher.agent.system import linux, processes, title
from launcher.agent.system.loop import Loop
from launcher.agent.tasks import standing
from launcher.agent.tasks.output import Outputs
from launcher.agent.tasks.stacks import StackTaker
from launcher.agent.tasks.task_links import TaskLinks
from launcher.agent.tasks.task_runner import TaskRunner
from launcher.agent.tasks.usage import UsageSampler, memory_mib
from launcher.wire import protocol
from launcher.wire.private import cores
from launcher.wire.private.folder import REFRESH_S
from launcher.wire.words import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SEE_PATIENCE_S = 10.0  # network file systems show new files late
_SEE_AGAIN_S = 0.25
_MOST_BYTES = 8 * 1024 * 1024  # of unacknowledged events; beyond, tasks are not listened to


def main(options: Options, inheritance: Inheritance) -> NoReturn:
    """Runs in a fresh fork of the keeper, and ends with the process."""
    try:
        linux.become_subreaper()
        title.set_title(f"tflaunch agent {inheritance.home.path}", "tflaunch-agent")
        if os.getppid() == inheritance.keeper:
            Agent(options, inheritance, _forked_server(inheritance)).run()
    except Exception:  # noqa: BLE001 - the top of a process: the keeper takes down what is left and starts another
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _forked_server(inheritance: Inheritance) -> standing.Made | None:
    """What forks tasks, if this process was forked from what can. In a task it does not return."""
    if inheritance.standing is None:
        return None
    log = Path(inheritance.home.here, "preload.log")
    return standing.fork(inheritance.standing, log, inheritance.open_files)


class Agent:
    """Everything of one agent process, wired up."""

    def __init__(self, options: Options, inheritance: Inheritance, server: standing.Made | None) -> None:
        self._options = options
        self._keeper = KeeperLine(inheritance.line, inheritance.held)
        self._home = inheritance.home
        here = Path(self._home.here)
        self._loop = Loop()
        incarnation = f"{time.time_ns():x}-{inheritance.number}"
        self._outbox = Outbox(incarnation, time.time)
        self._outputs = Outputs(self._loop, self._keeper, here / "output", options.kept_mib * 2**20)
        self._link = SupervisorLink(
            self._loop, inheritance.agent_listener, self._outbox, self._outputs, _welcome(incarnation), options.run
        )
        say = self._say
        base, open_files = {**os.environ, **cores.thread_counts(os.environ)}, inheritance.open_files
        self._deadline = Deadline(Path(self._home.path), base, options)
        self._attempts = TaskRunner(self._loop, say, self._outputs, base=base, home=self._home, open_files=open_files)
        self._attempts.preloads.made = server
        far = Liveliness.for_lease(options.lease_s) if options.silence_s else Liveliness()
        self._guarding = Guarding(self._loop, say, Path(self._home.path), base, far)
        self._reservations = Reservations(self._keeper)
        self._model_locks = ModelLocks(self._loop, say, self._keeper, options.run, self._home)
        self._tasks = TaskLinks(self._loop, inheritance.task_listener, say, self._attempts)
        self._prover = Prover(self._loop, say, self._attempts, self._reservations)
        self._lookout = Lookout(self._loop, say, self._attempts, self._reservations)
        self._lease = Lease(self._loop, options, self._attempts, self._deadline, self._finish)
        self._link.on_heard = self._lease.hear
        self._lease.on_half = lambda: self._tasks.tell(protocol.Tell(task="", message=protocol.SaveNow()))
        self._usage = UsageSampler(self._loop, say, self._attempts, lambda: self._link.connected)
        self._stacks = StackTaker(self._loop, say, self._attempts, here)
        self._attempts.on_gone = self._tasks.forget

    def run(self) -> None:
        """Serves until the end. Blocks."""
        Path(self._home.here, last_words.FOLDER).mkdir(mode=0o700, exist_ok=True)
        self._outputs.adopt()
        self._link.on_command = self._obey
        self._link.on_change = self._supervisor_changed
        self._link.on_ack = self._check_pressure
        self._link.on_abandoned = self._abandoned
        self._keeper.watch(self._loop, self._keeper_died)
        self._loop.on_child(self._attempts.reap)
        self._refresh_home()
        self._lease.run()
        if self._options.silence_s:
            self._link.expect_words(self._options.silence_s)
        self._loop.run()

    def _refresh_home(self) -> None:
        self._home.refresh()
        self._loop.later(REFRESH_S, self._refresh_home)

    def _say(self, body: protocol.Message) -> None:
        self._link.say(body)
        self._check_pressure()

    def _check_pressure(self) -> None:
        self._tasks.pause(self._outbox.kept_bytes > _MOST_BYTES)

    def _supervisor_changed(self, connected: bool) -> None:
        if connected:
            self._lease.renew()
        elif not self._options.silence_s:
            self._lease.run()

    def _abandoned(self, now: bool) -> None:
        """The run goes on nowhere."""
        if now:
            self._finish()
        else:
            self._lease.agree(grace=True)
            self._lease.end()

    # --- commands

    def _obey(self, command: protocol.Message) -> None:
        act = _COMMANDS.get(type(command))
        if act is None:
            return
        if self._guarding.busy and not isinstance(command, protocol.Finish):
            self._guarding.when_written(lambda: self._obey(command))
            return
        try:
            act(self, command)
        except (OSError, TypeError, ValueError, AttributeError) as error:
            self._refuse(command, f"cannot do {command.kind}: {limits.told(error)}")

    def _refuse(
        self, command: protocol.Message, message: str, foreign: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        refused = protocol.Refused(
            command=command.kind,
            message=message,
            task=str(getattr(command, "task", "")),
            attempt=getattr(command, "attempt", 0),
            foreign=dict(foreign),
        )
        self._say(refused)

    def _reserve(self, command: protocol.Reserve) -> None:
        try:
            held = self._reservations.reserve(command)
        except PortsError as error:
            self._refuse(command, str(error), reservations.in_the_way(command.low, command.high))
            return
        self._say(protocol.Reserved(generation=command.generation, ports=held))

    def _lock(self, command: protocol.LockModelDir) -> None:
        try:
            self._model_locks.lock(command.path, command.generation, command.departed)
        except lock.LockError as error:
            self._refuse(command, str(error))

    def _see_model_dir(self, command: protocol.SeeModelDir, waited_s: float = 0.0) -> None:
        if lock.holder(command.path).get("run") == self._options.run:
            self._say(protocol.Seen(path=command.path))
        elif waited_s < _SEE_PATIENCE_S:
            self._loop.later(_SEE_AGAIN_S, lambda: self._see_model_dir(command, waited_s + _SEE_AGAIN_S))
        else:
            there = "is not" if Path(command.path).is_dir() else "does not exist on this host, so it is not"
            self._refuse(command, f"model_dir {command.path} {there} the folder that the chief has there on its host")

    def _start(self, command: protocol.Start) -> None:
        if self._lease.passed:
            self._refuse(command, "this host was without its supervisor for too long and ends its tasks")
            return
        self._attempts.start(command)
        if self._guarding.is_on:
            self._lookout.watch()

    def _agree(self, command: protocol.LeaseTerms) -> None:
        self._lease.agree(grace=command.grace)
        self._say(protocol.LeaseAgreed(grace=command.grace))

    # --- the end

    def _keeper_died(self) -> None:
        processes.kill_descendants()
        self._home.remove()
        self._loop.stop()

    def _finish(self) -> None:
        """Nothing is left when the supervisor sees its line close: no process, no lock, no port, no file."""
        processes.kill_descendants(besides=self._attempts.unkilled)
        self._model_locks.release(is_over=not self._lease.passed)
        self._reservations.release()
        self._keeper.forget()
        self._home.remove()
        self._keeper.done()
        self._link.hang_up()
        self._loop.stop()


_COMMANDS: Mapping[type[protocol.Message], Callable[[Agent, Any], None]] = MappingProxyType(
    {
        protocol.Reserve: Agent._reserve,
        protocol.LockModelDir: lambda agent, command: agent._lock(command),
        protocol.SeeModelDir: Agent._see_model_dir,
        protocol.LeaseTerms: Agent._agree,
        protocol.Guard: lambda agent, command: agent._guarding.renew(command),
        protocol.Preload: lambda agent, command: agent._attempts.preloads.prepare(command),
        protocol.Start: Agent._start,
        protocol.Board: lambda agent, command: agent._attempts.board.start(command),
        protocol.Stop: lambda agent, command: agent._attempts.stop(command.task, command.attempt, command.grace_s),
        protocol.Signal: lambda agent, command: agent._attempts.signal(command.task, command.attempt, command.signal),
        protocol.TakeStacks: lambda agent, command: agent._stacks.take(command),
        protocol.Prove: lambda agent, command: agent._prover.prove(command),
        protocol.Tell: lambda agent, command: agent._tasks.tell(command),
        protocol.Finish: lambda agent, command: agent._finish(),
    }
)


def _welcome(incarnation: str) -> protocol.Welcome:
    return protocol.Welcome(
        incarnation=incarnation,
        version=protocol.VERSION,
        host=socket.gethostname(),
        pid=os.getpid(),
        python=f"{sys.executable} {sys.version.split()[0]}",
        open_ports=library.obstacle(),
        cores=cores.granted(os.environ),
        memory_mib=memory_mib(),
        gpus=len([name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]),  # noqa: PTH208
    )
