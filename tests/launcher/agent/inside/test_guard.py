"""Ports of a run answer its own processes alone: sockets under the guard, without TensorFlow."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.agent.inside.guard import addresses
from launcher.agent.inside.guard.addresses import Address
from launcher.agent.ports import listeners
from tests.launcher.agent.inside.guarded import (
    KEY,
    LIMIT_S,
    OTHER_KEY,
    Guarded,
    ask,
    is_cut_off,
    listen,
    serve,
    stranger,
    write,
)

Start = Callable[..., Guarded]


@pytest.fixture
def server(guarded: Start, file: Path, port: int) -> Guarded:
    process = guarded(file)
    listen(process, port)
    serve(process)
    return process


def test_only_who_has_the_key_is_served(guarded: Start, server: Guarded, file: Path, port: int, tmp_path: Path) -> None:
    friend, other = guarded(file), guarded(write(tmp_path / "other", {port: OTHER_KEY}))
    assert ask(friend, port)
    assert not ask(other, port)
    assert is_cut_off(stranger(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100))
    assert ask(friend, port)
    assert server("len(accepted)") == 2  # the program has seen nobody else
    said = server.said()
    assert f"cut off a connection from 127.0.0.1 to port {port} that did not show its key (1 so far)" in said


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_a_wildcard_becomes_loopback(guarded: Start, file: Path, port: int, family: str) -> None:
    server = guarded(file)
    listen(server, port, family=family)
    found = Path(f"/proc/self/net/{'tcp' if family == 'AF_INET' else 'tcp6'}").read_text().splitlines()
    mine = [line.split()[1] for line in found if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"]
    assert mine == [f"{'0000000000000000FFFF0000' if family == 'AF_INET6' else ''}0100007F:{port:04X}"]
    assert server("s.getsockname()[:2]") == ["::ffff:127.0.0.1" if family == "AF_INET6" else "127.0.0.1", port]
    assert len(listeners.listeners([port])[port]) == 1
    assert {item.inode for item in listeners.listeners([port])[port]} <= listeners.sockets_of(server.process.pid)


def test_sockets_of_one_family_listen_on_its_loopback(guarded: Start, port: int, tmp_path: Path) -> None:
    server = guarded(write(tmp_path / "guard", {port: KEY}))
    server("v6 = socket.socket(socket.AF_INET6); v6.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
    server(f"v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); v6.bind(('::', {port})); v6.listen()")
    assert server("v6.getsockname()[0]") == "::1"
    server = guarded(write(tmp_path / "guard6", {port: KEY}, ip="::1"))
    listen(server, port, family="AF_INET")
    assert server("s.getsockname()[0]") == "127.0.0.1"


def test_an_address_that_is_none_of_the_hosts_leaves_the_wildcard_but_not_the_key(
    guarded: Start, port: int, tmp_path: Path
) -> None:
    path = str(tmp_path / "guard")
    addresses.write(path, [Address("192.0.2.1", port, KEY, own=True, anywhere=True), Address("127.0.0.1", port, KEY)])
    server, friend = guarded(Path(path)), guarded(Path(path))
    listen(server, port)
    serve(server)
    assert server("s.getsockname()[0]") == "::"
    assert ask(friend, port)
    assert is_cut_off(stranger(port, OTHER_KEY))


def test_a_key_may_come_in_pieces_and_with_what_follows_it(server: Guarded, port: int) -> None:
    with stranger(port, KEY[:7]) as connection:
        connection.sendall(KEY[7:31])
        connection.sendall(KEY[31:] + b"word")
        assert connection.recv(10) == b"word"


def test_nothing_tells_how_much_of_a_key_was_right(guarded: Start, server: Guarded, file: Path, port: int) -> None:
    right, wrong = stranger(port, KEY[:1]), stranger(port, b"\0")
    assert ask(guarded(file), port)  # what came before it has been seen to
    for connection in (right, wrong):
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(LIMIT_S)
        connection.sendall(OTHER_KEY[1:])
        assert is_cut_off(connection)


def test_who_sends_nothing_is_cut_off_in_time(guarded: Start, port: int, tmp_path: Path) -> None:
    server = guarded(write(tmp_path / "guard", {port: KEY}, patience_s=0.2))
    listen(server, port)
    silent, slow = stranger(port), stranger(port, KEY[:31])
    assert is_cut_off(silent)
    assert is_cut_off(slow)
    assert not server("select.select([s], [], [], 0)[0]")


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_many_silent_connections_harm_nobody(guarded: Start, port: int, file: Path, count: int) -> None:
    server, friend = guarded(file), guarded(file)
    server("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
    listen(server, port)
    serve(server)
    silent = []
    for number in range(count):
        silent.append(stranger(port))
        if len(silent) > 500:  # a process may have a thousand descriptors; the server has room for far fewer
            silent.pop(0).close()
        if number % (count // 10) == 0:
            assert ask(friend, port)
    assert ask(friend, port)
    assert server("len(os.listdir('/proc/self/fd'))") < 100
    for connection in silent:
        connection.close()


def test_a_connection_is_the_programs_alone_when_it_accepts_it(guarded: Start, file: Path, port: int) -> None:
    """What a program closes leaves its epoll sets, though the guard's thread never gets to run after the program."""
    server, friend = guarded(file), guarded(file)
    server("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})")
    listen(server, port)
    server(
        """for task in os.listdir('/proc/self/task'):
    if open(f'/proc/self/task/{task}/comm').read() == 'tflaunch-door\\n':
        os.sched_setscheduler(int(task), os.SCHED_IDLE, os.sched_param(0))"""
    )
    serve(server)
    assert all(ask(friend, port) for _ in range(100))
    assert server("threading.active_count()") == 2  # it has met no descriptor that it did not know


