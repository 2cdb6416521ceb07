"""Exporters for ``EvalSpec(exporters=...)``: latest, final and best, each with a pointer for a server to follow.

After each export ``<model_dir>/export/<name>/current`` is a symbolic link to the newest SavedModel there, replaced in
one step, so that whoever opens it sees the old model or the new one, whole.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from launcher.estimator.compat import install
from launcher.estimator.training.stopping import Aim, value_of

install()
CURRENT = "current"
HISTORY = "history.json"
_VERSION_DIGITS = 10
_log = logging.getLogger("tensorflow")


class LatestExporter(tf.estimator.LatestExporter):  # type: ignore[misc]
    """As ``tf.estimator.LatestExporter``: exports after every evaluation."""

    def export(self, estimator: Any, export_path: str, *args: Any, **kwargs: Any) -> Any:
        exported = super().export(estimator, export_path, *args, **kwargs)
        return _published(export_path, exported)


class FinalExporter(tf.estimator.FinalExporter):  # type: ignore[misc]
    """As ``tf.estimator.FinalExporter``: exports after the last evaluation."""

    def export(self, estimator: Any, export_path: str, *args: Any, **kwargs: Any) -> Any:
        exported = super().export(estimator, export_path, *args, **kwargs)
        return _published(export_path, exported)


class BestExporter(tf.estimator.Exporter):  # type: ignore[misc]
    """Exports when ``metric_name`` is better than at every export before, those of earlier jobs included.

    ``tf.estimator.BestExporter`` exports the first model after each restart, however bad. Here the exports so far are
    in ``history.json`` beside them, by which they are judged; one of another metric counts for nothing.
    ``exports_to_keep``: the newest of them, which are the best; None keeps all.
    """

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Any,
        metric_name: str = "loss",
        *,
        higher_is_better: bool = False,
        min_change: float = 0.0,
        exports_to_keep: int | None = 5,
        assets_extra: Mapping[str, str] | None = None,
    ) -> None:
        if exports_to_keep is not None and exports_to_keep < 1:
            raise ValueError(f"BestExporter: exports_to_keep is 1 or more, or None, not {exports_to_keep}")
        self._name = name
        self._receiver_fn = serving_input_receiver_fn
        self._metric = metric_name
        self._aim = Aim.INCREASE if higher_is_better else Aim.DECREASE
        self._min_change = min_change
        self._keep = exports_to_keep
        self._assets = assets_extra

    @property
    def name(self) -> str:
        """The folder's."""
        return self._name

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> Any:
        """The path of the export, None if there was a better one. Raises UnknownMetricError."""
        value = value_of(self._metric, eval_result, who=f"BestExporter {self._name!r}")
        history = read_history(export_path)
        best = self._best(history)
        if math.isnan(value) or (best is not None and not self._aim.value * (value - best) > self._min_change):
            _log.info("%s is %g: not exported, the best is %s.", self._metric, value, best)
            return None
        exported = estimator.export_saved_model(
            export_path, self._receiver_fn, assets_extra=self._assets, checkpoint_path=checkpoint_path
        )
        entry = _entry(exported, self._metric, value, checkpoint_path, eval_result)
        _write(f"{export_path}/{HISTORY}", json.dumps([*history, entry], indent=1) + "\n")
        _published(export_path, exported)
        self._delete_old(export_path)
        return exported

    def _best(self, history: list[dict[str, Any]]) -> float | None:
        values = [float(entry["value"]) for entry in history if entry.get("metric") == self._metric]
        return max(values, key=lambda value: self._aim.value * value) if values else None

    def _delete_old(self, export_path: str) -> None:
        if self._keep is not None:
            for version in _versions(export_path)[: -self._keep]:
                tf.io.gfile.rmtree(f"{export_path}/{version}")


def read_history(export_path: str) -> list[dict[str, Any]]:
    """What a BestExporter has exported there, the oldest first: version, metric, value, global_step, checkpoint,
    exported_at (UTC), metrics."""
    path = f"{export_path}/{HISTORY}"
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        return list(json.loads(file.read()))


def publish(export_path: str, version: str) -> None:
    """Point ``<export_path>/current`` to the folder ``version`` in it. A store that has no symbolic links (a path with
    ``://``) gets a file ``current`` with that name instead."""
    if "://" in export_path:
        _write(f"{export_path}/{CURRENT}", version)
        return
    current = Path(export_path, CURRENT)
    if (
        current.is_dir() and not current.is_symlink()
    ):  # the model_dir was copied by what follows links (cp -rL, a store)
        aside = current.with_name(f"{CURRENT}.before-{version}")
        _log.warning("%s is a folder, where a link should be: it is kept as %s.", current, aside.name)
        current.rename(aside)
    new = Path(export_path, f".{CURRENT}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(version, target_is_directory=True)
    new.replace(current)


def _published(export_path: str, exported: Any) -> Any:
    if exported:
        publish(export_path, _version(exported))
    return exported


def _version(exported: Any) -> str:
    return str(tf.compat.as_text(exported)).rstrip("/").rpartition("/")[2]


def _versions(export_path: str) -> list[str]:
    names = [str(name).rstrip("/") for name in tf.io.gfile.listdir(export_path)]
    return sorted(name for name in names if len(name) == _VERSION_DIGITS and name.isdigit())


def _entry(exported: Any, metric: str, value: float, checkpoint: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: float(number) for name, number in metrics.items() if getattr(number, "shape", ()) == ()}
    return {
        "version": _version(exported),
        "metric": metric,
        "value": value,
        "global_step": int(metrics.get("global_step", 0)),
        "checkpoint": checkpoint,
        "exported_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "metrics": {name: number for name, number in sorted(numbers.items()) if math.isfinite(number)},
    }


def _write(path: str, text: str) -> None:
    """Whole or not at all."""
    with tf.io.gfile.GFile(f"{path}.new", "w") as file:
        file.write(text)
    tf.io.gfile.rename(f"{path}.new", path, overwrite=True)
