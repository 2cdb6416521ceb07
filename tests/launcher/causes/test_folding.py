"""Of many failures one is named, and the others are folded under it."""

from __future__ import annotations

from launcher import causes
from launcher.causes import Cause, others
from launcher.wire import protocol


def failed(task: str, kind: str = "exception", message: str = "raised X", *, knock_on: bool = False) -> Cause:
    return Cause(task=task, host="here", kind=kind, message=f"{task} {message}", advice="mend it", knock_on=knock_on)


def lost(task: str) -> Cause:
    return failed(task, "ps_unreachable", "lost a ps", knock_on=True)


def names(cause: Cause) -> tuple[str | None, list[str | None]]:
    return cause.task, [after.task for after in cause.followed]


def test_one_failure_is_its_own_cause() -> None:
    fatal = failed("chief:0")
    assert names(causes.first((fatal,), fatal)) == ("chief:0", [])


def test_what_follows_a_dead_ps_is_folded_under_it() -> None:
    ps = failed("ps:0", "signal")
    after = (lost("worker:1"), lost("chief:0"))
    assert names(causes.first((ps, *after), after[1])) == ("ps:0", ["worker:1", "chief:0"])


def test_a_consequence_that_is_heard_first_is_still_one() -> None:
    chief, ps = lost("chief:0"), failed("ps:1", "out_of_memory")
    assert names(causes.first((chief, ps), chief)) == ("ps:1", [])


def test_a_ps_rather_than_a_worker_explains_lost_variables() -> None:
    failures = (failed("ps:0", "signal"), failed("worker:0"), lost("chief:0"))
    assert names(causes.first(failures, failures[2])) == ("ps:0", ["worker:0", "chief:0"])


def test_a_consequence_without_a_root_is_named_itself() -> None:
    assert names(causes.first((lost("chief:0"),), lost("chief:0"))) == ("chief:0", [])


def test_of_the_same_failure_in_many_tasks_the_earliest_is_named() -> None:
    failures = (
        failed("worker:1", "nan_loss"),
        failed("worker:0", "nan_loss", "elsewhere"),
        failed("chief:0", "nan_loss"),
    )
    assert names(causes.first(failures, failures[2])) == ("worker:1", ["worker:0", "chief:0"])


def test_another_exception_that_a_restart_mended_is_not_the_cause() -> None:
    failures = (failed("worker:1", message="raised A"), failed("chief:0", message="raised B"))
    assert names(causes.first(failures, failures[1])) == ("chief:0", [])


def test_the_same_death_again_is_folded_once() -> None:
    failures = (failed("ps:0", "signal"), failed("ps:0", "signal"))
    assert names(causes.first(failures, failures[1])) == ("ps:0", [])


def test_used_up_restarts_are_said_and_advised_of() -> None:
    cause = causes.used_up(failed("ps:0", "signal", "was killed"), "ps", 3)
    assert cause.message == "ps:0 was killed; its 3 restarts are used up"
    assert cause.advice.startswith("allow it more restarts (--restarts ps=6)") and cause.advice.endswith("mend it")
    none = causes.used_up(failed("ps:0", "signal"), "ps", 0)
    assert none.message.endswith("policy.restarts.ps is 0")
    assert causes.used_up(failed("ps:0"), "ps", 0) == failed("ps:0")


def test_the_report_names_what_followed() -> None:
    ps = failed("ps:0", "signal")
    told = causes.to_json(causes.first((ps, lost("chief:0")), lost("chief:0")), run="r")
    assert told["knock_on"] == [
        {"task": "chief:0", "host": "here", "kind": "ps_unreachable", "message": "chief:0 lost a ps"}
    ]


def test_ports_that_nobody_holds_are_no_other_process_s_fault() -> None:
    refused = protocol.Refused(command="reserve", message="Too many open files", task="", attempt=0, foreign={})
    assert "that process" not in others.refused("a", refused).advice
    assert "ulimit -n" in others.refused("a", refused).advice
