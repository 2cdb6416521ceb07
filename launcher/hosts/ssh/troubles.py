"""What went wrong on the way to a host, in words."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from launcher.hosts.reach import ReachError
from launcher.hosts.ssh.host_keys import UnknownHostKeyError

ERRORS = (OSError, EOFError, paramiko.SSHException)


def explain(error: BaseException, connection: Any, limit_s: float) -> ReachError:
    """What went wrong while connecting, in words for the user. ``limit_s``: how long it was tried."""
    port = "" if connection.port == 22 else f" -p {connection.port}"
    by_hand = f"ssh{port} {connection.user}@{connection.original_host}"
    place = f"{connection.host}:{connection.port}"
    if isinstance(error, UnknownHostKeyError):
        advice = (
            f"if that is its key, add this line to ~/.ssh/known_hosts: {error.line} (or use --accept-new-host-keys)"
        )
        return ReachError(str(error), advice=advice, final=True)
    if isinstance(error, paramiko.BadHostKeyException):
        known = connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}"
        return ReachError(
            f"its host key is {error.key.fingerprint}, not the one you know: somebody may be in between",
            advice=f"only if you know that the host was set up anew: ssh-keygen -R '{known}', then {by_hand}",
            final=True,
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        message = f"the key for {connection.user} at {place} has a passphrase"
        return ReachError(message, advice="give it to your SSH agent: ssh-add", final=True)
    if isinstance(error, paramiko.AuthenticationException) or "No authentication methods" in str(error):
        return ReachError(
            f"{connection.user} was not let in at {place}: no key fits{_keys(connection)}",
            advice=f"see that this works without a password: {by_hand} (hosts[].ssh.user, hosts[].ssh.key)",
            final=True,
        )
    if isinstance(error, paramiko.ChannelException):
        return ReachError(f"the jump host cannot reach {place}: {error.text}", advice=f"try {by_hand}")
    return _network_trouble(error, connection, place, limit_s)


def _network_trouble(error: BaseException, connection: Any, place: str, limit_s: float) -> ReachError:
    if isinstance(error, NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror):
        return ReachError(
            f"the name {connection.host!r} leads nowhere ({error.strerror})",
            advice="correct address or ssh.host in hosts[]",
            final=number == socket.EAI_NONAME,
        )
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return ReachError(
            f"no answer from {place} within {limit_s:g} s",
            advice="is the host up, does a firewall drop connections, is it slow (hosts[].ssh.connect_timeout_s)?",
        )
    if number == errno.ECONNREFUSED:
        advice = "is sshd running there, is the port right (hosts[].ssh.port)?"
        return ReachError(f"{place} refuses connections", advice=advice)
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return ReachError(f"there is no way to {place} ({_said(error)})", advice="is the host up?")
    if isinstance(error, (paramiko.SSHException, EOFError, ConnectionError)):
        advice = "is that an SSH server, and not too busy (MaxStartups)?"
        return ReachError(f"{place} does not speak SSH as it should ({_said(error)})", advice=advice)
    return ReachError(f"cannot connect to {place}: {_said(error)}")


def _said(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or "it hung up"


def _keys(connection: Any) -> str:
    names = connection.connect_kwargs.get("key_filename", [])
    return f" ({', '.join(names)})" if names else ""
