"""Has packages named like the launcher's."""

import jobs.mine

import jobs
import launcher
from launcher import VALUE

print(jobs, jobs.mine, launcher, VALUE)
import launcher.agent  # noqa: E402
