"""The command that submits a job, and those that are called inside of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import RUNS_DIR, request_of, run_options
from launcher.hosts.sources import SLURM
from launcher.views.terminal import say, say_text
from launcher.wire.protocol import decode

if TYPE_CHECKING:
    from launcher.cli.resolve import Request
    from launcher.plan.model import Plan


@click.command(short_help="Train in a Slurm job of its own.")
@click.argument("spec", type=click.Path(dir_okay=False))
@run_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def submit(context: click.Context, /, as_json: bool, **_: Any) -> int:
    """Submits a Slurm job that trains as SPEC says: tflaunch submit SPEC [OPTIONS] [-- COMMAND ARG…]

    The run's folder must lie where the nodes see it, too. status, ls, attach, logs and stop know the run from now on.
    """
    from launcher.cli.slurm import submitting

    return submitting.submit(request_of(context), RUNS_DIR, as_json=as_json)


@click.command("carry-out", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def carry_out(folder: Path) -> int:
    """What a submitted job does."""
    from launcher.cli.slurm import submitting

    return submitting.carry_out(folder)


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("message")
def tell(folder: Path, message: str) -> int:
    """Hands a request to the supervisor of a run on this node; the exit code is 1 if it was not taken."""
    from launcher.cli import client
    from launcher.record import runs

    error = client.ask(runs.RunFolder.open(folder), decode(message.encode()))
    if error:
        say(error)
    return int(bool(error))


def show_script(request: Request, plan: Plan) -> None:
    """Prints the script that ``submit`` would hand to Slurm, to a reader who is in no job."""
    from launcher.cli.slurm import submitting
    from launcher.hosts.slurm.nodes import job_of

    if plan.engine == SLURM and not job_of(request.environ):
        folder = request.value("run_dir") or request.cwd / RUNS_DIR / f"{plan.name}-<time>"
        script = submitting.script_of(plan, str(Path(str(folder)).absolute()))
        say_text(f"\nsubmit/job.sbatch\n{script}")
        if shutil.which("sbatch", path=request.environ.get("PATH")):
            say_text(f"\n{submitting.judged(script)}\n")
