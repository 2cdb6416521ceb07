"""What a container of docker/compose.yaml runs: makes the keys that are not there yet, then becomes sshd.

``python start.py``: a training host. It makes its host key, and writes the public half into /keys/known_hosts.
``python start.py --head``: also makes the key that the head logs in with; its public half goes into
/keys/authorized_keys, which every host's sshd reads. /keys is a volume of the cluster. Private keys never leave the
container that has made them.
"""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

SSH = Path.home() / ".ssh"
SHARED = Path("/keys")
SETTINGS = Path("/etc/tflaunch")
PORT = 2222


def public_key(private: Path) -> str:
    """The public half, as ``type base64``, of a key that is made when it is not there."""
    if not private.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", socket.gethostname(), "-f", str(private)]
        subprocess.run(command, check=True)
    return " ".join(private.with_suffix(".pub").read_text().split()[:2])


def put_line(path: Path, line: str, *, instead_of: str) -> None:
    """Adds a line to a file that other containers write, too; lines that start with ``instead_of`` leave it."""
    with open(SHARED / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = path.read_text().splitlines() if path.exists() else []
        new = path.with_suffix(".new")
        new.write_text("".join(f"{kept}\n" for kept in old if not kept.startswith(instead_of)) + f"{line}\n")
        new.replace(path)


def main() -> None:
    """Does not return: this process becomes sshd."""
    os.umask(0o022)
    SSH.mkdir(mode=0o700, exist_ok=True)
    known_as = f"[{socket.gethostname()}]:{PORT} "
    put_line(SHARED / "known_hosts", known_as + public_key(SSH / "host_ed25519"), instead_of=known_as)
    if "--head" in sys.argv[1:]:
        shutil.copyfile(SETTINGS / "ssh_config", SSH / "config")
        key = public_key(SSH / "id_ed25519")
        (SHARED / "authorized_keys").write_text(f"{key} head\n")
    os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(SETTINGS / "sshd_config")])


if __name__ == "__main__":
    main()
