"""Has packages named like the launcher's."""

import jobs
import jobs.mine
import launcher
from launcher import VALUE

print(jobs, jobs.mine, launcher, VALUE)
import launcher.agent  # noqa: E402
