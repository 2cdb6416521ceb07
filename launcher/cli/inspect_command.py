"""``tflaunch inspect``: what is at a path, what differs between two, and what a model gives for some input.

TensorFlow is imported when the paths have been looked at and the request has been read, so that a slip is told at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from launcher.estimator.quietly import quietly
from launcher.views.terminal import put_drawn, say_json
from launcher.wire.errors import UsageError

_LARGE_BYTES = 256 * 2**20


def inspect(paths: Sequence[str], feeds: str | None, *, as_json: bool) -> int:
    """Looks, compares or runs; gives the exit code: 1 if something is wrong with a model that can be read in part, or
    if two that are compared differ."""
    from launcher.estimator.inspection.kinds import what_is
    from launcher.estimator.inspection.request import parse_request

    found = [what_is(path) for path in paths]
    request = None if feeds is None else parse_request(_text(feeds), feeds)
    with quietly():
        from launcher.estimator.inspection import look as _  # noqa: F401
    if request is not None:
        return _run(found, request, as_json)
    from launcher.estimator.inspection.look import look
    from launcher.estimator.inspection.values import to_json

    models = [look(each) for each in found]
    if len(models) == 2:
        return _compare(models, as_json)
    if as_json:
        say_json(to_json(models[0]))
    else:
        _show("model", models[0])
    return 1 if models[0].problems else 0


def _text(feeds: str) -> str:
    try:
        return sys.stdin.read() if feeds == "-" else Path(feeds).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"--run {feeds}: not UTF-8 text") from error
    except OSError as error:
        raise UsageError(f"--run {feeds}: {error.strerror}") from error


def _show(what: str, *values: Any) -> None:
    from launcher.views import inspect_text

    put_drawn(inspect_text.text(getattr(inspect_text, what), *values, out=sys.stdout), sys.stdout)


def _compare(models: Sequence[Any], as_json: bool) -> int:
    from launcher.estimator.inspection.compare import compare
    from launcher.estimator.inspection.value_differences import value_differences
    from launcher.estimator.inspection.values import to_json

    with _progress(models) as told:
        differences = (*compare(*models), *value_differences(models[0], models[1], told))
    if as_json:
        body = {"paths": [model.path for model in models], "differences": [to_json(item) for item in differences]}
        body["problems"] = [problem for model in models for problem in model.problems]
        say_json(body)
    else:
        _show("comparison", models, differences)
    return 1 if differences or any(model.problems for model in models) else 0


@contextlib.contextmanager
def _progress(models: Sequence[Any]) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for what takes long, where there is a terminal; gives what is told how many bytes are done."""
    size = sum(variable.bytes or 0 for variable in models[0].variables)
    if size < _LARGE_BYTES or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from launcher.views.terminal import console

    columns = ("comparing", BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=size)
        yield lambda done: bar.advance(task, done)


def _run(found: Sequence[Any], request: Any, as_json: bool) -> int:
    from launcher.estimator.inspection import feeding
    from launcher.estimator.inspection.value_differences import difference

    results = [feeding.run(each, request) for each in found]
    outputs = [{name: feeding.json_value(array) for name, array in result.items()} for result in results]
    differing = {
        name: text
        for name in results[0]
        if len(results) == 2 and (text := difference(results[0][name], results[1][name]))
    }
    if as_json:
        body: dict[str, Any] = {"path": str(found[0].path), "outputs": outputs[0]}
        if len(results) == 2:
            body = {"paths": [str(each.path) for each in found], "outputs": outputs, "differences": differing}
        say_json(body)
    else:
        _show("outputs", [str(each.path) for each in found], results, differing)
    return 1 if differing else 0
