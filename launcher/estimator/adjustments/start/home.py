"""Where operations run that are placed nowhere, in sessions that say where everybody is.

TensorFlow runs them on the task whose session it is, since the devices of that server come first (``IsLocal`` in
``tensorflow/core/common_runtime/colocation_graph.cc``). In a session with a cluster of its own no device is local, and
the first by name is taken: a worker's would run on a parameter server, its variables among those that are trained.

So they are placed before a graph is sent. Bodies of functions (of a dataset's ``map``, say) cannot be changed; where
one of them is placed nowhere, the parameter servers have another name in that graph, one that comes after all others.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from launcher.estimator.adjustments.patches import Patches

SESSION = "tensorflow.python.client.session"
GRAPH = "tensorflow.python.framework.ops"
PS, PS_LAST = "ps", "zps"
_on_ps, _on_ps_last = f"/job:{PS}", f"/job:{PS_LAST}"
_TASK = re.compile(r"/task:(\d+)")
_CALL = re.compile(r"(Stateful)?PartitionedCall|(Stateless)?(If|Case|While)")  # types of operations
_seen: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # by graph: how many of its operations have been looked at
_names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # by graph: the parameter servers' name in it
_placed: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()  # by graph: former devices, by operation
_settled: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # by graph: on which task
_looked_at: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # by session: the version of the graph that it has sent
_lock = threading.Lock()
_homes: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # by session


def name_of_servers(graph: Any, role: str) -> str:
    """Under which name sessions of this role know the parameter servers, the same for all with this graph."""
    if graph not in _names:
        comes_first = role <= PS or not any(map(_is_placed_nowhere, graph._functions.values()))
        _names[graph] = PS if comes_first else PS_LAST
    return _names[graph]


def is_on_servers(device: str) -> bool:
    """Whether something is placed on a parameter server."""
    return _on_ps in device or _on_ps_last in device


def task_of(device: str) -> int | None:
    """The number of the task that a device names; None if it names none."""
    found = _TASK.search(device)
    return int(found[1]) if found else None


def settle(session: Any, role: str, index: int) -> None:
    """From now on what is placed nowhere in the session's graph is placed on this task, before it is sent there."""
    if role >= PS:  # a chief comes first by name
        _homes[session] = f"/job:{role}/task:{index}"


def watch_extensions(patches: Patches) -> None:
    """Look at each graph before a session sends what is new in it to its server."""

    def extend(original: Callable[..., Any], session: Any) -> None:
        graph, version = session.graph, session.graph.version
        if _looked_at.get(session) != version and (session in _homes or graph in _placed):
            with _lock:
                if session in _homes:
                    _settle(graph, _homes[session])
                else:
                    _put_back(graph)
                _looked_at[session] = version
        original(session)  # the first time it waits for the parameter servers

    def export(original: Callable[..., Any], graph: Any, *args: Any, **kwargs: Any) -> Any:
        definition = original(graph, *args, **kwargs)
        if former := _placed.get(graph):
            for node in definition.node:
                node.device = former.get(node.name, node.device)
        return definition

    patches.wrap(importlib.import_module(SESSION).BaseSession, "_extend_graph", extend)
    patches.wrap(importlib.import_module(GRAPH).Graph, "as_graph_def", export)


def _settle(graph: Any, device: str) -> None:
    if _settled.get(graph) not in (None, device):  # a session at the server of another task had it before
        _put_back(graph)
    _settled[graph] = device
    known, version = _seen.get(graph, 0), graph.version
    if version == known:
        return
    operations = graph.get_operations()
    _seen[graph] = version
    former = _placed.setdefault(graph, {})
    own = re.compile(re.escape(device[device.index("/task:") :]) + r"(?!\d)")
    for operation in operations[known:]:
        place = operation.device
        if is_of_no_task(place) or own.match(place):
            place = place if _follows_another(operation) else device + own.sub("", place, count=1)
        elif _names.get(graph) == PS_LAST:
            place = place.replace(_on_ps, _on_ps_last)
        if place != operation.device:
            former[operation.name] = operation.device
            operation._set_device(place)


def _put_back(graph: Any) -> None:
    """For a session of another server, such as one of this process alone, which does not know this task."""
    _seen.pop(graph, None)
    for name, place in _placed.pop(graph, {}).items():
        graph.get_operation_by_name(name)._set_device(place)


def is_of_no_task(device: str) -> bool:
    """Whether it names no task, but at most a processor (``/device:CPU:0``), which every task has."""
    return "/job:" not in device and "/task:" not in device


def _follows_another(operation: Any) -> bool:
    """Whether it has to be where something else is: a variable or a resource that it uses, or what it is tied to. A
    call of a function uses what it is given in its body only, where each operation has a place of its own."""
    if any(name != b"loc:@" + operation.name.encode() for name in operation.colocation_groups()):
        return True
    if is_call(operation):
        return False
    return any(tensor.dtype._is_ref_dtype or tensor.dtype.name == "resource" for tensor in operation.inputs)


def is_call(operation: Any) -> bool:
    """Whether it calls functions, in whose bodies each operation has a place of its own."""
    return bool(_CALL.fullmatch(operation.type))


def _is_placed_nowhere(function: Any) -> bool:
    """Whether a function of a graph says of something in it not where it runs, and of nothing that it runs on a
    parameter server."""
    devices = {node.device for node in function.cached_definition.node_def}
    return any(map(is_of_no_task, devices)) and not any(map(is_on_servers, devices))
