"""What a trainer does when a parameter server has gone elsewhere, and who asks how many trainers there are."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from launcher.estimator import task as tasks
from launcher.estimator.adjustments.sessions import reopening
from launcher.estimator.adjustments.start import roaming, shares
from launcher.wire.protocol import Gate


def listener() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.settimeout(10.0)
    return made


def test_connections_to_a_former_address_end_and_no_others() -> None:
    with listener() as former, listener() as present:
        places = [f"127.0.0.1:{made.getsockname()[1]}" for made in (former, present)]
        lost, kept = (socket.create_connection(made.getsockname(), 10.0) for made in (former, present))
        mapped = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        mapped.connect(("::ffff:127.0.0.1", former.getsockname()[1]))
        with lost, kept, mapped:
            reopening.hang_up(places[:1])
            assert lost.recv(1) == b"" and mapped.recv(1) == b""
            door, inside = socket.socketpair()  # a descriptor without a name is passed over
            other, _ = present.accept()
            with door, inside, other:
                other.sendall(b"x")
                assert kept.recv(1) == b"x"


def test_servers_have_moved_when_the_gate_says_so() -> None:
    task = tasks.begin({})
    task.channel.gate = Gate(open=True, ps={"0": "a:1"})
    assert not task.has_moved_servers, "no session was told anything"
    task.told_ps = {"0": "a:1"}
    assert not task.has_moved_servers
    task.channel.gate = Gate(open=False, ps={"0": "b:7"})
    assert task.has_moved_servers


def test_the_program_is_who_is_neither_tensorflow_nor_we(tmp_path: Path) -> None:
    assert shares.is_program(str(tmp_path / "train.py"))
    assert shares.is_program("/venv/lib/python3.11/site-packages/deepctr/estimator/inputs.py")
    assert not shares.is_program("/venv/lib/python3.11/site-packages/tensorflow/python/data/ops/dataset_ops.py")
    assert not shares.is_program("/venv/lib/python3.11/site-packages/tensorflow_estimator/python/estimator/training.py")
    assert not shares.is_program(shares.__file__)


def test_no_session_is_opened_at_an_address_that_does_not_answer() -> None:
    task = tasks.begin({})
    ours, theirs = socket.socketpair()
    task.channel._socket = ours  # as if an agent were there
    with ours, theirs, listener() as present:
        gone = listener()
        former, place = (f"127.0.0.1:{made.getsockname()[1]}" for made in (gone, present))
        gone.close()
        task.channel.gate = Gate(open=True, ps={"0": former})
        waiting = threading.Thread(target=roaming._await_servers, args=(task,), daemon=True)
        waiting.start()
        waiting.join(1.0)
        assert waiting.is_alive()
        task.channel._keep(Gate(open=True, ps={"0": place}))
        waiting.join(20.0)
        assert not waiting.is_alive()
