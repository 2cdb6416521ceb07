"""What a task's command means: whether it is Python, with which interpreter, and what it says about the training.

A command may begin with ``python`` or ``python3`` (the Python of the plan), with a path to an interpreter, with a
script whose name ends in ``.py``, or with ``-m``. Whatever else it begins with is an ordinary program.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_INTERPRETER = re.compile(r"python(3(\.\d+)?)?")
_WITH_VALUE = frozenset("WX")
_PLACEHOLDERS = ("model_dir", "role", "index", "run_dir")
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(_PLACEHOLDERS)})\}}")
_MUCH_ALIKE = 0.85


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """``python``: interpreter and flags; ``program``: script or ``-m module`` and its arguments. Both are empty for
    what is no Python, and ``program`` also for ``python -c``."""

    argv: tuple[str, ...]
    python: tuple[str, ...] = ()
    program: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A name for a run of it: that of the script, the module or the program."""
        if self.program[:1] == ("-m",):
            parts = [part for part in self.program[1].split(".") if part != "__main__"]
            return parts[-1] if parts else "run"
        first = (self.program or self.python or self.argv)[0]
        return first.rstrip("/").rpartition("/")[2].removesuffix(".py") or "run"


def parse_command(words: Sequence[str], python: str) -> Command:
    """Takes a command apart. ``python``: the interpreter that stands for ``python``, ``python3`` or none.

    Raises ValueError that says what is wrong with it.
    """
    if not words or not words[0].strip():
        raise ValueError("is empty; write what to run: [python, train.py]")
    first = words[0]
    if first == "-m" or first.endswith(".py"):
        return _python_command((python,), words)
    if _INTERPRETER.fullmatch(first.rpartition("/")[2]):
        interpreter = python if first in ("python", "python3") else first
        return _python_command((interpreter,), words[1:])
    if first.startswith("-"):
        raise ValueError(f"begins with the option {first!r}; a program, a script or -m comes first")
    return Command(argv=tuple(words))


def _python_command(interpreter: tuple[str, ...], words: Sequence[str]) -> Command:
    flags, program = _split_flags(words)
    if not program:
        raise ValueError("starts Python without a script; name one, or -m and a module")
    if program[0] == "-m" and (len(program) < 2 or not program[1]):
        raise ValueError("has -m without a module")
    python = (*interpreter, *flags)
    runnable = () if program[0] in ("-c", "-") else program
    return Command(argv=(*python, *program), python=python, program=runnable)


def _split_flags(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The interpreter's own flags, and the rest from the script, ``-m`` or ``-c`` on."""
    flags: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        if word in ("-m", "-c", "-") or not word.startswith("-"):
            return tuple(flags), tuple(words[index:])
        if re.match(r"-[A-Za-z]*[mc]", word) and not word.startswith("--") and word[1] not in _WITH_VALUE:
            head, letter, tail = re.split(r"([mc])", word, maxsplit=1)
            value = (tail,) if tail else ()
            return (*flags, *((head,) if head != "-" else ())), (f"-{letter}", *value, *words[index + 1 :])
        flags.append(word)
        index += 1
        if (word[-1] in _WITH_VALUE and not word.startswith("--")) or word == "--check-hash-based-pycs":
            flags.extend(words[index : index + 1])
            index += 1
    return tuple(flags), ()


def fill(words: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """``words`` with ``{model_dir}``, ``{role}``, ``{index}`` and ``{run_dir}`` replaced where ``values`` has them.

    Other braces stay as they are; there is no way to escape these four.
    """
    return tuple(_PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), word) for word in words)


def misspelt(words: Sequence[str]) -> tuple[str, str] | None:
    """What stands in braces and is so like a placeholder that it must be meant for one, and that one."""
    for name in re.findall(r"\{([A-Za-z_]+)\}", " ".join(words)):
        near = difflib.get_close_matches(name.lower(), _PLACEHOLDERS, n=1, cutoff=_MUCH_ALIKE)
        if near and name not in _PLACEHOLDERS:
            return name, near[0]
    return None


def uses(words: Sequence[str], placeholder: str) -> bool:
    """Whether ``{placeholder}`` stands in the command."""
    return any(f"{{{placeholder}}}" in word for word in words)


def option(words: Sequence[str], name: str) -> str | None:
    """The last value of ``--a-b VALUE``, ``--a_b=VALUE`` and the like, for ``name`` = ``a-b``; None without one."""
    spellings = (f"--{name}", f"--{name.replace('-', '_')}")
    found = None
    for index, word in enumerate(words):
        head, equals, tail = word.partition("=")
        if head in spellings:
            found = tail if equals else (words[index + 1] if index + 1 < len(words) else None)
    return found


def max_steps(words: Sequence[str]) -> int | None:
    """How far the command says that training goes (``--max-steps N``), None if it does not."""
    text = option(words, "max-steps") or ""
    return int(text) if re.fullmatch(r"[1-9]\d{0,14}", text) else None