def test_a_server_without_descriptors_serves_again_when_it_has_some(guarded: Start, file: Path, port: int) -> None:
    server, friend = guarded(file), guarded(file)
    listen(server, port)
    server("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); hoard = []")
    server("while len(hoard) < 64:\n  try: hoard.append(os.open('/dev/null', 0))\n  except OSError: break")
    friend(f"c = socket.create_connection(('127.0.0.1', {port})); c.sendall(b'word')")
    server("for fd in hoard: os.close(fd)")
    server("c, name = s.accept()")
    assert server("c.recv(4).decode()") == "word"


def test_the_key_goes_to_addresses_of_the_run_alone(guarded: Start, file: Path, port: int) -> None:
    """Host and port must both be right."""
    client = guarded(file)
    with socket.create_server(("127.0.0.2", 0), reuse_port=True) as beside:
        elsewhere = beside.getsockname()[1]
        with socket.create_server(("127.0.0.2", port), reuse_port=True) as same_port:
            for listener, number in ((beside, elsewhere), (same_port, port)):
                client(f"c = socket.create_connection(('127.0.0.2', {number})); c.sendall(b'word')")
                with listener.accept()[0] as connection:
                    assert connection.recv(100) == b"word"
    client(f"u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(('127.0.0.1', {port}))")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", port))
        datagrams.settimeout(LIMIT_S)
        client("u.send(b'word')")
        assert datagrams.recv(100) == b"word"


