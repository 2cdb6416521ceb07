"""What can still be read of a spec that has problems, so that the rest of it can be checked, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from launcher.spec import texts
from launcher.spec.engines import EngineError, sites_of
from launcher.spec.hosts import THIS_MACHINE, PlannedHost, expand_host
from launcher.spec.source import Tree
from launcher.spec.texts import did_you_mean
from launcher.spec.types import NO_TASKS, Host, RoleKeys, Section, WorkerKeys
from launcher.wire.roles import ROLES, Role

_S = TypeVar("_S", bound=Section)


@dataclass(frozen=True)
class Parts:
    """What can be read of a spec. None stands for what is broken; ``counted`` has the roles whose number of tasks is
    known."""

    tree: Mapping[str, Tree]
    hosts: tuple[Host | None, ...] | None
    roles: Mapping[Role, RoleKeys | None]
    counted: Mapping[Role, RoleKeys | None]

    @classmethod
    def of(cls, tree: Tree) -> Parts:
        top = tree if isinstance(tree, Mapping) else {}
        roles = _roles(top.get("roles"))
        counted = {role: keys if _count_is_read(top.get("roles"), role, keys) else None for role, keys in roles.items()}
        return cls(tree=top, hosts=_hosts(top.get("hosts")), roles=roles, counted=counted)

    @cached_property
    def sites(self) -> tuple[tuple[int, PlannedHost], ...]:
        """Every single host that can be read, with the index of its entry."""
        if self._given is not None:
            return tuple((-1, site) for site in self._given)
        if not self.tree.get("hosts"):
            return ((-1, THIS_MACHINE),)
        return tuple((index, site) for index, host in enumerate(self.hosts or ()) if host for site in expand_host(host))

    @cached_property
    def all_hosts_known(self) -> bool:
        return self.hosts is not None and None not in self.hosts and self._given != ()

    @cached_property
    def _given(self) -> tuple[PlannedHost, ...] | None:
        """The hosts that an engine gives; none where that cannot be read, None where ``hosts`` has them."""
        try:
            return sites_of(self.tree.get("engine"))
        except (EngineError, ValidationError):
            return ()

    def on(self, role: RoleKeys) -> tuple[str, ...]:
        """The hosts of a role, ranges expanded."""
        named = tuple(name for text in role.on for name in texts.expand_range(text))
        return named or tuple(site.name for _, site in self.sites if not site.spare)

    def text(self, key: str) -> str | None:
        """A text at the top of the spec."""
        value = self.tree.get(key)
        return value if isinstance(value, str) else None

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of words at the top of the spec; None if it is broken or missing."""
        value = self.tree.get(key)
        if not isinstance(value, tuple) or not value or not all(_is_word(item) for item in value):
            return None
        return tuple(str(getattr(item, "text", item)) for item in value)


def _is_word(value: Tree) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def salvage(kind: type[_S], value: Tree) -> _S | None:
    """The section in ``value`` without its broken keys; None if what is left is not enough."""
    adapter = TypeAdapter(kind)
    if not isinstance(value, Mapping):
        return None
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        broken = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
    try:
        return adapter.validate_python({key: item for key, item in value.items() if key not in broken})
    except ValidationError:
        return None


def _hosts(value: Tree) -> tuple[Host | None, ...] | None:
    if value is None:
        return ()
    return tuple(salvage(Host, item) for item in value) if isinstance(value, tuple) else None


def _roles(value: Tree) -> Mapping[Role, RoleKeys | None]:
    """The roles; None for those that are broken, or may be meant by a misspelt one."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(ROLES)
    known = {role.value for role in ROLES}
    meant = "".join(did_you_mean(word, known) for word in value if word not in known)
    meant += "'chief'" if "master" in value else ""
    roles: dict[Role, RoleKeys | None] = {}
    for role in ROLES:
        if role.value not in value:
            roles[role] = None if f"'{role.value}'" in meant else NO_TASKS
        else:
            keys = value[role.value]
            roles[role] = salvage(WorkerKeys if role is Role.WORKER else RoleKeys, {} if keys is None else keys)
    return roles


def _count_is_read(roles: Tree, role: Role, read: RoleKeys | None) -> bool:
    keys = roles.get(role.value) if isinstance(roles, Mapping) else None
    return (
        not isinstance(keys, Mapping) or "count" not in keys or (read is not None and "count" in read.model_fields_set)
    )
