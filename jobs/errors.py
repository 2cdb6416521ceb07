"""What a job tells its user when it cannot go on."""

from __future__ import annotations


class JobError(Exception):
    """Wrong arguments, missing or foreign data. ``str()`` is the one line the user sees: what is wrong, what to do."""

    exit_code = 2
