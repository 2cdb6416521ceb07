"""Children: subprocesses, a fork, and the program's own replacement by exec."""

import os
import subprocess
import sys

SCRIPT = "import os, sys; print(sys.argv, os.environ.get('GIVEN'), sys.path[0], len(sys.modules) < 200)"
print(subprocess.run([sys.executable, "-c", SCRIPT, "x"], capture_output=True, text=True, check=True).stdout)
os.environ["GIVEN"] = "by the parent"
subprocess.run([sys.executable, "-c", SCRIPT], check=True)
print(subprocess.run(["sh", "-c", "trap; kill -PIPE $$"], check=False).returncode)
pid = os.fork()
if pid == 0:
    print("child of a fork")
    sys.exit(4)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if sys.argv[1:] == ["first"]:
    print("again", flush=True)
    os.execv(sys.executable, [sys.executable, sys.argv[0], "second"])
print("end", sys.argv)
