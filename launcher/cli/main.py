"""The command line: options, where their values come from, and exit codes.

Precedence: default < spec < ``TFLAUNCH_*`` environment < flag. Whatever follows ``--`` is the command of the tasks.
Heavy imports are made inside the commands, so that ``tflaunch --help`` is quick.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from launcher import __version__
from launcher.cli import changing
from launcher.cli.options import (
    RUNS_DIR,
    host_options,
    metric_option,
    request_of,
    run_options,
    show_options,
    size_options,
)
from launcher.cli.past import commands as past
from launcher.cli.slurm import commands as slurm_commands
from launcher.cli.studying import inspect, metrics, timeline
from launcher.cli.sweep_command import sweep
from launcher.views.terminal import complain, say, say_json, say_text
from launcher.wire.errors import EXIT_USAGE, TflaunchError
from launcher.wire.words import limits

if TYPE_CHECKING:
    from launcher.cli.resolve import Request

DEBUG_VARIABLE = "TFLAUNCH_DEBUG"
_GC_THRESHOLD = 50_000  # a start makes many objects that stay: to look through them takes a tenth of its time


def main() -> None:
    """The console script."""
    gc.set_threshold(_GC_THRESHOLD)
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Runs one command line; gives its exit code. Errors go to stderr, a line each, never a traceback."""
    own, command = _split(argv)
    try:
        code = cli.main(args=own, prog_name="tflaunch", standalone_mode=False, obj=command)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        _show_usage(error)
        if command is None and "unexpected extra argument" in error.format_message():
            complain("what the tasks are to run comes behind --, as in: tflaunch local -- python train.py")
        return EXIT_USAGE
    except TflaunchError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        _complain_of(error)
        return 1
    except Exception as error:  # the top: whatever nobody foresaw must still be said in a line
        if limits.advice(limits.told(error)):
            _complain_of(error)
            return 1
        if os.environ.get(DEBUG_VARIABLE):
            raise
        complain(f"internal error: {type(error).__name__}: {error}; please report it, with {DEBUG_VARIABLE}=1 set")
        return 1


def _complain_of(error: Exception) -> None:
    words = limits.told(error)
    complain("; ".join(filter(None, (words, limits.advice(words)))))


