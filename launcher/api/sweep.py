"""One command with many values: each combination a run of its own, some at a time, and a table of how they went."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from launcher.api.record import RunRecord
from launcher.api.run import Run
from launcher.api.starting import start
from launcher.record.reading import RunReader
from launcher.record.runs import RunFolder, write_private
from launcher.record.states import Outcome
from launcher.spec import read_spec
from launcher.wire.errors import TflaunchError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from launcher.api.flags import Flags, PathName
    from launcher.api.result import Result

_POLL_S = 0.1
_DONE = (Outcome.SUCCEEDED.value, Outcome.FAILED.value, Outcome.TIMED_OUT.value)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ODD = re.compile(r"[^A-Za-z0-9._=,+-]+")
_FILE = "sweep.json"
_LONGEST_NAME = 100
TRIAL, SEED = "trial", "seed"


@dataclass(kw_only=True)
class Trial:
    """One combination of values. ``number`` counts from 1; ``folder``: of its run, the last one where it took several;
    ``result``: how that ended, None before; ``error``: why it could not be started; ``global_step``: how far it is."""

    number: int
    values: Mapping[str, str]
    folder: Path
    result: Result | None = None
    error: str = ""
    global_step: int | None = None
    run: Run | None = field(default=None, repr=False)

    @property
    def state(self) -> str:
        """``waiting``, ``running``, ``not started``, or the outcome of its run."""
        if self.result is not None:
            return self.result.outcome
        return "not started" if self.error else "running" if self.run is not None else "waiting"


def sweep(
    command: Sequence[PathName] = (),
    *,
    grid: Mapping[str, Iterable[object]],
    folder: PathName = "sweep",
    parallel: int = 1,
    seed_repeats: int = 1,
    spec: PathName | None = None,
    cwd: PathName | None = None,
    on_change: Callable[[Sequence[Trial]], None] = lambda trials: None,
    **flags: Unpack[Flags],
) -> list[Trial]:
    """Runs ``command`` with every combination of the values in ``grid``, ``parallel`` runs at a time; blocks.

    A value fills ``{lr}`` in the command, or ``--lr VALUE`` is appended to it; ``{trial}`` is the number of the trial.
    ``seed_repeats``: each combination so often, with a ``seed`` from 0. Each trial has a folder below ``folder``, and
    a ``model_dir`` that is given has one for each. A run that fails ends nothing. What ``folder`` shows to be done
    already is not run again, so that a sweep that was stopped goes on. ``on_change`` is called a few times a second.

    Raises UsageError for what cannot be run, and for a ``folder`` of another sweep.
    """
    if isinstance(command, str):
        raise UsageError(f"the command is a list of words, as in [{command!r}]")
    if flags.get("run_dir") is not None:
        raise UsageError("run_dir: each trial has a folder of its own below the sweep's; name that one by folder")
    where = Path(folder) if cwd is None else Path(folder).absolute()  # runs are started in cwd
    trials = _trials(_checked(grid, parallel, seed_repeats), where)
    words = [os.fspath(word) for word in command] or _command_of(spec)
    _remember(where, words, trials)
    with _alone(where):
        return _Sweep(trials, words, parallel, _How(spec=spec, cwd=cwd, flags=flags), on_change).run()


def _checked(grid: Mapping[str, Iterable[object]], parallel: int, seed_repeats: int) -> dict[str, list[str]]:
    if parallel < 1 or seed_repeats < 1:
        raise UsageError("parallel and seed_repeats: 1 or more")
    if single := [name for name, values in grid.items() if isinstance(values, str) or not isinstance(values, Iterable)]:
        raise UsageError(f"{single[0]}: a list of values, as in [{grid[single[0]]!r}]")
    found = {name: [str(value) for value in values] for name, values in grid.items()}
    if seed_repeats > 1:
        found[SEED] = [str(number) for number in range(seed_repeats)]
    for name, values in found.items():
        if not _NAME.fullmatch(name) or name == TRIAL:
            raise UsageError(f"{name!r} is no name of an option; write lr=0.1,0.01")
        if not values or len(set(values)) < len(values):
            raise UsageError(f"{name}: one value or more, each of them once")
    return found


def _trials(grid: Mapping[str, Sequence[str]], folder: Path) -> list[Trial]:
    trials = []
    for number, values in enumerate(itertools.product(*grid.values()), 1):
        named = dict(zip(grid, values, strict=True))
        slug = _ODD.sub("-", ",".join(f"{name}={value}" for name, value in named.items()))[:_LONGEST_NAME]
        trials.append(Trial(number=number, values=named, folder=folder / f"{number:03d}-{slug}".rstrip("-")))
    return trials


def _command_of(spec: PathName | None) -> list[str]:
    found = read_spec(Path(spec)).command if spec is not None else None
    if not found:
        raise UsageError("there is no command: write it in the spec, or behind --")
    return list(found)


def _remember(folder: Path, words: Sequence[str], trials: Sequence[Trial]) -> None:
    """Keeps what the sweep is, or compares it with what the folder is known to hold."""
    file = folder / _FILE
    what = {"command": list(words), "trials": [dict(trial.values) for trial in trials]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if known is None:
            write_private(file, json.dumps(what, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{folder}: no sweep can be kept there: {error.strerror}; name another folder") from error
    except ValueError as error:
        raise UsageError(f"{file} is no sweep's: {error}; name another folder") from error
    if known not in (None, what):
        raise UsageError(f"{folder} holds another sweep (see {file}); name another folder")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two sweeps in one folder would both start what is not done."""
    with (folder / _FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: this sweep runs already; wait for it, or name another folder") from None
        except OSError:  # a file system that knows no locks
            pass
        yield


@dataclass(frozen=True, kw_only=True)
class _How:
    """How each trial is started."""

    spec: PathName | None
    cwd: PathName | None
    flags: Flags


class _Sweep:
    """A sweep while it runs."""

    def __init__(
        self,
        trials: list[Trial],
        words: Sequence[str],
        parallel: int,
        how: _How,
        on_change: Callable[[Sequence[Trial]], None],
    ) -> None:
        self._trials = trials
        self._words = words
        self._parallel = parallel
        self._how = how
        self._on_change = on_change
        self._readers: dict[int, RunReader] = {}

    def run(self) -> list[Trial]:
        waiting = iter([trial for trial in self._trials if not _is_done(trial)])
        try:
            while self._fill_up(waiting) or self._running():
                self._on_change(self._trials)
                time.sleep(_POLL_S)
                for trial in self._running():
                    self._look(trial)
        finally:
            self._end()
        self._on_change(self._trials)
        return self._trials

    def _running(self) -> list[Trial]:
        return [trial for trial in self._trials if trial.run is not None]

    def _fill_up(self, waiting: Iterator[Trial]) -> bool:
        """Starts what may run now; false when all have been started."""
        while len(self._running()) < self._parallel:
            if (trial := next(waiting, None)) is None:
                return False
            self._start(trial)
        return True

    def _start(self, trial: Trial) -> None:
        flags = dict(self._how.flags)
        trial.folder = _fresh(trial.folder)
        flags["run_dir"] = trial.folder
        if (model_dir := self._how.flags.get("model_dir")) is not None:
            flags["model_dir"] = os.path.join(model_dir, self._name(trial))  # noqa: PTH118 - it may be a URL
        words = _words(self._words, trial)
        try:
            trial.run = start(words, spec=self._how.spec, cwd=self._how.cwd, **cast("Flags", flags))
            self._readers[trial.number] = RunReader(RunFolder(trial.folder))
        except UsageError:
            raise
        except TflaunchError as error:
            trial.error = str(error)

    def _look(self, trial: Trial) -> None:
        assert trial.run is not None
        over = not trial.run.live
        reader = self._readers[trial.number]
        for _ in reader.read(final=over):
            pass
        trial.global_step = reader.view.global_step
        self._check_folder(trial, reader.view.model_dir)
        if over:
            trial.result = trial.run.wait()
            trial.run = None

    def _check_folder(self, trial: Trial, model_dir: str | None) -> None:
        """Two trials in one folder: the second would go on with what the first has learned."""
        for number, reader in self._readers.items():
            if model_dir is not None and number != trial.number and reader.view.model_dir == model_dir:
                both = f"trials {min(number, trial.number)} and {max(number, trial.number)}"
                raise UsageError(f"{both} train in one folder, {model_dir}; write {{trial}} or {{model_dir}} in it")

    @staticmethod
    def _name(trial: Trial) -> str:
        return f"{trial.number:03d}"

    def _end(self) -> None:
        """Ends what runs: each saves first, all at the same time."""
        running = self._running()
        for trial in running:
            assert trial.run is not None
            trial.run.ask_to_stop()
        for trial in running:
            assert trial.run is not None
            trial.result, trial.run = trial.run.wait(), None


def _words(words: Sequence[str], trial: Trial) -> list[str]:
    values = {**trial.values, TRIAL: str(trial.number)}
    places = re.compile("|".join(rf"\{{{re.escape(name)}\}}" for name in values))
    filled = [places.sub(lambda match: values[match[0][1:-1]], word) for word in words]
    rest = [name for name in trial.values if not any(f"{{{name}}}" in word for word in words)]
    return [*filled, *itertools.chain.from_iterable((f"--{name}", trial.values[name]) for name in rest)]


def _folders(folder: Path) -> Iterator[Path]:
    """Of the runs of a trial, the first one first."""
    yield folder
    yield from (folder.with_name(f"{folder.name}+{nth}") for nth in itertools.count(2))


def _is_done(trial: Trial) -> bool:
    """Whether a run of it has ended by itself; one that still ends is waited for."""
    for folder in itertools.takewhile(Path.exists, _folders(trial.folder)):
        record = RunRecord(folder)
        while record.live:
            time.sleep(_POLL_S)
        result = record.result()
        if result.outcome in _DONE:
            trial.result, trial.folder = result, folder
            trial.global_step = result.report["global_step"]
            return True
    return False


def _fresh(folder: Path) -> Path:
    return next(path for path in _folders(folder) if not path.exists())
