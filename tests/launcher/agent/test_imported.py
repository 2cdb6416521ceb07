"""What an agent imports is on the way of every start on every host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOO_MUCH = {"typing", "dataclasses", "asyncio", "subprocess", "tempfile", "logging", "inspect"}
PROGRAM = """
import sys
root = sys.argv[1]
sys.path.insert(0, root)
exec(open(root + "/launcher/agent/bootstrap.py").read(), {"__name__": "bootstrap"})
from launcher.agent.host import agent, keeper, relay
print(*sys.modules)
"""


def test_no_module_that_costs_as_much_as_all_of_ours() -> None:
    asked = [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT)]
    imported = set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())
    assert {"launcher.agent.host.agent", "launcher.wire.forms.named"} <= imported
    assert not imported & TOO_MUCH
