"""What is said between supervisor, agent and task: frozen messages, and their form on the wire.

Three conversations share one form, a JSON object a line with the message's ``kind``:

- supervisor to agent: *commands*;
- agent to supervisor: *events*, each in an ``Event`` envelope that numbers it, so that a lost link loses nothing: the
  agent keeps an event until ``Ack`` has named its number, and says the rest again on the next connection. ``Output``
  alone is not numbered: it names file position instead, and its line is followed by ``size`` raw bytes;
- task and agent, over the socket that ``TASK_SOCKET_VARIABLE`` names: *reports* from the task, *tells* to it.

Standard library only: agents run this on hosts where nothing of ours is installed.
"""

from __future__ import annotations

from launcher.wire.agent_events import *  # noqa: F403
from launcher.wire.commands import *  # noqa: F403
from launcher.wire.messages import *  # noqa: F403
from launcher.wire.task_messages import *  # noqa: F403
from launcher.wire.variables import *  # noqa: F403  whoever speaks needs these names, too
