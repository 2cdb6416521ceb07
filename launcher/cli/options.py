"""Options that several commands share. Each may come from the environment, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.wire.errors import UsageError
from launcher.wire.variables import GIVEN_VARIABLE

if TYPE_CHECKING:
    from launcher.cli.resolve import Request

RUNS_DIR = Path("runs")
F = TypeVar("F", bound=Callable[..., Any])


class Count(click.IntRange):
    """A number of things. What else is given is refused with what is wanted."""

    def __init__(self, least: int) -> None:
        super().__init__(least)
        self.name = f"whole number ({least} or more)"


def _no_number_of_chiefs(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.BadParameter(
            f"{value!r}: a cluster has one chief, or none by --no-chief; more trainers are workers: --workers N",
            context,
            option,
        )


def size_options(function: F) -> F:
    """How many tasks."""
    options = [
        click.option("--ps", type=Count(0), metavar="N", help="Parameter servers; 0: none.  [default: 1]"),
        click.option("--workers", type=Count(0), metavar="N", help="Workers besides the chief.  [default: 1]"),
        click.option("--chief", expose_value=False, hidden=True, callback=_no_number_of_chiefs),
        click.option("--evaluator/--no-evaluator", default=None, help="An evaluator or none.  [default: one]"),
    ]
    return _with(options, function)


_HOST_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option(
        "--hosts-from",
        envvar="TFLAUNCH_HOSTSFROM",
        metavar="FILE|slurm",
        help="Hosts, instead of the spec's: a hostfile, or the nodes of this Slurm job.",
    ),
    click.option("--slurm", multiple=True, metavar="KEY=VALUE", help="A key of engine.slurm, such as nodes=3."),
    click.option(
        "--accept-new-host-keys",
        is_flag=True,
        help="Trust SSH hosts that are not known yet, and add them to ~/.ssh/known_hosts.",
    ),
)


def host_options(function: F) -> F:
    """Which hosts, and whether new ones are trusted."""
    return _with(_HOST_OPTIONS, function)


def run_options(function: F) -> F:
    """What a run is made with."""
    options = [
        click.option("--model-dir", envvar="TFLAUNCH_MODEL_DIR", help="Checkpoints, metrics and exports go here."),
        click.option(
            "--run-dir", envvar="TFLAUNCH_RUN_DIR", help="This run's folder; a new one.  [default: runs/NAME-TIME]"
        ),
        click.option("--name", envvar="TFLAUNCH_NAME", help="Name of the run."),
        click.option("--no-chief", is_flag=True, help="Workers without a chief; the first takes its part."),
        click.option("--env", "-e", multiple=True, metavar="K[=V]", help="Variable of the tasks; K alone: from yours."),
        click.option("--env-file", multiple=True, type=click.Path(dir_okay=False), help="File of K=V lines."),
        click.option("--timeout-s", type=float, envvar="TFLAUNCH_TIMEOUT_S", help="End the run after that long."),
        click.option(
            "--restarts", envvar="TFLAUNCH_RESTARTS", metavar="N|ROLE=N", multiple=True, help="Restarts per task."
        ),
        click.option(
            "--tune", envvar="TFLAUNCH_ADJUST", multiple=True, metavar="NAME|-NAME|none", help="Adjustments on or off."
        ),
        click.option("--no-preload", is_flag=True, envvar="TFLAUNCH_NO_PRELOAD", help="Start each task by itself."),
        click.option(
            "--profile-steps",
            type=Count(1),
            envvar="TFLAUNCH_PROFILE_STEPS",
            metavar="N",
            help="Trace one step in N of each task, for tflaunch timeline.",
        ),
        click.option(
            "--tensorboard",
            is_flag=True,
            envvar="TFLAUNCH_TENSORBOARD",
            help="TensorBoard beside the run; ends with it.",
        ),
        click.option("--listen", multiple=True, metavar="NAME[=WHERE]", help="Tell a listener, such as mlflow=URL."),
        click.option("--notify", metavar="URL|COMMAND", help="Tell it of failures, stalls and the end."),
        *_HOST_OPTIONS,
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            envvar="TFLAUNCH_LOG_LEVEL",
            help="What tasks log; debug also shows TensorFlow's own noise.",
        ),
        click.option("--inject", multiple=True, metavar="FAULT", help='Fault drill, as "kill worker:1 at step 200".'),
    ]
    return _with(options, function)


metric_option = click.option(
    "--metric", default="", envvar="TFLAUNCH_METRIC", metavar="NAME", help="The metric that the live view draws."
)


def show_options(function: F) -> F:
    """How it is shown."""
    options = [
        click.option("--detach", is_flag=True, help="Return at once; the run goes on."),
        click.option(
            "--owned", hidden=True, help="By that process: the run ends when standard input, a pipe, is closed."
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON event a line on stdout."),
        click.option("--plain", is_flag=True, envvar="TFLAUNCH_PLAIN", help="No live view."),
        metric_option,
    ]
    return _with(options, function)


def _with(options: Sequence[Callable[[Any], Any]], function: F) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def request_of(context: click.Context, *, local_only: bool = False) -> Request:
    """Everything that was said about the run, with where each value came from."""
    import json  # which --help does without

    from launcher.cli.resolve import Request

    given: dict[str, tuple[object, str]] = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT") and value not in (None, ()):
            flag = next(item for item in context.command.params if item.name == name)
            where = flag.opts[0] if source.name == "COMMANDLINE" else str(flag.envvar)
            given[name] = (value, where)
    spec = given.pop("spec", (None, ""))[0]
    env_values = {**os.environ, **json.loads(os.environ.pop(GIVEN_VARIABLE, "{}"))}
    if str(spec).endswith(".py") or spec in ("python", "python3"):
        raise UsageError(f"to train with {spec}, write it behind --, as in: tflaunch local -- python train.py")
    return Request(
        spec=Path(str(spec)) if spec is not None else None,
        command=context.obj,
        given=given,
        environ=dict(os.environ),
        env_values=env_values,
        cwd=Path.cwd(),
        local_only=local_only,
    )
