"""``other_key.py SCRIPT ARG…``: runs the script; a parameter server does so as one of a run with other keys would."""

import json
import os
import runpy
import sys
from pathlib import Path

_RECORD_BYTES, _KEY_AT = 64, 32  # guard.h

if json.loads(os.environ["TF_CONFIG"])["task"]["type"] == "ps":
    own = Path(os.environ["TFLAUNCH_GUARD"])
    data = bytearray(own.read_bytes())
    for at in range(_RECORD_BYTES, len(data), _RECORD_BYTES):
        data[at + _KEY_AT] ^= 1
    other = own.with_name("other")
    other.write_bytes(data)
    os.environ["TFLAUNCH_GUARD"] = str(other)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
