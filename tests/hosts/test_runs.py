"""Whole runs over three hosts: what works on one machine works across them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from launcher.agent.inside.guard import build, library
from tests.e2e.running import tflaunch
from tests.hosts.fixtures import three_hosts
from tests.hosts.namespaces import HOME, Network
from tests.hosts.running import (
    ENDLESS,
    GOOD,
    StartLive,
    left,
    live,
    readable,
    run_on,
    spec,
    wait_until,
    wait_until_gone,
)

__all__ = ["live", "three_hosts"]

HOSTILE = 'a "b" \'c\' $(touch /tmp/pwned) `id` {d,e} {"task":{"index":0}} \\ ü漢 !! ~ * ; & | # \n second line \t end'

LISTENING = {role: f"listen,{ENDLESS[role]}" for role in ("chief", "worker")}

pytestmark = [pytest.mark.e2e, pytest.mark.hosts]


def test_a_good_run_over_three_hosts(three_hosts: Network, tmp_path: Path) -> None:
    done = run_on(three_hosts, tmp_path, spec(three_hosts))
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None
    assert (done.report["outcome"], done.report["cause"], done.report["global_step"]) == ("succeeded", None, 10)
    assert {task["task"]: (task["host"], task["state"]) for task in done.report["tasks"]} == {
        "ps:0": ("a", "stopped"),
        "ps:1": ("b", "stopped"),
        "chief:0": ("a", "succeeded"),
        "worker:0": ("a", "succeeded"),
        "worker:1": ("b", "succeeded"),
        "worker:2": ("c", "succeeded"),
        "evaluator:0": ("c", "succeeded"),
    }
    wait_until_gone(three_hosts)


def test_values_arrive_as_they_are(three_hosts: Network, tmp_path: Path) -> None:
    model_dir = f"/mnt/shared/{HOSTILE}"
    words = {**GOOD, "worker": f"env=SECRET,env=TF_CONFIG,orig-argv,cwd,{GOOD['worker']}"}
    written = spec(three_hosts, words=words, env={"SECRET": HOSTILE}, model_dir=model_dir)
    written["command"] = [*written["command"], HOSTILE]
    done = run_on(three_hosts, tmp_path, written)
    assert done.code == 0, done.stdout + done.stderr
    for index in range(3):
        secret, config, argv, cwd = map(json.loads, done.log(f"worker:{index}").splitlines())
        assert (secret, argv[-1], cwd) == (["SECRET", HOSTILE], HOSTILE, HOME)
        told = json.loads(config[1])
        assert (told["task"], told["model_dir"]) == ({"type": "worker", "index": index}, model_dir)
    assert not any((host.tmp / "pwned").exists() for host in three_hosts.hosts)


def test_nothing_secret_is_on_a_command_line_or_open_to_others(three_hosts: Network, live: StartLive) -> None:
    run = live(three_hosts, spec(three_hosts, words=ENDLESS, env={"TOKEN": "s3cr3t"}, model_dir="/mnt/shared/secret"))
    run.until_training()
    lines = [words for host in three_hosts.hosts for words in host.processes().values()]
    lines += [path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)]
    assert any("fake_cluster" in words or "worker:1" in words for words in lines)  # as they name themselves
    assert not [words for words in lines if "s3cr3t" in words or '"cluster"' in words]
    for host in three_hosts.hosts:
        places = f"/tmp/tflaunch-* {HOME}/.cache/tflaunch"
        open_to_others = host.run("sh", "-c", f"find {places} -maxdepth 1 -perm /077")
        assert open_to_others == ""
    run.client.terminate()
    assert run.end() == 143
    wait_until_gone(three_hosts)


def test_ports_are_open_at_the_address_of_the_spec_alone(three_hosts: Network, live: StartLive) -> None:
    build.ensure()
    if library.obstacle():
        pytest.skip(library.obstacle())
    run = live(three_hosts, spec(three_hosts, words={**ENDLESS, **LISTENING}))
    run.until_training()
    for host, tasks in (("a", 3), ("b", 2), ("c", 1)):
        lines = three_hosts.host(host).run("ss", "-ltnH").splitlines()
        places = [line.split()[3].removeprefix("[::ffff:").replace("]", "").rpartition(":") for line in lines]
        assert {address for address, _, _ in places} == {three_hosts.host(host).address}
        assert len({port for _, _, port in places} - {"22"}) == tasks
    assert run.events("noticed", severity="warning") == []
    run.client.terminate()
    assert run.end() == 143
    wait_until_gone(three_hosts)


def test_a_detached_run_is_seen_and_stopped_from_elsewhere(three_hosts: Network, tmp_path: Path) -> None:
    home = {"HOME": str(three_hosts.user_home)}
    (tmp_path / "spec.yaml").write_text(
        yaml.safe_dump(spec(three_hosts, words={**ENDLESS, "evaluator": "ready,drain"}))
    )
    started = tflaunch("run", "spec.yaml", "--detach", "--name", "night", cwd=tmp_path, **home)
    assert started.code == 0, started.stderr

    def trains() -> bool:
        tasks = json.loads(tflaunch("status", "--json", cwd=tmp_path, **home).stdout)["tasks"]
        assert all(task["state"] != "failed" for task in tasks)
        return all(task["state"] == "training" for task in tasks if task["task"].startswith(("chief", "worker")))

    wait_until(trains)
    assert set(left(three_hosts)) == {"a", "b", "c"}
    stopped = tflaunch("stop", cwd=tmp_path, **home)
    assert stopped.code == 0, stopped.stderr
    wait_until_gone(three_hosts)
