"""A forked process on its way to the user's program."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from launcher.agent.inside import fresh, importing, last_words, main_module, tensorflow_hooks
from launcher.agent.inside.below import path
from launcher.agent.system import linux, title
from launcher.wire import messages, task_messages
from launcher.wire.preload_env import import_environment, start_environment
from launcher.wire.variables import TASK_SOCKET_VARIABLE

_PROGRAM_FILE = str(Path(__file__).with_name("program.py"))
_ANSWER_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Request:
    """One attempt of a task. ``program``: the command after ``python`` (interpreter and flags); ``argv``: all of it;
    ``env``: the complete environment."""

    task: str
    attempt: int
    program: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    python: tuple[str, ...]
    argv: tuple[str, ...]
    title: str
    agent_pid: int

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Request:
        values: dict[str, Any] = {item.name: message[item.name] for item in fields(cls)}
        for name in ("program", "python", "argv"):
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What the import of one preloaded package has changed beside ``sys.modules``: the variables that it set, and the
    warning filters that it put in front of the others and behind them."""

    top: str
    env: Mapping[str, str]
    front: tuple[Any, ...]
    back: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Template:
    """The preloaded interpreter: as it was before the imports (``env``, ``cwd``, ``path``), what each of them has
    changed (``effects``), the top-level packages they brought (``imported``), and their modules (``hidden``).

    ``adjust`` is the module of that name of the in-task library, ``numpy_random`` that of NumPy; or None.
    """

    env: Mapping[str, str]
    cwd: str
    path: tuple[str, ...]
    effects: tuple[Effects, ...]
    imported: frozenset[str]
    hidden: importing.Hidden
    adjust: Any
    numpy_random: Any


def enter(request: Request, output_fd: int, starter: int) -> None:
    """Becomes a process of its own, a child of the agent, in the task's folder and environment. Raises OSError.

    ``starter``: the process that forked this one and ends now; only then the agent is the parent.
    """
    os.setsid()
    while os.getppid() == starter:
        time.sleep(0.0002)
    linux.die_with(request.agent_pid)
    fresh.signals()
    fresh.environment(request.env, request.cwd)
    fresh.output(output_fd)


def begin(request: Request, template: Template) -> Callable[[], None]:
    """Makes the process what a new interpreter would be, and returns what runs the program."""
    fresh.close_descriptors()
    fresh.streams()
    title.set_title(request.title)
    fresh.search_path(list(template.path), template.cwd)
    fresh.caches(template.numpy_random)
    path.lead(os.environ)
    sys.orig_argv = list(request.argv)
    start_over = partial(_start_over, request)
    _check_at_start(request, template, start_over)
    last_words.watch(request.env)
    _hide_packages(template, start_over)
    try:
        return main_module.prepare(request.program)
    except main_module.NotRunnableError:
        _exec(request.argv, request)


def _check_at_start(request: Request, template: Template, start_over: Callable[[], None]) -> None:
    for read in (start_environment, import_environment):
        if read(request.env) != read(template.env):
            start_over()
    front = main_module.first_path(request.program)
    changed = [entry for entry in sys.path if entry not in template.path]
    if importing.shadowed([*changed, *([] if front is None else [front])], template.imported):
        start_over()


def _hide_packages(template: Template, start_over: Callable[[], None]) -> None:
    hidden = template.hidden
    untouched = _relevant_environment(template.env, hidden)
    waiting = list(template.effects)
    adjusts = [] if template.adjust is None else [True]
    at_start = dict(os.environ)

    def check(other: str | None) -> None:
        if other is not None or (waiting and _relevant_environment(os.environ, hidden) != untouched):
            start_over()

    def given(names: set[str]) -> None:
        for effects in [effects for effects in waiting if effects.top in names]:
            waiting.remove(effects)
            _repeat(effects)
        if "tensorflow" in names and adjusts:
            adjusts.clear()  # a package that needs it gives it once more
            tensorflow_hooks.adjust(template.adjust, at_start)

    sys.meta_path.insert(0, importing.Finder(hidden, check, given))
    if "tensorflow" not in hidden:
        tensorflow_hooks.at_import(hidden, tuple(sys.path), at_start)
    hidden.hide(importing.OURS)


def _relevant_environment(env: Mapping[str, str], hidden: importing.Hidden) -> dict[str, str]:
    """Without TensorFlow's variables where that is not hidden: it sets some of them before it imports the others."""
    read = import_environment(env)
    return {name: read[name] for name in read if "tensorflow" in hidden or not name.startswith("TF")}


def _repeat(effects: Effects) -> None:
    os.environ.update(effects.env)
    fresh.set_warning_filters([*effects.front, *warnings.filters, *effects.back])


def _start_over(request: Request) -> None:
    """Becomes a new interpreter that runs the program from its beginning. What it has written so far it will write
    again, so that the agent takes it back before this returns."""
    hello = task_messages.TaskHello(task=request.task, attempt=request.attempt, pid=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.connect(request.env[TASK_SOCKET_VARIABLE])
        agent.sendall(messages.encode(hello) + messages.encode(task_messages.StartingOver()))
        while agent.recv(_ANSWER_BYTES):
            pass
    _exec((*request.python, _PROGRAM_FILE, *request.program), request)


def _exec(argv: tuple[str, ...], request: Request) -> NoReturn:
    fresh.signals()
    for number in fresh.IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    os.chdir(request.cwd)
    os.execvpe(argv[0], argv, dict(request.env))
