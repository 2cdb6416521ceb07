"""``tflaunch sweep``: one command with many values, and a table that fills."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import run_options, size_options
from launcher.wire.errors import UsageError

if TYPE_CHECKING:
    from launcher.api.sweep import Trial
    from launcher.views.sweep_table import Row

_SHOWN_S = 0.5


@click.command(short_help="Train with every combination of some values.")
@click.argument("spec", required=False, type=click.Path(dir_okay=False))
@click.option("--grid", multiple=True, required=True, metavar="NAME=V,V…", help="Values of an option; repeatable.")
@click.option("--parallel", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time.")
@click.option("--seed-repeats", type=click.IntRange(1), default=1, show_default=True, help="Seeds for each of them.")
@click.option("--metric", default="loss", show_default=True, help="What to sort by; -NAME: the smallest first.")
@click.option("--folder", default="sweep", show_default=True, help="Where the runs go; the same one goes on.")
@click.option("--json", "as_json", is_flag=True, help="The table as JSON, at the end.")
@size_options
@run_options
@click.pass_context
def sweep(context: click.Context, /, spec: str | None, grid: tuple[str, ...], **options: Any) -> int:
    """Runs a command with every combination of values: tflaunch sweep [SPEC] --grid lr=0.1,0.01 [-- COMMAND ARG…]

    A value fills {lr} in the command, or --lr VALUE is appended; {trial} is the trial's number. A run that fails does
    not end the sweep. Stopped and started again, it goes on with what is not done.
    """
    from launcher.api import sweep as sweeps
    from launcher.views.terminal import complain, say_json

    own = {name: options.pop(name) for name in ("parallel", "seed_repeats", "metric", "folder", "as_json")}
    screen = _Screen(own["metric"], live=sys.stdout.isatty() and not own["as_json"])
    try:
        trials = sweeps.sweep(
            context.obj or (),
            grid=_grid(grid),
            folder=own["folder"],
            parallel=own["parallel"],
            seed_repeats=own["seed_repeats"],
            spec=spec,
            on_change=screen.show,
            **_given(options),
        )
    except KeyboardInterrupt:
        complain("stopped; the same command goes on with what is not done")
        raise
    finally:
        screen.close()
    if own["as_json"]:
        say_json([_plain(trial) for trial in trials])
    else:
        screen.end(trials)
    return 0 if all(trial.state == "succeeded" for trial in trials) else 1


def _grid(texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, values in map(_read, texts):
        if name in found:
            raise UsageError(f"--grid {name} is given twice; write all of its values in one: {name}=VALUE,VALUE")
        found[name] = values
    return found


def _read(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise UsageError(f"--grid {text!r}: write NAME=VALUE,VALUE such as lr=0.1,0.01")
    return name, values.split(",")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as keywords."""
    found = {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
    if options.get("evaluator") is False:
        found["evaluator"] = False
    if env := found.pop("env", None):
        found["env"] = dict(_variable(item) for item in env)
    if restarts := found.pop("restarts", None):
        found["restarts"] = restarts
    return found


def _variable(item: str) -> tuple[str, str]:
    import os

    name, equals, value = item.partition("=")
    if not equals and name not in os.environ:
        raise UsageError(f"--env {name}: there is no {name} in your environment; write --env {name}=VALUE")
    return name, value if equals else os.environ[name]


def _row(trial: Trial) -> Row:
    from launcher.views.sweep_table import Row

    result = trial.result
    return Row(
        number=trial.number,
        values=trial.values,
        state=trial.state,
        global_step=trial.global_step,
        metrics=result.metrics if result is not None else {},
        duration_s=result.report["duration_s"] if result is not None else None,
        problem=trial.error or str(((result.cause if result is not None else None) or {}).get("message", "")),
    )


def _plain(trial: Trial) -> dict[str, Any]:
    row = _row(trial)
    return {
        "trial": row.number,
        "values": dict(row.values),
        "outcome": row.state.replace(" ", "_"),
        "exit_code": trial.result.exit_code if trial.result is not None else None,
        "global_step": row.global_step,
        "metrics": dict(row.metrics),
        "duration_s": row.duration_s,
        "problem": row.problem or None,
        "run_dir": str(trial.folder),
    }


class _Screen:
    """The table while it fills, where there is a terminal; otherwise a line for each trial that has ended."""

    def __init__(self, metric: str, *, live: bool) -> None:
        from launcher.views.terminal import console

        self._metric = metric
        self._console = console(sys.stdout if live else sys.stderr)
        self._live: Any = None
        self._told: set[int] = set()
        if live:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=1 / _SHOWN_S, transient=True)
            self._live.start()

    def show(self, trials: Sequence[Trial]) -> None:
        from launcher.views.sweep_table import table
        from launcher.views.terminal import say

        if self._live is not None:
            self._live.update(table([_row(trial) for trial in trials], self._metric))
            return
        for trial in trials:
            if trial.number not in self._told and (trial.result is not None or trial.error):
                self._told.add(trial.number)
                values = ", ".join(f"{name}={value}" for name, value in trial.values.items())
                say(f"tflaunch: trial {trial.number} of {len(trials)} ({values}) {trial.state}", err=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()

    def end(self, trials: Sequence[Trial]) -> None:
        from launcher.views.sweep_table import table
        from launcher.views.terminal import console

        console(sys.stdout).print(table([_row(trial) for trial in trials], self._metric))
