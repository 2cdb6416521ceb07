"""A tiny task without TensorFlow that does what it is told, in order: ``fake_task.py exit=3``.

Words, each done in turn (standard library only, starts in milliseconds):
  exit=N, crash=SIGNAL, hang, sleep=S        end so, or do not end
  ignore-term                                from here on TERM does nothing
  child, child-setsid                        leave a grandchild that sleeps for an hour (in a session of its own)
  print=TEXT, spam=BYTES:SEED                write to standard output; spam is what ``spam_bytes`` gives
  env=NAME, argv, orig-argv, cwd, umask      print what was passed, as JSON lines
  listen                                     listen on the own address in TF_CONFIG, with SO_REUSEPORT
  touch=PATH, wait-file=PATH                 make a file; wait until one is there
  sign=PATH                                  append the own name and attempt to that file
  ready, finished=STEP, step=STEP[:EXAMPLES], saved=STEP, evaluated=STEP, waiting=WHAT, garbage
                                             say so over the task socket
  pass-on=PATH                               listen there, and say what comes over a task socket for each connection
  flood=N                                    N steps over the task socket, as fast as it takes them
  steps-until=PATH                           train, a step in 50 ms, until there is such a file
  rewrite=FOLDER:N                           replace the file ``checkpoint`` there N times, with the own attempt in it
  gate, barrier, drain, stop, save           wait until told so over the task socket
  obey                                       wait until told to exit over the task socket, and do
  alive                                      wait until told that the chief has its session
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

_PATTERN_BYTES = 65536


def spam_bytes(size: int, seed: int) -> bytes:
    """``size`` deterministic bytes with everything that is hard on logs: ``\\r``, UTF-8 to be split, long lines, bytes
    that are no text, no newline at the end."""
    source = random.Random(seed)
    parts = [source.randbytes(_PATTERN_BYTES // 4), "é漢🙂\r".encode() * 1000, b"progress 10%\rprogress 20%\r\n" * 100]
    parts.append(b"x" * 30000)
    pattern = b"".join(parts) + b"\n"
    return (pattern * (size // len(pattern) + 1))[: size - 1] + b"." if size else b""


class Channel:
    """The task socket."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(os.environ["TFLAUNCH_TASK_SOCKET"])
        self._file = self._socket.makefile("rb")
        self._told: list[dict[str, object]] = []
        task, attempt = os.environ["TFLAUNCH_TASK"], int(os.environ["TFLAUNCH_ATTEMPT"])
        self.say(kind="task_hello", task=task, attempt=attempt, pid=os.getpid())

    def say(self, **message: object) -> None:
        self.raw(json.dumps(message).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    @property
    def told(self) -> list[dict[str, object]]:
        return self._told

    def wait(self, kind: str, *, keep: bool = False) -> None:
        while not any(_matches(message, kind) for message in self._told):
            line = self._file.readline()
            if not line:
                sys.exit(70)
            self._told.append(json.loads(line))
        if not keep:
            self._told = [message for message in self._told if not _matches(message, kind)]


def obey() -> None:
    channel().say(kind="waiting", what="")
    channel().wait("exit_now", keep=True)
    sys.exit(int(str(channel().told[-1]["code"])))


def _matches(message: dict[str, object], kind: str) -> bool:
    if kind == "alive":
        return message["kind"] == "gate" and bool(message["variables_alive"])
    return message["kind"] == kind and (kind != "gate" or bool(message["open"]))


_channel: list[Channel] = []
_kept: list[socket.socket] = []


def channel() -> Channel:
    if not _channel:
        _channel.append(Channel())
    return _channel[0]


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view[:1_000_000]) :]


def grandchild(*, own_session: bool) -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if own_session:
            os.setsid()
        os.write(writer, b".")
        time.sleep(3600)
        os._exit(0)
    os.read(reader, 1)


def listen() -> None:
    config = json.loads(os.environ["TF_CONFIG"])
    task = config["task"]
    port = int(config["cluster"][task["type"]][task["index"]].rpartition(":")[2])
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("::", port))
    server.listen()
    _kept.append(server)


