"""A task that was started by exec, on its way to the user's program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from launcher.agent.inside import importing, last_words, main_module, tensorflow_hooks
from launcher.agent.inside.below import path
from launcher.agent.system import title
from launcher.wire.variables import RUN_VARIABLE, TASK_VARIABLE


def prepare(program: Sequence[str], modules_at_start: frozenset[str]) -> Callable[[], None]:
    """Returns what runs the program, for ``main_module.run``.

    ``modules_at_start``: what was imported before us. Becomes the plain command if that knows better what is wrong.
    """
    sys.orig_argv = [*sys.orig_argv[: -len(sys.argv)], *program]
    if RUN_VARIABLE in os.environ:
        title.set_title(f"tflaunch: {os.environ[RUN_VARIABLE]} {os.environ.get(TASK_VARIABLE, '')}")
    last_words.watch(os.environ)
    hidden = importing.Hidden()
    sys.meta_path.insert(0, importing.Finder(hidden))
    tensorflow_hooks.at_import(hidden, tuple(sys.path), dict(os.environ))
    path.lead(os.environ)
    hidden.hide(importing.OURS)
    _forget_shadowed(program, modules_at_start)
    try:
        return main_module.prepare(program)
    except main_module.NotRunnableError:
        os.execvp(sys.orig_argv[0], sys.orig_argv)


def _forget_shadowed(program: Sequence[str], modules_at_start: frozenset[str]) -> None:
    """Where the program has a module of the name of one that only we have imported, it gets its own."""
    front = main_module.first_path(program)
    if front is not None:
        importing.forget_shadowed([front], modules_at_start)
