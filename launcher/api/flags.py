"""The flags of the command line as keywords, and back into words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from launcher.spec.texts import did_you_mean
from launcher.wire.errors import UsageError

if TYPE_CHECKING:
    from typing import TypeAlias

    PathName: TypeAlias = str | os.PathLike[str]


class Flags(TypedDict, total=False):
    """What ``tflaunch local --help`` lists: ``timeout_s=60`` is ``--timeout-s 60``. None is as good as left out.

    ``restarts``: a number for all roles, or one for some of them (``{"worker": 2}``); ``env``: variables of the tasks,
    and not of the launcher, whose values appear on no command line.
    """

    ps: int | None
    workers: int | None
    evaluator: bool | None
    model_dir: PathName | None
    run_dir: PathName | None
    name: str | None
    no_chief: bool
    env: Mapping[str, str] | None
    env_file: PathName | Sequence[PathName] | None
    timeout_s: float | None
    restarts: int | Mapping[str, int] | None
    tune: str | Sequence[str] | None
    no_preload: bool
    profile_steps: int | None
    tensorboard: bool
    listen: str | Sequence[str] | None
    notify: str | None
    hosts_from: PathName | None
    slurm: Mapping[str, str] | None
    accept_new_host_keys: bool
    log_level: str | None
    inject: str | Sequence[str] | None


_SWITCHES = ("evaluator", "no_chief", "no_preload", "tensorboard", "accept_new_host_keys")


def _is_variable(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, str) and "=" not in name and "\0" not in name + value


def words(given: Mapping[str, object]) -> list[str]:
    """The flags as a command line has them, but for the values of ``env``. Raises UsageError for one that is none."""
    for name in given:
        if name not in Flags.__annotations__:
            raise UsageError(f"there is no flag {name!r}{did_you_mean(name, tuple(Flags.__annotations__))}")
        if (name in _SWITCHES) is not isinstance(value := given[name], bool) and value is not None:
            raise UsageError(f"{name}={value!r}: {'True or False' if name in _SWITCHES else 'neither True nor False'}")
    env = given.get("env")
    if env is not None and not (isinstance(env, Mapping) and all(_is_variable(*item) for item in env.items())):
        raise UsageError("env: a mapping of texts, from names to values")
    return [word for name, value in given.items() for word in _words(f"--{name.replace('_', '-')}", value)]


def _words(flag: str, value: object) -> Iterable[str]:
    if value is True:
        return [flag]
    if value is False:
        return ["--no-evaluator"] if flag == "--evaluator" else []
    if flag == "--env" and isinstance(value, Mapping):
        return [f"{flag}={name}" for name in value]
    if isinstance(value, Mapping):
        return [f"{flag}={name}={item}" for name, item in value.items()]
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [f"{flag}={os.fspath(item) if isinstance(item, os.PathLike) else item}" for item in value]
    return [] if value is None else [f"{flag}={os.fspath(value) if isinstance(value, os.PathLike) else value}"]