def wait_file(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.005)


def crash(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


def spam(value: str) -> None:
    size, seed = value.split(":")
    write(spam_bytes(int(size), int(seed)))


def step(value: str) -> None:
    at, _, examples = value.partition(":")
    channel().say(kind="step", global_step=int(at), local_steps=int(at), examples=int(examples) if examples else None)


def flood(value: str) -> None:
    for at in range(int(value)):
        step(str(at))


def steps_until(path: str) -> None:
    at = 0
    while not Path(path).exists():
        at += 1
        step(str(at))
        time.sleep(0.05)


def pass_on(path: str) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{path}~")
    server.listen()
    Path(f"{path}~").rename(path)
    while True:
        connection, task_socket = server.accept()[0], Channel()
        with connection, contextlib.suppress(ConnectionError):  # the agent may have had enough
            while data := connection.recv(_PATTERN_BYTES):
                task_socket.raw(data)
        task_socket.close()


def rewrite(value: str) -> None:
    folder, _, times = value.rpartition(":")
    new = Path(folder, f"new-{os.environ['TFLAUNCH_ATTEMPT']}")
    for _ in range(int(times)):
        new.write_text(os.environ["TFLAUNCH_ATTEMPT"])
        new.replace(Path(folder, "checkpoint"))
        time.sleep(0.005)


def sign(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{os.environ['TFLAUNCH_TASK']} {os.environ['TFLAUNCH_ATTEMPT']}\n".encode())
    os.close(fd)


def show(value: object) -> None:
    write(json.dumps(value).encode() + b"\n")


WORDS = {
    "exit": lambda value: sys.exit(int(value)),
    "crash": crash,
    "hang": lambda value: time.sleep(3600),
    "sleep": lambda value: time.sleep(float(value)),
    "ignore-term": lambda value: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "child": lambda value: grandchild(own_session=False),
    "child-setsid": lambda value: grandchild(own_session=True),
    "print": lambda value: write(value.encode("utf-8", "surrogateescape") + b"\n"),
    "spam": spam,
    "env": lambda value: show([value, os.environ.get(value)]),
    "argv": lambda value: show(sys.argv[1:]),
    "orig-argv": lambda value: show(sys.orig_argv),
    "umask": lambda value: show(os.umask(0)),
    "cwd": lambda value: show(str(Path.cwd())),
    "listen": lambda value: listen(),
    "touch": lambda value: Path(value).touch(),
    "wait-file": wait_file,
    "sign": sign,
    "rewrite": rewrite,
    "ready": lambda value: channel().say(kind="ready"),
    "finished": lambda value: channel().say(kind="finished", global_step=int(value), local_steps=int(value)),
    "step": step,
    "flood": flood,
    "steps-until": steps_until,
    "pass-on": pass_on,
    "evaluated": lambda value: channel().say(
        kind="evaluated", global_step=int(value), metrics={"auc": int(value) / 100}
    ),
    "saved": lambda value: channel().say(kind="checkpoint_saved", global_step=int(value), path=f"model.ckpt-{value}"),
    "waiting": lambda value: channel().say(kind="waiting", what=value),
    "garbage": lambda value: channel().raw(
        b"\x00\xff garbage\n{}\n[1]\n" + b"[" * 5000 + b'\n{"kind":"step"}\n{"kind":[]}\n{"kind":{}}\n'
    ),
    "alive": lambda value: channel().wait("alive"),
    "gate": lambda value: channel().wait("gate"),
    "barrier": lambda value: channel().wait("barrier"),
    "save": lambda value: channel().wait("save_now"),
    "drain": lambda value: channel().wait("drain"),
    "stop": lambda value: channel().wait("stop_training"),
    "obey": lambda value: obey(),
    "ignored": lambda value: None,
}


def main() -> None:
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        WORDS[name](value)


if __name__ == "__main__":
    main()
