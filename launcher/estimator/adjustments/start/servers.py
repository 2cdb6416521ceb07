"""One TensorFlow server for each address of this process.

``train_and_evaluate`` starts one each time it is called (``_start_std_server`` in
``tensorflow_estimator/python/estimator/training.py``), and a script may have started its own before. By itself the
second one cannot have the port; with a port that may be shared, as those of a run are, there would be two, and the
kernel would deal connections out between them. Here the second gets what the first has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start import given_cluster, roaming
from launcher.estimator.task import Task

SERVER = "tensorflow.python.training.server_lib"
SESSION = "tensorflow.python.client.session"


def share(patches: Patches, task: Task) -> None:
    """Have every further server at an address be the first one."""
    module: Any = importlib.import_module(SERVER)

    def init(original: Callable[..., Any], server: Any, *args: Any, **kwargs: Any) -> None:
        wanted = _definition(module, *args, **kwargs)
        given_cluster.check_server(task, wanted)
        first = task.servers.get(_address(wanted))
        if first is None:
            started = roaming.server_def(task, wanted)
            if started is wanted:
                original(server, *args, **kwargs)
            else:
                original(server, started, start=kwargs.get("start", args[5] if len(args) > 5 else True))
                server._server_def = wanted
            if address := _address(wanted):
                task.servers[address] = server
        elif first.server_def.cluster != wanted.cluster:
            raise RuntimeError(
                f"this process has a TensorFlow server at {_address(wanted)} already, of another cluster: start one "
                "tf.train.Server only, from TF_CONFIG as it is"
            )
        else:
            server._server_def, server._server = first._server_def, first._server
            if kwargs.get("start", True):
                server.start()

    patches.wrap(module.Server, "__init__", init)


def refuse_without_ps(patches: Patches, task: Task) -> None:
    """Have no session train with others where there are no parameter servers."""
    session: Any = importlib.import_module(SESSION).BaseSession

    def init(original: Callable[..., Any], self: Any, target: str = "", *args: Any, **kwargs: Any) -> None:
        if target and "collective" not in task.uses:
            given_cluster.check_has_ps(task)
        original(self, target, *args, **kwargs)

    patches.wrap(session, "__init__", init)


def _definition(
    module: Any,
    cluster: Any,
    job_name: Any = None,
    task_index: Any = None,
    protocol: Any = None,
    config: Any = None,
    start: bool = True,
) -> Any:
    return module._make_server_def(cluster, job_name, task_index, protocol, config)


def _address(definition: Any) -> str:
    """Empty for a port that the system is to choose."""
    for job in definition.cluster.job:
        if job.name == definition.job_name:
            address = str(job.tasks.get(definition.task_index, ""))
            return "" if address.endswith(":0") else address
    return ""
