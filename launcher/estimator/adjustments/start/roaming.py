"""roaming: a session says where everybody is, so that a task may come, go or move while the others carry on.

A TensorFlow server is told a cluster once, when it starts. Here each starts under a neutral name and knows itself only;
where the parameter servers are, and under which name this task trains with them, says each session anew:
``ConfigProto.cluster_def``, *ClusterSpec propagation* (``CreateSession`` in
``tensorflow/core/distributed_runtime/master.cc``). With ``share_session_state_in_clusterspec_propagation`` all sessions
share the variables of the parameter servers, as they do without (``session_mgr.cc`` there).
"""

from __future__ import annotations

import contextlib
import importlib
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from launcher.estimator.adjustments.patches import Patches
from launcher.estimator.adjustments.start import given_cluster, home
from launcher.estimator.task import Task
from launcher.wire.adjustments import ROAMING
from launcher.wire.protocol import Roaming

EXECUTOR = "tensorflow_estimator.python.estimator.training"
SESSION = "tensorflow.python.client.session"
_NEUTRAL = "at"  # a server whose own name a session gives to a task is refused (master.cc)
_ROLES = ("ps", "chief", "worker")
_CONNECT_S = 2.0
_AGAIN_S = 0.5
_MOST_TASKS = 10_000_000  # of a role
_PLACE = re.compile(r"/job:([^/]+)(?:/replica:\d+)?(?:/task:(\d+))?")


def server_def(task: Task, wanted: Any) -> Any:
    """What the server is started with that a program wants as ``wanted``: the same one, or a neutral one.

    Strategies of TensorFlow 2 have servers of the same class, and say in another way where everybody is. They are made
    eagerly; between-graph programs build graphs.
    """
    role, index = wanted.job_name, wanted.task_index
    is_own = (role, index) == (task.role, task.index) and role in _ROLES and _is_given(task, wanted)
    if not is_own or ROAMING not in task.adjustments or not task.cluster.get("ps") or not task.channel.open():
        return wanted
    if not (task.is_between_graph or not _is_eager()):
        return wanted
    neutral = type(wanted)()
    neutral.CopyFrom(wanted)
    address = next(job.tasks[index] for job in wanted.cluster.job if job.name == role)
    neutral.job_name, neutral.task_index = _NEUTRAL, _ROLES.index(role) * _MOST_TASKS + index
    neutral.ClearField("cluster")
    neutral.cluster.job.add(name=_NEUTRAL).tasks[neutral.task_index] = address
    task.own_address = address
    return neutral


def _is_given(task: Task, wanted: Any) -> bool:
    """Whether tasks have the names in it that they were given. Where a program makes the chief its first worker, say,
    trainers have servers that do not roam, and look for parameter servers by their names."""
    return all(
        given_cluster.addresses(task.cluster.get(job.name)).get(index) == address
        for job in wanted.cluster.job
        for index, address in job.tasks.items()
    )


def watch_estimators(patches: Patches, task: Task) -> None:
    """Know the servers that ``train_and_evaluate`` starts."""

    def start(original: Callable[..., Any], executor: Any, config: Any) -> Any:
        task.is_between_graph = config.train_distribute is None
        try:
            return original(executor, config)
        finally:
            task.is_between_graph = False

    patches.wrap(importlib.import_module(EXECUTOR)._TrainingExecutor, "_start_std_server", start)


def tell_sessions(patches: Patches, task: Task) -> None:
    """Have every session of this task's server know the present addresses."""

    def init(
        original: Callable[..., Any], session: Any, target: str = "", graph: Any = None, config: Any = None
    ) -> None:
        place = _place_of(task, target) if target and task.own_address else None
        if place is None:
            original(session, target, graph, config)
            return
        _await_servers(task)
        if place.role == home.PS:
            place = replace(place, role=home.name_of_servers(graph or _default_graph(), home.PS))
        # The server knows by its address which task it is, however the program spells that.
        original(session, f"grpc://{place.address}", graph, _told(task, place, graph, config))
        home.settle(session, place.role, place.index)

    home.watch_extensions(patches)
    patches.wrap(importlib.import_module(SESSION).BaseSession, "__init__", init)


@dataclass(frozen=True, slots=True)
class _Place:
    """A server of the cluster, and where it is now."""

    role: str
    index: int
    address: str


def _place_of(task: Task, target: str) -> _Place | None:
    """Whose server ``target`` is: this task's, or that of another one, which knows nobody else either; None for one of
    another cluster."""
    if _is_at(target, task.own_address, {"127.0.0.1", "127.0.1.1", "::1"}):
        return _Place(task.role, task.index, task.own_address)
    present = _present_servers(task)
    for role in _ROLES:
        for index, address in given_cluster.addresses(task.cluster.get(role)).items():
            now = present.get(str(index), address) if role == "ps" else address
            if _is_at(target, address) or _is_at(target, now):
                return _Place(role, index, now)
    return None