def _show_usage(error: click.ClickException) -> None:
    """As click does it, but for what the words may hold."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        for line in error.ctx.get_usage().splitlines():
            say(line, err=True)
        say(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
    say(f"Error: {error.format_message()}", err=True)


def _split(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """What is for us, and the command behind ``--`` (None without ``--``)."""
    if "--" not in argv:
        return list(argv), None
    at = list(argv).index("--")
    return list(argv[:at]), tuple(argv[at + 1 :])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tflaunch")
def cli() -> None:
    """Launches TensorFlow parameter-server clusters, sees them through, and says what went wrong.

    tflaunch local --workers 2 --ps 1              train the sample job here: ps, chief, 2 workers, evaluator

    tflaunch local --workers 2 --ps 1 -- python train.py --lr 0.1      train your own Estimator script

    tflaunch run cluster.yaml                      train on the hosts of a cluster spec
    """


@cli.command(short_help="Train on this machine.")
@click.argument("spec", required=False, type=click.Path(dir_okay=False))
@size_options
@run_options
@show_options
@click.pass_context
def local(context: click.Context, /, **options: Any) -> int:
    """Trains on this machine: tflaunch local [SPEC] [OPTIONS] [-- COMMAND ARG…]

    COMMAND may start with python, a script's path, or -m. Without one, the sample job trains on data that it makes
    once in your cache folder.
    """
    return _launch(request_of(context, local_only=True), options)


@cli.command("run", short_help="Train on the hosts of a cluster spec.")
@click.argument("spec", type=click.Path(dir_okay=False))
@run_options
@show_options
@click.pass_context
def run_command(context: click.Context, /, **options: Any) -> int:
    """Trains on the hosts that SPEC names: tflaunch run SPEC [OPTIONS] [-- COMMAND ARG…]"""
    return _launch(request_of(context), options)


@cli.command(short_help="Copy code and make the Python environment on the hosts.")
@click.argument("spec", type=click.Path(dir_okay=False))
@host_options
@click.option("--plain", is_flag=True, envvar="TFLAUNCH_PLAIN", help="No bars.")
@click.option("--list", "remains", flag_value="list", help="Only list what was deployed before.")
@click.option("--prune", "remains", flag_value="prune", help="Only remove what was deployed before and is in no use.")
@click.pass_context
def deploy(context: click.Context, /, plain: bool, remains: str | None, **_: Any) -> int:
    """Puts onto the SSH hosts of SPEC what its sync and python say: only what changed is sent. tflaunch run does the
    same before it starts."""
    from launcher.cli import commands

    return commands.deploy(request_of(context), plain=plain, remains=remains or "")


@cli.command(short_help="Show what would run.")
@click.argument("spec", required=False, type=click.Path(dir_okay=False))
@size_options
@run_options
@show_options
@click.pass_context
def plan(context: click.Context, /, as_json: bool, **options: Any) -> int:
    """Shows every task with its host, TF_CONFIG, command and environment, and starts nothing."""
    from launcher.cli.resolve import resolve
    from launcher.views import plan_text

    request = request_of(context)
    made = resolve(request).plan
    say_text(plan_text.as_json(made) if as_json else plan_text.as_text(made))
    if not as_json:
        slurm_commands.show_script(request, made)
    return 0


@cli.command(short_help="See whether every host is ready.")
@click.argument("spec", required=False, type=click.Path(dir_okay=False))
@host_options
@click.option("--model-dir", envvar="TFLAUNCH_MODEL_DIR", help="Look at this folder instead of the spec's.")
@click.option(
    "--timeout-s",
    "doctor_timeout_s",
    type=click.FloatRange(5),
    default=120.0,
    show_default=True,
    help="Look no longer than that.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def doctor(context: click.Context, /, doctor_timeout_s: float, as_json: bool, **options: Any) -> int:
    """Looks whether every host of SPEC is ready for it, and starts nothing: tflaunch doctor SPEC [-- COMMAND ARG…]

    Each line that is not in order says what to do. The exit code is 3 if something stands in the way; warnings do not
    count. Without SPEC, this machine is looked at.
    """
    from launcher.cli import doctor_command

    return doctor_command.doctor(request_of(context), timeout_s=doctor_timeout_s, as_json=as_json)


@cli.command(short_help="The JSON Schema of cluster specs.")
def schema() -> int:
    """Prints the JSON Schema of cluster specs, for editors."""

    from launcher.spec import json_schema

    say_json(json_schema())
    return 0


@cli.command(short_help="Where a run stands.")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(run: str | None, as_json: bool) -> int:
    """Shows where RUN stands (default: the newest live run, else the newest)."""
    from launcher.cli import looking

    return looking.status(RUNS_DIR, run, as_json=as_json)


@cli.command(short_help="What the tasks wrote.")
@click.argument("run", required=False)
@click.argument("task", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
def logs(run: str | None, task: str | None, follow: bool) -> int:
    """Prints the output of all tasks of RUN, or of one TASK such as worker:0."""
    from launcher.cli import commands

    return commands.logs(RUNS_DIR, run, task, follow=follow)


@cli.command(short_help="See a run live.")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON event a line on stdout.")
@click.option("--plain", is_flag=True, help="No live view.")
@metric_option
def attach(run: str | None, as_json: bool, plain: bool, metric: str) -> int:
    """Shows RUN as it goes on. Ctrl-C ends the showing, not the run."""
    from launcher.cli import commands

    try:
        return commands.attach(RUNS_DIR, run, as_json=as_json, plain=plain, metric=metric)
    except KeyboardInterrupt:
        complain("the run goes on; end it with: tflaunch stop")
        return 0


@cli.command(short_help="End a run.")
@click.argument("run", required=False)
@click.option("--now", is_flag=True, help="At once, without saving.")
def stop(run: str | None, now: bool) -> int:
    """Ends RUN: saves, evaluates, and waits until nothing of it is left."""
    from launcher.cli import commands

    return commands.stop(RUNS_DIR, run, now=now)


for _command in (past.ls, past.resume, past.compare, past.rm, changing.restart):
    cli.add_command(_command)
cli.add_command(changing.scale)
for _command in (slurm_commands.submit, slurm_commands.carry_out, slurm_commands.tell):
    cli.add_command(_command)
cli.add_command(changing.drain)


def _launch(request: Request, options: dict[str, Any]) -> int:
    from launcher.cli import commands

    how = {name: options[name] for name in ("detach", "owned", "as_json", "plain", "metric")}
    return commands.launch(request, RUNS_DIR, **how)


for _command in (sweep, metrics, timeline, inspect):
    cli.add_command(_command)
