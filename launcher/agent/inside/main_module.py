"""Runs a program as ``python`` itself would: as ``__main__``, with nothing of the launcher to be seen.

What Python does at its start follows ``Modules/main.c`` and ``Python/pythonrun.c``. What cannot be imitated, such as
the words for a script that is not there, is left to a plain interpreter, which takes over by exec before anything of
the program has run.
"""

from __future__ import annotations

import importlib.machinery
import linecache
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType, TracebackType

from launcher.agent.inside import ending, last_words

_COMPILED = ".pyc"
_INSIDE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
_OURS = (f"{_INSIDE}/", f"{os.path.dirname(os.path.dirname(_INSIDE))}/estimator/adjustments/")  # noqa: PTH120


class NotRunnableError(Exception):
    """Only a plain interpreter can say what is wrong with this program."""


def is_path_safe() -> bool:
    """Whether this Python does not put the program's folder in front of ``sys.path``."""
    return bool(getattr(sys.flags, "safe_path", False) or sys.flags.isolated)


def first_path(program: Sequence[str]) -> str | None:
    """What Python puts in front of ``sys.path`` for this program; None if it was told not to."""
    if is_path_safe():
        return None
    if program[0] == "-c":
        return ""
    if program[0] == "-m":
        return os.getcwd()  # noqa: PTH109
    return os.path.dirname(os.path.realpath(program[0]))  # noqa: PTH120


def prepare(program: Sequence[str]) -> Callable[[], None]:
    """Makes ``__main__``, ``sys.argv`` and ``sys.path[0]`` what they are when the program starts, and returns what runs
    it, for ``run``. Raises NotRunnableError, before anything of the program has been executed."""
    kind, rest = program[0], list(program[1:])
    main = ModuleType("__main__")
    vars(main)["__annotations__"] = {}
    vars(main)["__builtins__"] = sys.modules["builtins"]
    main.__loader__ = importlib.machinery.BuiltinImporter
    sys.modules["__main__"] = main
    if "multiprocessing.process" in sys.modules:
        sys.modules["__mp_main__"] = main  # as that module does when it is imported
    front = first_path(program)
    if front is not None:
        sys.path.insert(0, front)
    if kind == "-m":
        sys.argv = ["-m", *rest[1:]]
        return lambda: _run_module(rest[0])
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        return _from_code(main, rest[0])
    sys.argv = [kind, *rest]
    return _from_file(main, kind)


def _run_module(name: str) -> None:
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _from_code(main: ModuleType, source: str) -> Callable[[], None]:
    code = _compile(source, "<string>")
    if sys.version_info >= (3, 13):  # which shows lines of -c in tracebacks
        lines = [f"{line}\n" for line in source.splitlines()]
        linecache.cache["<string>"] = (len(source), None, lines, "<string>")
    return lambda: exec(code, vars(main))


def _from_file(main: ModuleType, path: str) -> Callable[[], None]:
    full_path = path if path.startswith("/") else f"{os.getcwd()}/{path}"  # noqa: PTH109
    if pkgutil.get_importer(full_path) is not None:  # a folder or an archive with a __main__
        sys.path[: 0 if is_path_safe() else 1] = [full_path]
        return lambda: runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
    code = _code_of(main, full_path)
    main.__file__ = full_path
    vars(main)["__cached__"] = None

    def execute() -> None:
        exec(code, vars(main))
        # As Python does: functions that run at exit find these gone.
        for name in ("__file__", "__cached__"):
            vars(main).pop(name, None)

    return execute


def _code_of(main: ModuleType, path: str) -> CodeType:
    try:
        if path.endswith(_COMPILED):
            compiled = importlib.machinery.SourcelessFileLoader("__main__", path)
            main.__loader__ = compiled
            code = compiled.get_code("__main__")
            if code is None:
                raise NotRunnableError(path)
            return code
        main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
        with open(path, "rb") as file:
            source = file.read()
    except (OSError, ImportError, EOFError, ValueError) as error:
        raise NotRunnableError(path) from error
    return _compile(source, path)


def _compile(source: str | bytes, filename: str) -> CodeType:
    try:
        return compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotRunnableError(filename) from error


def run(execute: Callable[[], None]) -> None:
    """Runs the program in this thread. Whatever it raises comes out, and is shown by the interpreter at its end without
    the frames that stand below the program's."""
    try:
        execute()
        ending.note(None)
    except BaseException as error:
        last_words.note(error)
        ending.note(error)
        if isinstance(error, SystemExit):
            raise
        _show_only_users_frames(error)
        raise


def _show_only_users_frames(error: BaseException) -> None:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = _without_ours(link.__traceback__)
        link = link.__cause__ or link.__context__
    traceback = error.__traceback__
    original = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, full: TracebackType | None) -> None:
        shown = traceback if value is error else full
        sys.excepthook = original
        sys.last_traceback = shown
        original(kind, value.with_traceback(shown), shown)

    sys.excepthook = show


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The frames that are no part of what starts a program or of the adjustments that are made to TensorFlow."""
    frames = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    shown = None
    for frame in reversed(frames):
        if not frame.tb_frame.f_code.co_filename.startswith(_OURS):
            frame.tb_next = shown
            shown = frame
    return shown
