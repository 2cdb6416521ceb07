"""Their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from launcher.cli.options import RUNS_DIR, Count, metric_option


@click.command(short_help="Go on with a run that was ended.")
@click.argument("run", required=False)
@click.option("--env", "-e", multiple=True, metavar="K[=V]", help="A variable that the run was started with.")
@click.option("--without-env", multiple=True, metavar="K", help="That variable may be missing.")
@click.option("--detach", is_flag=True, help="Return at once; the run goes on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON event a line on stdout.")
@click.option("--plain", is_flag=True, envvar="TFLAUNCH_PLAIN", help="No live view.")
@metric_option
def resume(run: str | None, env: tuple[str, ...], without_env: tuple[str, ...], **options: Any) -> int:
    """Goes on with RUN (default: the newest that can be gone on with): the same command in the same folder, from the
    last checkpoint and the input position that it holds. Variables that tasks had from your environment are not stored;
    those that are missing now are asked for by name."""
    from launcher.cli.past import resuming

    wishes = resuming.Environment(given=env, left_out=without_env)
    return resuming.resume(RUNS_DIR, run, wishes, **options)


@click.command(short_help="The runs of this folder.")
@click.argument("folder", required=False, type=click.Path(file_okay=False, exists=True))
@click.option(
    "--sort", metavar="NAME|-NAME", default="", help="By a metric, parameter, step or duration; -: largest first."
)
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Only those; also !=, <, >, <=, >= as in 'auc>0.7'.")
@click.option("--metric", multiple=True, metavar="NAME", help="Show these metrics.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def ls(folder: str | None, sort: str, where: tuple[str, ...], metric: tuple[str, ...], as_json: bool) -> int:
    """Lists the runs in FOLDER (default: runs/) and in folders below it, newest first: how each ended, the parameters
    in which they differ, and the metrics of its last evaluation."""
    from launcher.cli.past import listing

    wishes = listing.Wishes(sort=sort, where=where, metrics=metric)
    return listing.ls(Path(folder) if folder else RUNS_DIR, wishes, as_json=as_json)


@click.command(short_help="In what two runs differ.")
@click.argument("run")
@click.argument("run2")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compare(run: str, run2: str, as_json: bool) -> int:
    """Shows what differs between RUN and RUN2 in command, spec, data and versions, and their results side by side."""
    from launcher.cli.past import comparing

    return comparing.compare(RUNS_DIR, run, run2, as_json=as_json)


@click.command(short_help="Remove runs.")
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("--keep", type=Count(0), metavar="N", help="Of the runs that are over, all but the newest N.")
def rm(names: tuple[str, ...], keep: int | None) -> int:
    """Removes the folders of these RUNs, or of all that are over but the newest N. Never a live one, nor one in
    which another run trains; what lies elsewhere, such as a model_dir outside of it, or what a link leads to, stays."""
    from launcher.cli.past import removing

    return removing.remove(RUNS_DIR, names, keep)
