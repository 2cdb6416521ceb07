"""``tflaunch`` on a machine whose environment variables may be so short that three workers do not fit TF_CONFIG."""

import sys

from launcher.cli.main import run
from launcher.plan import tf_config
from launcher.wire.roles import Role, TaskId

ADDRESS = "127.0.0.1:65535"
CLUSTER = {Role.PS: [ADDRESS], Role.CHIEF: [ADDRESS], Role.WORKER: [ADDRESS] * 3}

full = tf_config.TfConfigs(CLUSTER, None).of(TaskId(Role.WORKER, 0))
tf_config._MAX_VALUE_BYTES = len(full.text) - 8  # less than any full one, more than any reduced one
tf_config._PIECE_BYTES = 100

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
