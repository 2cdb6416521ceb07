"""Which drills there are, and which one a number is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.soak.facts import VARIABLE

ROOT_NEEDED = ("hosts", "hosts fake", "roaming fake")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """``test``: what pytest is told, for a number; ``env``: the variables that it reads. ``weight``: how often it is
    drawn."""

    weight: int
    test: Callable[[int], str]
    env: Callable[[int, int], Mapping[str, str]]


def _own(seed: int, number: int) -> dict[str, str]:
    return {"TFLAUNCH_SOAK_SEED": str(seed), "TFLAUNCH_SOAK_NUMBER": str(number)}


def _one_of_many(variable: str) -> Callable[[int, int], Mapping[str, str]]:
    return lambda seed, number: {"TFLAUNCH_SOAK_SEED": str(seed), variable: str(number + 1)}


def _seeded(seed: int, number: int) -> dict[str, str]:
    return {"TFLAUNCH_DRILLS_SEED": str(_dice(seed, number)), "TFLAUNCH_DRILLS": "1"}


def _dice(seed: int, number: int) -> int:
    """Those tests have one number for both."""
    return random.Random(f"{seed}/drill/{number}").randrange(10**6)


KINDS: Mapping[str, Kind] = {
    "local": Kind(weight=6, test=lambda n: "tests/soak/test_local.py", env=_own),
    "hosts": Kind(weight=6, test=lambda n: "tests/soak/test_hosts.py", env=_own),
    "sample job": Kind(
        weight=1,
        test=lambda n: f"tests/e2e/test_soak.py::test_real_clusters_come_through[{n}]",
        env=_one_of_many("TFLAUNCH_SOAK_TENSORFLOW_RUNS"),
    ),
    "local fake": Kind(
        weight=4,
        test=lambda n: f"tests/e2e/test_soak.py::test_fake_clusters_end_as_the_policy_says[{n}]",
        env=_one_of_many("TFLAUNCH_SOAK_RUNS"),
    ),
    "preload fake": Kind(
        weight=1,
        test=lambda n: f"tests/e2e/test_preload_soak.py::test_a_preloaded_process_may_die_at_any_moment[{n}]",
        env=_one_of_many("TFLAUNCH_SOAK_PRELOAD_RUNS"),
    ),
    "hosts fake": Kind(weight=2, test=lambda n: "tests/hosts/test_soak.py", env=_seeded),
    "roaming fake": Kind(weight=2, test=lambda n: "tests/hosts/test_roaming_soak.py", env=_seeded),
}


def drawn(seed: int, number: int, among: Mapping[str, Kind] = KINDS) -> str:
    """The kind of that drill: the same for the same seed, number and kinds."""
    names = sorted(among)
    return random.Random(f"{seed}/{number}").choices(names, [among[name].weight for name in names])[0]


def environment(seed: int, number: int, kind: str, facts: str) -> dict[str, str]:
    patience = {"TFLAUNCH_TEST_TIMEOUT_S": "800"}  # the machine may be busy with other things
    return {**patience, **KINDS[kind].env(seed, number), VARIABLE: facts}