def test_new_addresses_are_known_at_once(guarded: Start, file: Path, port: int) -> None:
    client = guarded(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        for ports, came in (({port: KEY}, b"word"), ({number: KEY}, KEY + b"word"), ({number: OTHER_KEY}, OTHER_KEY)):
            write(file, ports)
            client(f"c = socket.create_connection(('127.0.0.1', {number})); c.sendall(b'word'); c.close()")
            with listener.accept()[0] as connection:
                assert connection.recv(100, socket.MSG_WAITALL).startswith(came)


def received(listener: socket.socket) -> bytes:
    """All that comes on the next connection."""
    with listener.accept()[0] as connection:
        connection.settimeout(LIMIT_S)
        return b"".join(iter(lambda: connection.recv(100), b""))


# gRPC sends with sendmsg alone, in TensorFlow 2.15.1 as in 2.21; programs of the user's may use any of them.
WAYS_TO_SEND = {
    "send": "c.send(b'word')",
    "sendto": "libc.sendto(c.fileno(), b'word', 4, 0, None, 0)",
    "sendmsg": "c.sendmsg([b'wo', b'rd'])",
    "sendmmsg": "libc.sendmmsg(c.fileno(), mmsghdr(b'word'), 1, 0)",
    "write": "os.write(c.fileno(), b'word')",
    "writev": "os.writev(c.fileno(), [b'wo', b'rd'])",
}
MMSGHDR = """
def mmsghdr(text):
    global kept
    buffer = ctypes.create_string_buffer(text, len(text))
    iovec = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), len(text))
    kept = buffer, iovec
    return (ctypes.c_size_t * 8)(0, 0, ctypes.addressof(iovec), 1, 0, 0, 0, 0)
libc = ctypes.CDLL(None)
"""


@pytest.mark.parametrize("way", WAYS_TO_SEND)
def test_the_key_comes_first_however_the_program_sends(guarded: Start, tmp_path: Path, way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        client = guarded(write(tmp_path / "guard", {number: KEY}))
        client(MMSGHDR)
        # Without asking for SO_ERROR, which would be enough for the key to be sent.
        client(f"c = socket.socket(); c.setblocking(False); c.connect_ex(('127.0.0.1', {number}))")
        client("select.select([], [c], [])")
        client(WAYS_TO_SEND[way])
        client("c.close()")
        assert received(listener) == KEY + b"word"


def test_the_key_is_sent_when_the_program_waits_for_the_first_word(guarded: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        client = guarded(write(tmp_path / "guard", {number: KEY}))
        for how in ("c.connect", "c.settimeout(9); c.connect"):
            client(f"c = socket.socket(); {how}(('127.0.0.1', {number}))")
            with listener.accept()[0] as connection:
                connection.settimeout(LIMIT_S)
                assert connection.recv(32, socket.MSG_WAITALL) == KEY


def test_who_sends_too_early_is_told_to_wait(guarded: Start, tmp_path: Path) -> None:
    """A connection that is still on its way takes neither key nor data."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        number = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)), listener:  # the queue is full: the next one has to wait
            client = guarded(write(tmp_path / "guard", {number: KEY}))
            client(f"c = socket.socket(); c.setblocking(False); c.connect_ex(('127.0.0.1', {number}))")
            assert client("select.select([], [c], [], 0)[1]") == []
            with pytest.raises(RuntimeError, match="BlockingIOError"):
                client("c.send(b'early')")
            listener.accept()[0].close()
            client("select.select([], [c], []); c.send(b'word'); c.close()")
            assert received(listener) == KEY + b"word"


def test_descriptors_may_be_duplicated_closed_and_used_again(guarded: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as other:
        number, elsewhere = ours.getsockname()[1], other.getsockname()[1]
        client = guarded(write(tmp_path / "guard", {number: KEY}))
        client(f"c = socket.socket(); c.setblocking(False); c.connect_ex(('127.0.0.1', {number}))")
        client("select.select([], [c], []); d = os.dup(c.fileno()); old = c.fileno(); c.close()")
        client(f"e = socket.create_connection(('127.0.0.1', {elsewhere})); e.sendall(b'else'); e.close()")
        client(f"e = socket.socket(); assert e.fileno() == old; e.connect(('127.0.0.1', {elsewhere}))")
        client("os.write(e.fileno(), b'again'); e.close(); os.write(d, b'word'); os.close(d)")
        assert received(other) == b"else"
        assert received(other) == b"again"
        assert received(ours) == KEY + b"word"


def test_connections_that_were_given_up_leave_nothing(guarded: Start, file: Path, port: int) -> None:
    client = guarded(file)
    client(f"for _ in range(1000):\n  c = socket.socket(); c.connect_ex(('127.0.0.1', {port})); c.close()")
    before = client("int(open('/proc/self/statm').read().split()[1])")
    client(f"for _ in range(20000):\n  c = socket.socket(); c.connect_ex(('127.0.0.1', {port})); c.close()")
    assert client("int(open('/proc/self/statm').read().split()[1])") < before + 100  # pages; 20,000 entries are 400


def test_high_descriptors(guarded: Start, file: Path, port: int) -> None:
    server, client = guarded(file), guarded(file)
    for process in (server, client):
        process("import fcntl, resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]")
        process("resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard)); first = hard - 100")
        process("high = lambda s: socket.socket(fileno=fcntl.fcntl(s.detach(), fcntl.F_DUPFD_CLOEXEC, first))")
    server("s = high(socket.socket(socket.AF_INET6)); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
    server(f"s.bind(('::', {port})); s.listen()")
    client(f"c = high(socket.socket()); c.connect(('127.0.0.1', {port})); c.sendall(b'word')")
    server("c, name = s.accept()")
    assert server("c.recv(4).decode()") == "word"
    assert is_cut_off(stranger(port, OTHER_KEY))


def test_a_blocking_server_is_told_who_came(guarded: Start, file: Path, port: int) -> None:
    server, client = guarded(file), guarded(file)
    listen(server, port)
    client(f"c = socket.create_connection(('127.0.0.1', {port}))")
    assert server("(c := s.accept())[1][0]") == "::ffff:127.0.0.1"
    assert server("c[1][1]") == client("c.getsockname()[1]")
    assert not server("c[0].get_inheritable()")
    assert client("c.getpeername()[1]") == port


def test_a_closed_server_closes_its_port(guarded: Start, server: Guarded, file: Path, port: int) -> None:
    friend = guarded(file)
    assert ask(friend, port)
    server("import gc; s.shutdown(socket.SHUT_RDWR); s.close()")
    with pytest.raises(ConnectionRefusedError):
        for _ in range(10_000):
            with contextlib.suppress(ConnectionResetError):  # just before the port closes
                stranger(port).close()
    listen(server, port)
    serve(server)
    assert ask(friend, port)


def test_many_threads_and_forks(guarded: Start, file: Path, port: int) -> None:
    """Workers that were forked accept from one socket; clients of sixteen threads, half of them in forks."""
    server, client = guarded(file), guarded(file)
    listen(server, port)
    server(
        """for _ in range(3):
    if os.fork() == 0:
        while True:
            c = s.accept()[0]
            c.sendall(c.recv(4))
            c.close()"""
    )
    ask(client, port)
    client(
        f"""def many(count):
    oks = []
    some = lambda: all(ask('127.0.0.1', {port}) for _ in range(20))
    threads = [threading.Thread(target=lambda: oks.append(some())) for _ in range(count)]
    for t in threads: t.start()
    child = os.fork()
    if child == 0: os._exit(not some())
    for t in threads: t.join()
    return oks == [True] * count and os.waitpid(child, 0)[1] == 0"""
    )
    assert client("many(16)")


def test_children_with_the_file_are_of_the_run(guarded: Start, server: Guarded, file: Path, port: int) -> None:
    """A task may be a shell script around the program; a child that was given another environment is a stranger."""
    client = guarded(file)
    code = f"import socket; c = socket.create_connection(('127.0.0.1', {port})); c.sendall(b'word' * 20)"
    code += "; print(c.recv(4))"
    client(f"code = {code!r}")
    shell = "subprocess.run(['sh', '-c', 'exec \"$0\" -c \"$1\"', sys.executable, code], capture_output=True, text=True"
    assert client(f"{shell}).stdout") == "b'word'\n"
    assert client(f"{shell}, env={{'LD_PRELOAD': os.environ['LD_PRELOAD']}}).stdout") != "b'word'\n"


USER_LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
ssize_t send(int fd, const void *data, size_t size, int flags) {
  __typeof__(&send) next = (__typeof__(&send))dlsym(RTLD_NEXT, "send");
  if (size == 4) fputs("the user's own send\n", stderr);
  return next(fd, data, size, flags);
}
"""


def test_a_library_of_the_users_stays_first(
    guarded: Start, server: Guarded, file: Path, port: int, library: Path, tmp_path: Path
) -> None:
    source, theirs = tmp_path / "theirs.c", tmp_path / "theirs.so"
    source.write_text(USER_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(theirs), str(source), "-ldl"], check=True)
    client = guarded(file, f"{theirs}:{library}")
    assert ask(client, port)
    assert client.said().count("the user's own send") == 1


def test_without_the_file_nothing_is_guarded(guarded: Start, port: int) -> None:
    server, client = guarded(None), guarded(None)
    listen(server, port)
    serve(server)
    assert server("s.getsockname()[0]") == "::"
    assert ask(client, port)
    with stranger(port, b"word") as connection:
        assert connection.recv(4) == b"word"


@pytest.mark.parametrize("content", [None, b"", b"tflguard" + b"\xff" * 56])
def test_no_port_is_opened_when_the_file_cannot_be_read(
    guarded: Start, port: int, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "guard"
    if content is not None:
        path.write_bytes(content)
    server = guarded(path)
    with pytest.raises(RuntimeError, match="PermissionError"):
        listen(server, port)
    assert f"cannot read the addresses of this run ({path})" in server.said()


def test_the_file_is_the_users_own(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_peers_are_asked_whether_they_live(guarded: Start, port: int, tmp_path: Path) -> None:
    liveliness = addresses.Liveliness(keepalive_s=7, unanswered_s=60)
    file = write(tmp_path / "guard", {port: KEY}, liveliness=liveliness)
    server, client = guarded(file), guarded(file)
    listen(server, port)
    client(f"c = socket.create_connection(('127.0.0.1', {port}))")
    server("c, name = s.accept()")
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    for process in (server, client):
        assert process("c.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)") == 1
        options = [process(f"c.getsockopt(socket.IPPROTO_TCP, socket.{name})") for name in names]
        assert options == [7, 7, 3, 60_000]


def test_it_costs_a_program_of_another_kind_nothing(library: Path, file: Path) -> None:
    """What a task starts inherits the guard: it must run as ever."""
    env = {"LD_PRELOAD": str(library), addresses.VARIABLE: str(file), "PATH": "/usr/bin:/bin"}
    for command in (["ls", "/"], ["sh", "-c", "echo a | cat"], [sys.executable, "-c", "print(1)"]):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert done.stdout
        assert done.stderr == ""


@pytest.mark.parametrize(("family", "ip"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::ffff:127.0.0.1")])
def test_a_process_may_ask_for_loopback_alone(guarded: Start, family: str, ip: str) -> None:
    """For ports that no file knows, such as those of tf.data service."""
    server = guarded(None, TFLAUNCH_GUARD_LOOPBACK="1")
    listen(server, 0, family=family)
    assert server("s.getsockname()[0]") == ip
