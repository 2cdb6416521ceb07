"""The commands that study what a run or a model has left."""

from __future__ import annotations

import click

from launcher.cli.options import RUNS_DIR


@click.command(short_help="How tasks progressed, and what they used.")
@click.argument("run", required=False)
@click.option("--task", metavar="TASK", help="Only this one, such as worker:0.")
@click.option("--csv", "as_csv", is_flag=True, help="All samples, as CSV.")
def metrics(run: str | None, task: str | None, as_csv: bool) -> int:
    """Prints what was sampled of the tasks of RUN: steps, examples, loss, waiting for input, CPU and memory."""
    from launcher.cli import metrics_command

    return metrics_command.metrics(RUNS_DIR, run, task, as_csv=as_csv)


@click.command(short_help="Where the time of a run went.")
@click.argument("run", required=False, metavar="[RUN|DIR]")
@click.argument("run2", required=False, metavar="[RUN2|DIR2]")
@click.option("--output", "-o", metavar="FILE", help="Where the trace goes.  [default: RUN/trace.json]")
def timeline(run: str | None, run2: str | None, output: str | None) -> int:
    """Merges what the tasks of RUN traced (--profile-steps) and what tflaunch saw into one trace for Perfetto or
    chrome://tracing, and says where each task's time went. DIR: a folder of ProfilerHook's timeline-N.json.

    With RUN2 it writes no trace, but compares the steps of both by operation and by parameter server, and names the
    three operations that differ most."""
    from launcher.cli import timeline_command

    if run is not None and run2 is not None:
        if output is not None:
            raise click.UsageError("-o is for the trace of one run; two are compared, and no trace is written.")
        return timeline_command.compare(RUNS_DIR, run, run2)
    return timeline_command.timeline(RUNS_DIR, run, output)


@click.command(short_help="What is in a checkpoint, graph or SavedModel.")
@click.argument("path")
@click.argument("path2", required=False)
@click.option("--run", "feeds", metavar="FEEDS.json", help="Run the model once with this input; - reads stdin.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(path: str, path2: str | None, feeds: str | None, as_json: bool) -> int:
    """Shows what is at PATH: a checkpoint (prefix, file or folder), a .meta or frozen graph, a SavedModel (file or
    folder), told apart by content. With PATH2, what differs between the two (exit code 1 if anything does).

    --run executes the model's graph, so only run models that you trust. FEEDS.json: {"inputs": {"x": [[1.0, 2.0]]}},
    and if need be "outputs": ["y:0"], "signature", "tags"; names are the signature's, or tensors of the graph.
    """
    from launcher.cli import inspect_command

    return inspect_command.inspect([path, path2] if path2 else [path], feeds, as_json=as_json)