def _present_servers(task: Task) -> Mapping[str, str]:
    """Where the parameter servers are, by index."""
    gate = task.channel.gate
    given = {str(index): place for index, place in given_cluster.addresses(task.cluster.get("ps")).items()}
    return gate.ps if gate is not None and gate.ps else given


def _is_at(target: str, address: str, here: Set[str] = frozenset()) -> bool:
    """Whether ``target`` is the server at ``address``, and not one of another host with the same port. ``here``: other
    numbers of its host."""
    host, _, port = target.rpartition("/")[2].rpartition(":")
    own_host, _, own_port = address.rpartition(":")
    return port == own_port and (host == own_host or bool(_numbers(host) & {*_numbers(own_host), *here}))


def _numbers(host: str) -> set[str]:
    with contextlib.suppress(OSError):
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)}
    return set()


def _await_servers(task: Task) -> None:
    """Wait until every parameter server can be reached where it is said to be. ``CreateSession`` would wait for ever
    for one whose host has fallen silent, and not hear that it has gone elsewhere (``DeviceFinder`` in master.cc)."""
    channel = task.channel
    while channel.is_open and not task.is_stopping:
        gate = channel.gate
        if gate is None or not gate.ps or (gate.open and all(map(_is_reachable, gate.ps.values()))):
            return
        channel.wait(lambda seen=gate: channel.gate is not seen or task.is_stopping, _AGAIN_S)  # type: ignore[misc]


def _is_reachable(place: str) -> bool:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError:
        return False
    return True


def _told(task: Task, at: _Place, graph: Any, config: Any) -> Any:
    """``config`` with the addresses of the parameter servers and of the task whose server it is for. A graph that
    places something on other trainers gets them all, and is bound to where they are."""
    module: Any = importlib.import_module("tensorflow.core.protobuf.config_pb2")
    told = module.ConfigProto()
    if config is not None:
        told.CopyFrom(config)
    if told.HasField("cluster_def"):  # the program does this by itself
        return told
    present = _present_servers(task)
    if at.address == task.own_address:
        task.told_ps = present
    graph = graph or _default_graph()
    operations = graph.get_operations()
    servers = home.name_of_servers(graph, at.role)
    if told.device_filters:  # without a cluster of its own a session has the devices of its server whatever they say
        told.device_filters[:] = [text.replace("/job:ps", f"/job:{servers}") for text in told.device_filters]
        told.device_filters.append(f"/job:{at.role}/task:{at.index}")
    places = {servers: {int(index): place for index, place in present.items()}}
    if graph.finalized and not any(home.is_on_servers(operation.device) for operation in operations):
        places = {}  # all of it is here: see home.py
    places.setdefault(at.role, {})[at.index] = at.address
    # What will be placed where by a program that opens its session first is not known.
    roams = bool(operations or graph.finalized) and _stays_at_home(at, operations)
    if not roams:
        for role in _ROLES[1:]:
            known = given_cluster.addresses(task.cluster.get(role))
            places[role] = {**known, **places.get(role, {})}
    for role, addresses in places.items():
        job = told.cluster_def.job.add(name=role)
        for index, address in addresses.items():
            job.tasks[index] = address
    told.experimental.share_session_state_in_clusterspec_propagation = not told.isolate_session_state
    fixed = "SyncReplicasOptimizer counts its replicas" if any(map(_is_of_sync_replicas, operations)) else ""
    if task.roams is not roams or fixed:
        task.roams = roams
        task.channel.send(Roaming(possible=roams, fixed=fixed))
    return told


def _default_graph() -> Any:
    ops: Any = importlib.import_module("tensorflow.python.framework.ops")
    return ops.get_default_graph()


def _stays_at_home(at: _Place, operations: Iterable[Any]) -> bool:
    """Whether all of a graph is placed on parameter servers and that task."""
    for device in {operation.device for operation in operations}:
        if found := _PLACE.search(device):
            role, index = found[1], found[2]
            if not home.is_on_servers(device) and (role != at.role or index not in (None, str(at.index))):
                return False
    return True


def _is_of_sync_replicas(operation: Any) -> bool:
    """The queue from which replicas take their tokens (``sync_replicas_optimizer.py``)."""
    return bool(operation.type == "FIFOQueueV2" and operation.get_attr("shared_name") == b"sync_token_q")


def _is_eager() -> bool:
    return bool(importlib.import_module("tensorflow.python.eager.context").executing_eagerly())
