"""``mlflow``: a run of MLflow for each of ours, with its parameters, metrics step by step, outcome and report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.api.listeners.listener import Listener, RunFacts
from launcher.record.course.parameters import parameters_of

_STATUS = {"succeeded": "FINISHED", "interrupted": "KILLED"}
_EVERY_S = 2.0
_LONGEST = 500


class MlflowRuns(Listener):
    """``where``: the tracking server's address; empty: what MLFLOW_TRACKING_URI says."""

    def __init__(self, where: str, run: RunFacts) -> None:
        from mlflow import MlflowClient

        super().__init__(where, run)
        self._client = MlflowClient(tracking_uri=where or None)
        self._id = self._begin(run)
        self._logged: dict[str, float] = {}

    def _begin(self, run: RunFacts) -> str:
        name = str(run.plan["name"])
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(name)
        made = self._client.create_run(experiment, run_name=run.name, tags={"tflaunch.run_dir": str(run.folder)})
        for key, value in _params(run.plan):
            self._client.log_param(made.info.run_id, key, value[:_LONGEST])
        return str(made.info.run_id)

    def on_event(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "evaluation_done":
            prefix = f"{event['name']}/" if event.get("name") else ""
            self._log({f"{prefix}{name}": value for name, value in event["metrics"].items()}, event["global_step"])
        elif kind == "progressed" and time.monotonic() - self._logged.get(event["task"], 0.0) > _EVERY_S:
            self._logged[event["task"]] = time.monotonic()
            self._log({f"loss/{event['task'].replace(':', '-')}": event.get("loss")}, event["global_step"])
        elif kind == "run_ended":
            self._client.set_tag(self._id, "tflaunch.outcome", event["outcome"])
            self._client.set_terminated(self._id, _STATUS.get(event["outcome"], "FAILED"))
            report = self.run.folder / "report.json"
            if report.exists():
                self._client.log_artifact(self._id, str(report))

    def _log(self, values: Mapping[str, float | None], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items() if value is not None]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)


def _params(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The options of the command, and how many tasks of each role there are."""
    tasks: Sequence[Mapping[str, Any]] = plan["tasks"]
    roles = [str(task["task"]).partition(":")[0] for task in tasks]
    yield from ((role, str(roles.count(role))) for role in dict.fromkeys(roles))
    words: Sequence[str] = next((task["argv"] for task in tasks if not str(task["task"]).startswith("ps")), ())
    yield from parameters_of(words).items()
