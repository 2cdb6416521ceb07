"""What the process is: its group, session, descriptors, threads, limits."""

import gc
import os
import resource
import sys
import threading
from pathlib import Path

print(os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), os.getppid() == int(os.environ["AGENT_PID"]))
print(sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())[:-1])
print([os.get_inheritable(fd) for fd in (0, 1, 2)])
print(threading.active_count(), len(list(Path("/proc/self/task").iterdir())) <= int(os.environ["MOST_THREADS"]))
print(gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit(), sys.getswitchinterval(), os.umask(0o22))
print(resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0), len(os.sched_getaffinity(0)))
print(Path.cwd(), Path("cwd_marker.txt").read_text().strip())
print(sorted(os.environ.items()))
print(dict(os.environb) == {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()})
os.system("echo child sees $MARKER $UNSET_BY_TASK")
