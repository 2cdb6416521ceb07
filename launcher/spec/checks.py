"""What must fit together in a spec: the checks that look at more than one key.

They also run on a spec that has other problems, on what is left of it, so that everything is named at once. What a
broken key would have decided is then not judged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from launcher.spec import drills, texts
from launcher.spec.command import misspelt, option, parse_command, uses
from launcher.spec.engines import LISTED, EngineError, chosen, sites_of
from launcher.spec.hosts import place, tasks_per_host
from launcher.spec.parts import Parts, salvage
from launcher.spec.source import Path
from launcher.spec.texts import did_you_mean
from launcher.spec.types import Python, RoleKeys, WorkerKeys
from launcher.spec.words import findings
from launcher.wire import adjustments
from launcher.wire.roles import ROLES, Role, TaskId

Finding = tuple[Path, str]


def cross_problems(parts: Parts) -> Iterator[Finding]:
    """Everything that does not fit together."""
    yield from _roles_fit(parts)
    yield from _engine_fits(parts)
    yield from _hosts_differ(parts)
    yield from _hosts_reach_each_other(parts)
    yield from _on_known_hosts(parts)
    yield from _capacity(parts)
    yield from _model_dir_is_a_path(parts)
    yield from _model_dir_shared(parts)
    yield from _command_fits(parts)
    yield from _tune_known(parts)
    yield from _drills_fit(parts)
    yield from _python_fits(parts)
    yield from _success_fits(parts)


def _roles_fit(parts: Parts) -> Iterator[Finding]:
    if "roles" not in parts.tree:
        return
    ps, chief, worker, evaluator = (parts.counted[role] for role in ROLES)
    written = parts.tree["roles"]
    named = written if isinstance(written, Mapping) else {}
    yield from _chief_fits(chief, worker, is_written="chief" in named)
    yield from _size_fits(worker)
    if evaluator and evaluator.count > 1:
        message = f"must be 0 or 1, got {evaluator.count}: tf.estimator knows one evaluator only"
        yield ("roles", "evaluator", "count"), message
    if ps and worker and worker.count > 0 and "ps" not in named:
        servers = "'ps: {count: 1}' for variables on parameter servers (tf.estimator, ParameterServerStrategy)"
        none = "'ps: {count: 0}' for a program that needs none (MultiWorkerMirroredStrategy)"
        yield ("roles",), f"has workers but no ps; add {servers}, or {none}"
    for role, keys in parts.roles.items():
        if keys and keys.gpus and not role.trains:
            yield ("roles", role.value, "gpus"), f"must be 0: {role} tasks do not use GPUs here, give them to trainers"


def _size_fits(worker: RoleKeys | None) -> Iterator[Finding]:
    if isinstance(worker, WorkerKeys):
        least, most = worker.min or 0, worker.max
        if least > worker.count or (most is not None and most < worker.count):
            limits = f"min {least}" if most is None else f"min {least} and max {most}"
            yield ("roles", "worker", "count"), f"is {worker.count}, with {limits}; write min <= count <= max"


def _chief_fits(chief: RoleKeys | None, worker: RoleKeys | None, *, is_written: bool) -> Iterator[Finding]:
    if not chief or chief.count == 1:
        return
    if not is_written:
        advice = "add 'chief: {}', or 'chief: {count: 0}' where the first worker is to take its part"
        yield ("roles",), f"has no chief; {advice}"
    elif chief.count > 1:
        yield ("roles", "chief", "count"), f"must be 0 or 1, got {chief.count}: a cluster has one chief at most"
    elif worker and worker.count == 0:
        yield ("roles", "chief", "count"), "must be 1, got 0: without a chief and without workers nobody trains"


def _engine_fits(parts: Parts) -> Iterator[Finding]:
    name, _ = chosen(parts.tree.get("engine"))
    if name == LISTED:
        return
    try:
        sites_of(parts.tree.get("engine"))
    except EngineError as error:
        yield ("engine", name), str(error)
    except ValidationError as error:
        yield from findings(error, parts.tree, ("engine", name))
    if parts.tree.get("hosts") is not None:
        yield ("hosts",), f"are listed, and the engine {name!r} gives hosts itself; remove one of the two"
    python = salvage(Python, parts.tree.get("python"))
    deploying = {"sync": parts.tree.get("sync") is not None, "python": python is not None and python.venv is not None}
    for key in (key for key, is_written in deploying.items() if is_written):
        yield (key,), f"is for hosts that are listed, and the engine {name!r} gives others; remove one of the two"


def _hosts_differ(parts: Parts) -> Iterator[Finding]:
    for index, host in enumerate(parts.hosts or ()):
        if host is None or host.address is None:
            continue
        names, addresses = len(texts.expand_range(host.name)), len(texts.expand_range(host.address))
        if names != addresses:
            message = f"stands for {addresses} addresses, and the name for {names} hosts; make the ranges equally long"
            yield ("hosts", index, "address"), message
    names_seen: dict[str, int] = {}
    addresses_seen: dict[str, tuple[int, str]] = {}  # names of hosts are the same in any case (RFC 4343)
    for index, site in parts.sites:
        if site.name in names_seen:
            yield ("hosts", index, "name"), f"{site.name!r} is the name of two hosts (hosts[{names_seen[site.name]}])"
        elif site.address and addresses_seen.get(site.address.lower(), (index, ""))[0] != index:
            other = addresses_seen[site.address.lower()][1]
            message = (
                f"{site.address!r} of host {site.name!r} is the address of host {other!r}, too; each needs its own"
            )
            yield ("hosts", index, "address"), message
        names_seen.setdefault(site.name, index)
        addresses_seen.setdefault(site.address.lower(), (index, site.name))


def _hosts_reach_each_other(parts: Parts) -> Iterator[Finding]:
    if not parts.all_hosts_known or not parts.hosts:
        return
    loopback = [(index, site) for index, site in parts.sites if texts.is_loopback(site.address)]
    if 0 < len(loopback) < len(parts.sites):
        for index, site in loopback:
            message = f"{site.address!r} can be reached from its own host only; write an address for the others"
            yield ("hosts", index, "address"), message
    here = [
        (index, site)
        for index, site in parts.sites
        if site.transport == "local" and not texts.is_loopback(site.address)
    ]
    for index, site in here[1:]:
        message = f"host {site.name!r} has no 'ssh', so its tasks would run on this machine, like those of"
        yield ("hosts", index), f"{message} {here[0][1].name!r}; add 'ssh: {{}}'"


def _on_known_hosts(parts: Parts) -> Iterator[Finding]:
    if not parts.all_hosts_known:
        return
    known = {site.name for _, site in parts.sites}
    for role, keys in parts.roles.items():
        for index, text in enumerate(keys.on if keys else ()):
            unknown = [name for name in texts.expand_range(text) if name not in known]
            if unknown:
                hint = did_you_mean(unknown[0], known) or f"; hosts are {', '.join(sorted(known)[:8])}"
                yield ("roles", role.value, "on", index), f"unknown host {unknown[0]!r}{hint}"


def _capacity(parts: Parts) -> Iterator[Finding]:
    roles = {role: keys for role, keys in parts.counted.items() if keys is not None}
    sites = {site.name: (index, site) for index, site in parts.sites}
    on = {role: parts.on(keys) for role, keys in roles.items()}
    if len(roles) < len(ROLES) or not all(names and set(names) <= set(sites) for names in on.values()):
        return
    placed = place({role: keys.count for role, keys in roles.items()}, on)
    for name, tasks in tasks_per_host(placed).items():
        index, site = sites[name]
        if site.ports and tasks > site.ports[1] - site.ports[0] + 1:
            size = site.ports[1] - site.ports[0] + 1
            message = f"has {size} ports, and host {name!r} gets {tasks} tasks; widen the range"
            yield ("hosts", index, "ports") if index >= 0 else ("engine", chosen(parts.tree["engine"])[0]), message
    yield from _gpus_fit(roles, placed, {name: site.gpus for name, (_, site) in sites.items()})


def _gpus_fit(
    roles: Mapping[Role, RoleKeys], placed: Mapping[TaskId, str], owned: Mapping[str, int]
) -> Iterator[Finding]:
    asking = [role for role in ROLES if role.trains and roles[role].gpus]
    wanted: Counter[str] = Counter()
    for task, host in placed.items():
        if task.role in asking:
            wanted[host] += roles[task.role].gpus
    for name, wants in wanted.items():
        if wants > owned[name]:
            message = f"host {name!r} has {owned[name]} GPUs, and its tasks ask for {wants}"
            yield ("roles", asking[-1].value, "gpus"), f"{message}; set hosts[].gpus, or ask for less"
            return


def _one_machine(parts: Parts) -> bool:
    return all(site.traits.shares_files or texts.is_loopback(site.address) for _, site in parts.sites)


def _model_dir_is_a_path(parts: Parts) -> Iterator[Finding]:
    model_dir = parts.text("model_dir")
    if model_dir is not None and (found := re.search(r"\{\w*\}", model_dir)):
        yield ("model_dir",), f"holds {found[0]}, and nothing is filled in there; write the path itself"


def _model_dir_shared(parts: Parts) -> Iterator[Finding]:
    if not parts.all_hosts_known or len(parts.sites) < 2 or _one_machine(parts):
        return
    model_dir = parts.text("model_dir")
    if model_dir is not None and not texts.is_shareable(model_dir):
        advice = "several hosts must reach it: write an absolute path on a shared file system, or gs://, hdfs://, s3://"
        yield ("model_dir",), f"{model_dir[:80]!r} is not the same folder on every host; {advice}"
    command = parts.words("command")
    if command and uses(command, "model_dir") and "model_dir" not in parts.tree:
        yield ("command",), "uses {model_dir}, and several hosts need one that all of them reach; set model_dir"


def _command_fits(parts: Parts) -> Iterator[Finding]:
    command = parts.words("command")
    if command:
        try:
            parse_command(command, "python")
        except ValueError as error:
            yield ("command",), str(error)
        if found := misspelt(command):
            yield ("command",), f"has {{{found[0]}}}, which is not filled in; did you mean {{{found[1]}}}?"
        own, model_dir = option(command, "model-dir"), parts.text("model_dir")
        if own and model_dir and own != model_dir and not uses((own,), "model_dir"):
            message = f"is {model_dir[:80]!r}, and the command says --model-dir {own[:80]}; write {{model_dir}} there"
            yield ("model_dir",), message
    yield from _gpus_decided_once(parts)


def _gpus_decided_once(parts: Parts) -> Iterator[Finding]:
    for role, keys in parts.roles.items():
        if keys and keys.gpus:
            for path, env in ((("env",), parts.tree.get("env")), (("roles", role.value, "env"), keys.env)):
                if isinstance(env, Mapping) and "CUDA_VISIBLE_DEVICES" in env:
                    message = f"contradicts roles.{role}.gpus, which decides about GPUs; remove one of them"
                    yield (*path, "CUDA_VISIBLE_DEVICES"), message


def _tune_known(parts: Parts) -> Iterator[Finding]:
    tune = parts.tree.get("tune")
    if not isinstance(tune, Mapping):
        return
    for name in adjustments.unknown(tune):
        hint = did_you_mean(name, adjustments.NAMES) or f"; known are {', '.join(adjustments.NAMES)}"
        yield ("tune", name), f"unknown adjustment {name[:80]!r}{hint}"
    wanted = [name for name, on in tune.items() if on is True]
    for name, need in adjustments.unmet(wanted):
        if tune.get(need) is False:
            yield ("tune", name), f"needs {need!r}, which is switched off; switch both on or off"


def _drills_fit(parts: Parts) -> Iterator[Finding]:
    for index, text in enumerate(parts.words("inject") or ()):
        try:
            task = drills.parse(text).task
        except ValueError:
            continue
        keys = parts.counted[task.role]
        if keys and task.index >= keys.count:
            have = f"has {keys.count}" if keys.count else "has none"
            yield ("inject", index), f"there is no task {task}: roles.{task.role} {have}"


def _python_fits(parts: Parts) -> Iterator[Finding]:
    python = salvage(Python, parts.tree.get("python"))
    if python is None:
        return
    if python.path and python.venv:
        yield ("python", "path"), "contradicts python.venv; keep one of them"
    written: Sequence[str] = sorted(python.model_fields_set & {"requirements", "wheelhouse"})
    for key in written:
        if not python.venv:
            yield ("python", key), "needs python.venv, the environment to install into"


def _success_fits(parts: Parts) -> Iterator[Finding]:
    policy = parts.tree.get("policy")
    used_up = policy.get("used_up") if isinstance(policy, Mapping) else None
    if not isinstance(policy, Mapping) or not isinstance(used_up, Mapping):
        return
    if policy.get("success") == "all_workers" and used_up.get("worker") == "go_on":
        message = "is 'go_on', but with success: all_workers no worker may be missing; write fail or fail_at_end"
        yield ("policy", "used_up", "worker"), message
