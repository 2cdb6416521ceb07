"""Every kind of cause, and every rule, is shown by a test; docs/causes.md is made from them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher import causes
from launcher.causes import exits
from launcher.causes.kinds import RULES
from launcher.causes.rule import Rule
from launcher.causes.traces import Raised
from launcher.record.report import cause_of
from launcher.record.view import RunView
from launcher.wire import protocol
from tests.launcher.causes import words
from tests.launcher.causes.test_exits import of_raised, raised

PAGE = Path(__file__).parents[3] / "docs" / "causes.md"
KERAS_3 = "/venv/lib/python3.11/site-packages/keras/src/backend/tensorflow/trainer.py"
OWN = "launcher.estimator.errors."


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (raised("ValueError: you need to pass this dataset to ClusterCoordinator.create_per_worker_dataset",
                path=KERAS_3),
         "exception", "--tune legacy-keras"),
        (raised("ValueError: best_eval_result cannot be empty or no loss is found in it."), "metric", "compare_fn"),
        (raised(f"{OWN}UnknownMetricError: early stopping watches 'acc', which is no metric of the evaluation"),
         "metric", "hook or exporter"),
        (raised(f"{OWN}CheckpointMismatchError: the model is another one"), "checkpoint_mismatch", "warm_start"),
        (raised(f"{OWN}LostCheckpointError: /m has model.ckpt-5, and its file 'checkpoint' names none"),
         "checkpoint", "checkpoint"),
        (raised(f"{OWN}GlobalStepError: the global step is 0 after 100 steps"), "exception", "global"),
        (raised(f"{OWN}NoParameterServersError: it trains with parameter servers"), "tf_config", "--ps 1"),
        (raised("ValueError: Train has been called wrong configuration. Please use tf.estimator.train_and_evaluate"),
         "tf_config", "train_and_evaluate"),
        (raised('ValueError: If "cluster" is set in TF_CONFIG, task type must be set, too.'),
         "tf_config", "TF_CONFIG"),
        (raised("x.AbortedError: Collective ops is aborted by: /job:worker/replica:0/task:1 is down"),
         "member_lost", ""),
        (raised("x.FailedPreconditionError: Attempting to use uninitialized value w"), "ps_unreachable", ""),
    ],
)  # fmt: skip
def test_what_tensorflow_and_the_launcher_say(text: str, kind: str, words: str) -> None:
    cause = of_raised(text)
    assert cause.kind == kind and words in cause.advice and "{" not in cause.advice


def refused(command: str, message: str, *, pid: int = 0) -> causes.Cause:
    foreign = {"pid": pid, "command": "nginx", "since": "09:12"} if pid else {}
    return causes.refused("b", protocol.Refused(command=command, message=message, foreign=foreign))


def lost() -> causes.Cause:
    """As the report has it, when nobody is left to write one."""
    found = cause_of(RunView()) or {}
    return causes.Cause(task=None, host=None, kind=found["kind"], message=found["message"], advice=found["advice"])


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (refused("reserve", "port 2222 is taken", pid=7), "host", "hosts[].ports"),
        (refused("prove", "ps:0's port answers for another process", pid=7), "host", "end process 7"),
        (refused("see_model_dir", "/m is another folder on b than on a"), "host", "one shared folder"),
        (refused("lock_model_dir", "/m is used by run esmm-1"), "host", "a model_dir of its own"),
        (causes.host_lost("b", "nothing was heard for 20 s"), "host", "see that it is up"),
        (causes.too_few_workers(1, 2), "host", "start again"),
        (
            causes.not_started("worker:0", "b", "no more processes can be started (ulimit -u is 9)"),
            "limit",
            "ulimit -u",
        ),
        (causes.not_started("worker:0", "b", "there is no program ./train.sh"), "not_started", "correct the command"),
        (causes.model_dirs_differ("worker:0", "b", "/m-0914", "/m-0913"), "untrained", "--model-dir"),
        (causes.untrained("worker:0", "b", "its input was empty"), "untrained", "train_and_evaluate"),
        (causes.deadline(3600.0, "/m"), "timeout", "--model-dir /m"),
        (causes.launcher_failed(RuntimeError("odd")), "launcher", "supervisor.log"),
        (lost(), "lost", "tflaunch resume"),
    ],
)
def test_what_is_nobodys_death(cause: causes.Cause, kind: str, words: str) -> None:
    assert cause.kind == kind and words in cause.advice and cause.message


def test_every_kind_and_every_rule_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Rule] = []
    fits = exits._fits

    def watched(rule: Rule, link: Raised, text: str) -> bool:
        fitted.extend([rule] if fits(rule, link, text) else [])
        return fits(rule, link, text)

    monkeypatch.setattr(exits, "_fits", watched)
    shown = {row.cause.kind for row in words.rows()}
    assert shown == set(causes.KINDS)
    assert [rule.title for rule in RULES if rule not in fitted] == []


def test_the_page_is_made_of_them() -> None:
    if os.environ.get("TFLAUNCH_WRITE_GOLDEN"):
        PAGE.write_text(words.text(), "utf-8")
    assert PAGE.read_text("utf-8") == words.text(), "write it anew: TFLAUNCH_WRITE_GOLDEN=1"
