"""Connections to other hosts, by Fabric, and with it paramiko, which does the work below.

Two of Fabric's habits are put right here: it accepts unknown host keys, and it goes through several jump hosts in the
wrong order. Its ``env=`` and ``timeout=`` are not used: the first inlines values unquoted, the second does not bound
the connecting.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import fabric
from paramiko.config import SSHConfig

from launcher.hosts.reach import Pipe, ReachError
from launcher.hosts.ssh import host_keys
from launcher.hosts.ssh import settings as ssh_settings
from launcher.hosts.ssh.channel_pipe import open_pipe
from launcher.hosts.ssh.troubles import ERRORS, explain
from launcher.plan.model import PlannedHost
from launcher.spec.hosts import ACCEPT_NEW_HOST_KEYS, CONNECT_TIMEOUT_S

_T = TypeVar("_T")

_MOST_SAID_BYTES = 65536
_FAN_OUT = 16  # handshakes at a time: more would only make each of them slower
TRIES = 3
_TRY_AGAIN_S = 0.5


class SshProgram:
    """A program that runs on a host, over a connection of its own. ``among``: all that are open to the host."""

    def __init__(self, channel: Any, pipe: Pipe, line: Line, among: set[SshProgram]) -> None:
        self.reader, self.writer = pipe
        self._channel = channel
        self._line = line
        self._among = among

    async def ended(self, limit_s: float) -> tuple[int | None, str]:
        """Its exit code and what it wrote to standard error; None if it has not said so within ``limit_s``."""
        return await self._line.blocking(lambda: self._await_end(limit_s))

    async def room(self, most: int) -> int | None:
        """How many programs sshd would let run at once over one connection (MaxSessions), this one included."""
        return 1 + await self._line.blocking(lambda: self._line.count_sessions(most - 1))

    async def close(self) -> None:
        """Closes its connection, which tells it to end."""
        self._among.discard(self)
        self.writer.close()
        await self._line.close()

    def _await_end(self, limit_s: float) -> tuple[int | None, str]:
        self._channel.status_event.wait(limit_s)
        code = self._channel.exit_status
        self._channel.settimeout(0.2)
        said, until = b"", time.monotonic() + limit_s
        try:
            while time.monotonic() < until and (part := self._channel.recv_stderr(65536)):
                said = (said + part)[-_MOST_SAID_BYTES:]
        except ERRORS:
            pass
        return (code if code >= 0 else None), said.decode("utf-8", "replace").strip()


class Line:
    """A connection that is up."""

    def __init__(self, connection: Any, pool: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._pool = pool

    async def start(self, command: str, among: set[SshProgram]) -> SshProgram:
        """Runs a command by the user's login shell; the program owns this line. Raises ReachError."""
        try:
            channel = await self.blocking(lambda: self._execute(command))
        except ERRORS as error:
            raise ReachError(f"the connection broke off: {error}") from error
        return SshProgram(channel, await open_pipe(channel), self, among)

    async def blocking(self, work: Callable[[], _T]) -> _T:
        """Does what blocks, besides all else."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _execute(self, command: str) -> Any:
        channel = self._connection.create_session()
        channel.exec_command(command)
        return channel

    def count_sessions(self, most: int) -> int:
        """How many more programs sshd would let run at once; it is asked for ``most``. Blocks."""
        opened: list[Any] = []
        try:
            while len(opened) < most:
                opened.append(self._connection.create_session())
        except ERRORS:
            pass
        for channel in opened:
            channel.close()
        return len(opened)

    async def close(self) -> None:
        """Closes it, and those to jump hosts. What runs at the far end is told by the end of its standard input."""
        await self.blocking(lambda: _close(self._connection))


def _close(connection: Any) -> None:
    below = connection.gateway
    connection.close()
    if isinstance(below, fabric.Connection):
        _close(below)


class Dialer:
    """Connects to hosts as ``hosts[].ssh``, ~/.ssh/config and known_hosts say."""

    def __init__(self) -> None:
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what it has to say comes as an exception, too
        self._pool = ThreadPoolExecutor(_FAN_OUT, thread_name_prefix="ssh")
        text = ssh_settings.config_text(Path("~/.ssh/config").expanduser())
        self._known = ssh_settings.KnownHosts()
        self._config = fabric.Config(lazy=True, ssh_config=SSHConfig.from_text(text))

    async def dial(self, host: PlannedHost, *, tries: int = TRIES, limit_s: float = math.inf) -> Line:
        """A line to the host. Raises ReachError within ``limit_s`` and the host's connect time-out; what may have
        been bad luck is tried again before that, up to ``tries`` times."""
        clock = asyncio.get_running_loop().time
        deadline: float | None = None
        for left in range(tries - 1, -1, -1):
            connection = self.connection(host)
            limit_s = min(limit_s, connection.connect_timeout)
            deadline = deadline or clock() + limit_s
            try:
                await asyncio.wait_for(self._open(connection), max(0.1, deadline - clock()))
                return Line(connection, self._pool)
            except (*ERRORS, asyncio.TimeoutError) as error:
                trouble = explain(error, connection, limit_s)
                if trouble.final or not left or clock() + _TRY_AGAIN_S >= deadline:
                    raise trouble from error
            await asyncio.sleep(_TRY_AGAIN_S)
        raise AssertionError("unreachable")

    async def _open(self, connection: Any) -> None:
        if not connection.gateway:
            connection.connect_kwargs["sock"] = await self._socket(connection)
            connection.host = connection.ssh_config.get("hostkeyalias", connection.host)
        await self._blocking(connection.open)

    async def _socket(self, connection: Any) -> socket.socket:
        """The network's part, outside of the pool: hosts that do not answer keep nobody else waiting."""
        found = await self._blocking(
            lambda: socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
        )
        trouble: OSError = OSError(errno.EHOSTUNREACH, "no address")
        for family, kind, protocol, _, address in found:
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(made, address)
                return made
            except OSError as error:
                made.close()
                trouble = error
            except BaseException:
                made.close()
                raise
        raise trouble

    async def _blocking(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def connection(self, host: PlannedHost) -> Any:
        """What a connection to the host is made of; it is not open yet. Raises ReachError."""
        details = host.details
        given: dict[str, Any] = {key: details[key] for key in ("user",) if key in details}
        if "port" in details:
            given["port"] = int(details["port"])
        if "connect_timeout_s" in details:
            given["connect_timeout"] = max(1, round(float(details["connect_timeout_s"])))
        keys = [str(Path(details["key"]).expanduser())] if "key" in details else []
        if keys and not Path(keys[0]).is_file():
            message = f"there is no key {keys[0]} on this machine"
            raise ReachError(message, advice="correct hosts[].ssh.key", final=True)
        accept = details.get(ACCEPT_NEW_HOST_KEYS) == "True"
        return self._prepared(details.get("host", host.address), given, keys=keys, accept=accept)

    def _prepared(self, name: str, given: dict[str, Any], *, keys: list[str], accept: bool, depth: int = 0) -> Any:
        """A connection that is not open yet, with those to its jump hosts below it."""
        # Never empty: Fabric would take those of the configuration instead, which all connections share and change.
        kwargs: dict[str, Any] = {"look_for_keys": True} | ({"key_filename": keys} if keys else {})
        made = fabric.Connection(name, config=self._config, gateway=False, connect_kwargs=kwargs, **given)
        settings = made.ssh_config
        made.connect_timeout = made.connect_timeout or CONNECT_TIMEOUT_S
        for bound in ("banner_timeout", "auth_timeout", "channel_timeout"):
            made.connect_kwargs[bound] = made.connect_timeout
        made.connect_kwargs["look_for_keys"] = settings.get("identitiesonly") != "yes"
        self._know_host_keys(made, accept=accept)
        hops = ssh_settings.jumps(settings) if depth < 3 else ()
        for hop in hops:
            below, made.gateway = made.gateway, self._prepared(hop, {}, keys=[], accept=accept, depth=depth + 1)
            made.gateway.gateway = below or made.gateway.gateway
        if not hops and settings.get("proxycommand"):
            made.gateway = settings["proxycommand"]
        return made

    def _know_host_keys(self, connection: Any, *, accept: bool) -> None:
        users, systems = ssh_settings.known_hosts_files(connection.ssh_config)
        for name in {connection.host, connection.ssh_config.get("hostkeyalias", connection.host)}:
            known = name if connection.port == 22 else f"[{name}]:{connection.port}"
            for file in (*users, *systems):
                for line in self._known.lines(file, known):
                    host_keys.learn(connection.client.get_host_keys(), known, line)
        connection.client.set_missing_host_key_policy(host_keys.WhenUnknown(users[0] if accept and users else None))
