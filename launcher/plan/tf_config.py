"""The one place that composes TF_CONFIG.

Its form follows tf.estimator's ``run_config.py``: ``cluster`` lists the addresses of each role, ``task`` says who reads
it, ``model_dir`` names the folder of the checkpoints. Two rules are not written there:

- ``evaluator`` stands in the ``cluster`` of the evaluator alone. Anywhere else it makes a ParameterServerStrategy or a
  user's ``session_config`` wait for a server that never starts.
- Linux holds a variable of at most 128 KiB (``MAX_ARG_STRLEN``, execve(2)). A cluster that does not fit is *reduced*:
  addresses that a task never talks to are ``PLACEHOLDER``, so that the lists keep their lengths, which is all that
  RunConfig takes from them. A worker talks to the parameter servers and to nobody else, the evaluator to nobody. A
  parameter server talks to all trainers, a chief may coordinate them, and where there are no parameter servers all
  trainers talk to each other: they get the full one besides, in pieces, and put it together in their own process,
  where that limit does not hold (``launcher.estimator.adjustments.start.cluster_pieces``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from launcher.plan.model import Plan, PlannedHost
from launcher.wire.errors import Problem, SpecError
from launcher.wire.roles import ROLES, Role, TaskId

MAX_VARIABLE_BYTES = 131072  # name, "=", value and the final NUL
PLACEHOLDER = "0:1"
VARIABLE = "TF_CONFIG"
PIECE_PREFIX = "TFLAUNCH_TF_CONFIG_"

_PIECE_BYTES = 120_000
_ROLE_ORDER = (Role.CHIEF, Role.PS, Role.WORKER)
_MAX_VALUE_BYTES = MAX_VARIABLE_BYTES - len(VARIABLE) - 2
_HOLE = json.dumps(PLACEHOLDER)


@dataclass(frozen=True, kw_only=True, slots=True)
class TfConfig:
    """One task's TF_CONFIG, compact JSON. ``reduced``: the addresses of some others are missing; ``pieces``: the full
    one, for a task that needs it all the same, by variable."""

    text: str
    reduced: bool
    pieces: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class TfConfigs:
    """Composes the TF_CONFIG of every task of one cluster.

    ``addresses``: ``host:port`` of each task, by role and index. What tasks share is made once; one TF_CONFIG costs
    the copying of its text.
    """

    def __init__(self, addresses: Mapping[Role, Sequence[str]], model_dir: str | None) -> None:
        self._quoted = {role: [json.dumps(item) for item in addresses.get(role, ())] for role in ROLES}
        self._model_dir = "" if model_dir is None else f',"model_dir":{json.dumps(model_dir)}'
        self._lists = {role: f"[{','.join(self._quoted[role])}]" for role in _ROLE_ORDER if self._quoted[role]}
        self._full = ",".join(f'"{role}":{text}' for role, text in self._lists.items())
        self._holes = {role: ",".join([_HOLE] * len(self._quoted[role])) for role in _ROLE_ORDER}

    def of(self, task: TaskId) -> TfConfig:
        """The TF_CONFIG of ``task``. Raises SpecError where even the reduced one does not fit a variable."""
        full_bytes = len(self._full) + len(self._own_evaluator(task)) + len(self._rest(task)) + len('{"cluster":{}}')
        if full_bytes <= _MAX_VALUE_BYTES:
            return TfConfig(text=self._text(self._full, task), reduced=False)
        text = self._text(self._reduced(task), task)
        if len(text) > _MAX_VALUE_BYTES:
            raise SpecError([Problem("spec", None, "roles", self._too_large(task, len(text)))])
        return TfConfig(text=text, reduced=True, pieces=self._pieces(task) if self._needs_all(task) else {})

    def _needs_all(self, task: TaskId) -> bool:
        return task.role in (Role.PS, Role.CHIEF) or (task.role is Role.WORKER and not self._quoted[Role.PS])

    def _pieces(self, task: TaskId) -> Mapping[str, str]:
        full = self._text(self._full, task)
        starts = range(0, len(full), _PIECE_BYTES)
        return {f"{PIECE_PREFIX}{n}": full[start : start + _PIECE_BYTES] for n, start in enumerate(starts)}

    def _text(self, cluster: str, task: TaskId) -> str:
        return f'{{"cluster":{{{cluster}{self._own_evaluator(task)}}}{self._rest(task)}}}'

    def _rest(self, task: TaskId) -> str:
        return f',"task":{{"type":"{task.role}","index":{task.index}}}{self._model_dir}'

    def _own_evaluator(self, task: TaskId) -> str:
        if task.role is not Role.EVALUATOR:
            return ""
        return f',"evaluator":[{",".join(self._quoted[Role.EVALUATOR])}]'

    def _reduced(self, task: TaskId) -> str:
        return ",".join(f'"{role}":{self._reduced_list(role, task)}' for role in self._lists)

    def _reduced_list(self, role: Role, task: TaskId) -> str:
        if role is Role.CHIEF or (role is Role.PS and task.role is not Role.EVALUATOR):
            return self._lists[role]
        holes = self._holes[role]
        if role is not task.role:
            return f"[{holes}]"
        width = len(_HOLE) + 1
        start = task.index * width
        return f"[{holes[:start]}{self._quoted[role][task.index]}{holes[start + len(_HOLE) :]}]"

    def _too_large(self, task: TaskId, size: int) -> str:
        counts = ", ".join(f"{len(items)} {role}" for role, items in self._quoted.items() if items)
        return (
            f"the cluster is too large ({counts}): TF_CONFIG of {task} would be {size} bytes long, and Linux allows "
            f"{_MAX_VALUE_BYTES}; use fewer ps, shorter host addresses or fewer workers"
        )


def addresses_of(plan: Plan, ports: Mapping[TaskId, object]) -> dict[Role, tuple[str, ...]]:
    """``host:port`` of each task of the plan, by role. ``ports`` may be numbers or what stands for them."""
    hosts: dict[str, PlannedHost] = {host.name: host for host in plan.hosts}
    lists: dict[Role, list[str]] = {role: [] for role in ROLES}
    for planned in plan.tasks:
        address = hosts[planned.host].address or f"<{planned.host}>"  # until it is granted
        lists[planned.task.role].append(f"{address}:{ports[planned.task]}")
    return {role: tuple(items) for role, items in lists.items()}


def tf_configs(plan: Plan, ports: Mapping[TaskId, object]) -> TfConfigs:
    """The TF_CONFIGs of a plan whose ports are known."""
    return TfConfigs(addresses_of(plan, ports), None if plan.model_dir_in_command else plan.model_dir)


def symbolic_tf_configs(plan: Plan) -> TfConfigs:
    """The TF_CONFIGs of a plan, for reading: ``<ps:0>`` stands for the port of ps:0."""
    return tf_configs(plan, {planned.task: f"<{planned.task}>" for planned in plan.tasks})


def check_size(plan: Plan) -> None:
    """Raises SpecError if any task's TF_CONFIG could not be handed over, whatever the ports turn out to be."""
    configs = tf_configs(plan, {planned.task: 65535 for planned in plan.tasks})
    last = {planned.task.role: planned.task for planned in plan.tasks}
    for task in last.values():
        configs.of(task)
