"""Roles and tasks of a cluster.

Standard library only, and little of that: the agent uses this module on hosts where nothing of ours is installed.
"""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Final


class Role(str, Enum):
    """The four roles of a parameter-server cluster, in TF_CONFIG's spelling and in the order of starting."""

    PS = "ps"
    CHIEF = "chief"
    WORKER = "worker"
    EVALUATOR = "evaluator"

    def __str__(self) -> str:
        return self.value

    @property
    def trains(self) -> bool:
        """Whether tasks of this role compute gradients (chief and worker)."""
        return self in (Role.CHIEF, Role.WORKER)


ROLES: tuple[Role, ...] = tuple(Role)
_NAMES = frozenset(role.value for role in Role)
TRAINERS: tuple[Role, ...] = (Role.CHIEF, Role.WORKER)

_MOST_DIGITS = 7


class TaskId:
    """One task of the cluster, a value. Sorts by role (ps, chief, worker, evaluator), then by index."""

    # Not a dataclass: to import that module takes an agent as long as to start.
    __slots__ = ("index", "role")

    def __init__(self, role: Role, index: int) -> None:
        self.role: Final = role
        self.index: Final = index

    @property
    def name(self) -> str:
        """As people and TensorFlow write it: ``worker:1``."""
        return f"{self.role.value}:{self.index}"

    @property
    def slug(self) -> str:
        """For file names: ``worker-1``."""
        return f"{self.role.value}-{self.index}"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"TaskId({self.role!r}, {self.index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskId) and (self.role, self.index) == (other.role, other.index)

    def __hash__(self) -> int:
        return hash((self.role, self.index))

    def __lt__(self, other: TaskId) -> bool:
        return (ROLES.index(self.role), self.index) < (ROLES.index(other.role), other.index)

    @classmethod
    def parse(cls, text: str) -> TaskId:
        """Reads ``worker:1`` or ``worker-1``; raises ValueError for anything else."""
        role, _, index = text.replace("-", ":").partition(":")
        is_number = index.isascii() and index.isdigit() and (index == "0" or index[0] != "0")
        if role not in _NAMES or not is_number or len(index) > _MOST_DIGITS:
            raise ValueError(f"not a task: {text!r}; write it as worker:0")
        return cls(Role(role), int(index))


CHIEF = TaskId(Role.CHIEF, 0)
_FIRST_WORKER = TaskId(Role.WORKER, 0)


def chief_of(tasks: Container[TaskId]) -> TaskId:
    """Who is the chief: in a cluster that names none it is the first worker, as in TensorFlow
    (``tensorflow/python/distribute/multi_worker_util.py``)."""
    return CHIEF if CHIEF in tasks else _FIRST_WORKER
