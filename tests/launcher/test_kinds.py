"""Nobody but who reaches hosts, reads specs or talks to users asks what kind of host one is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.test_imports import ROOT, files, imports_of

MAY_ASK = ("hosts", "spec", "cli")
FACE = {f"launcher.hosts.{name}" for name in ("agents", "engine", "reach", "known")}
KINDS = {"local", "ssh", "slurm"}
TELLING = {"transport", "ssh", "details", "way"}  # of a host


def others() -> list[Path]:
    paths = files("launcher", "jobs")
    return [path for path in paths if path.relative_to(ROOT).parts[:2] not in {("launcher", room) for room in MAY_ASK}]


def questions(tree: ast.AST) -> Iterator[ast.expr]:
    """Everything that a branch depends on, or a look-up."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Match):
            yield node.subject
        elif (
            isinstance(node, (ast.Compare, ast.BoolOp))
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
            or isinstance(node, ast.Subscript)
        ):
            yield node


def kinds_asked(text: str) -> set[str]:
    """What of a host's kind is asked, with the line."""
    found = set()
    for question in questions(ast.parse(text)):
        for node in ast.walk(question):
            if isinstance(node, ast.Attribute) and node.attr in TELLING:
                found.add(f"{node.lineno}: {ast.unparse(node)}")
            elif isinstance(node, ast.Constant) and node.value in KINDS and isinstance(question, ast.Compare):
                found.add(f"{node.lineno}: {node.value!r}")
    return found


def test_nobody_else_asks_what_kind_a_host_is() -> None:
    assert {f"{path.relative_to(ROOT)}:{line}" for path in others() for line in kinds_asked(path.read_text())} == set()


def test_nobody_else_imports_one_kind() -> None:
    for path in others():
        names = {name for name in imports_of(path) if name.startswith("launcher.hosts.")}
        assert {name for name in names if name not in FACE and name.rpartition(".")[0] not in FACE} == set(), path


@pytest.mark.parametrize(
    "asking",
    [
        "x = 1 if host.transport == 'local' else 2",
        "near = [host for host in hosts if host.ssh]",
        "openers[host.transport]",
        "host.details['user']",
        "if not site.ssh: pass",
        "if kind in ('ssh', 'local'): pass",
    ],
)
def test_a_question_is_seen(asking: str) -> None:
    assert kinds_asked(asking)


def test_to_pass_it_on_is_no_question() -> None:
    assert not kinds_asked(
        "made = PlannedHost(transport=site.transport, way=site.way)\nshown = {'ssh': dict(x.details)}"
    )
