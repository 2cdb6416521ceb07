"""From the way in which a task ended, and what it said last, to the cause."""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Callable
from dataclasses import replace

from launcher.causes.advice import filled
from launcher.causes.cause import Cause
from launcher.causes.evidence import NOTHING, Evidence, Known, decisive, gather, on_purpose, remark
from launcher.causes.folding import CRASHES
from launcher.causes.kinds import RULES
from launcher.causes.rule import Rule
from launcher.causes.traces import Raised, fault_frame, gist
from launcher.causes.words import (
    in_thread,
    last_line,
    limits,
    origin,
    peak,
    place,
    shown,
    signal_name,
    told,
)
from launcher.wire import protocol

_NO_MODULE = re.compile(r"No module named '?([\w.]+)'?\)?\s*\Z")
_NO_SCRIPT = re.compile(
    r"can't open file '?(.+?)'?: \[Errno 2\]|can't find '__main__' module in '?(.+?)'?$", re.MULTILINE
)
_NOT_FOUND = re.compile(r"^(.*: (?:command )?not found|.*: No such file or directory)$", re.MULTILINE)


def of_exit(host: str, body: protocol.Exited, known: Known = NOTHING) -> Cause:
    """The cause of a task's death."""
    evidence = gather(host, body, known)
    for judge in _JUDGES:
        cause = judge(evidence)
        if cause is not None:
            return replace(cause, likeness=_likeness(evidence, cause))
    raise AssertionError("the last judge knows every end")


def _likeness(evidence: Evidence, cause: Cause) -> str:
    """The exception and the line that it came from. None of what passes by itself: lost peers, connections, files that
    cannot be reached, memory that others use."""
    if evidence.trace is None or cause.knock_on or cause.kind in _PASSES:
        return ""
    link, _ = decisive(evidence.trace)
    return "" if _PASSING.search(link.short_name) else f"{link.name} {place(link)}"


_PASSES = frozenset({"disk_full", "limit", "missing_input", "out_of_memory", "permission", "port", "ps_unreachable"})
_PASSING = re.compile(
    r"Unavailable|Aborted|Cancelled|DeadlineExceeded|ResourceExhausted|Internal|UnknownError|LauncherGone|SystemExit"
    r"|KeyboardInterrupt|^(?:OS|IO|Blocking|ChildProcess|Interrupted|ProcessLookup|EOF|SSL|gai)|Connection|BrokenPipe"
    r"|Timeout|Timed|HTTP|URL|[Ss]ocket|Network|Remote|^error$|^herror$"
)


# --- judges, in order --------------------------------------------------------------------------------------------


def _killed_for_memory(evidence: Evidence) -> Cause | None:
    body = evidence.body
    if not body.out_of_memory:
        return None
    return evidence.make(
        kind="out_of_memory",
        message=f"{body.task} was killed by the kernel: out of memory{peak(body)}",
        advice="use fewer tasks on this host, a smaller batch or model, or a smaller shuffle buffer; "
        f"or give it more memory{limits(body)}",
    )


def _compressed(evidence: Evidence) -> Cause | None:
    """What the task itself has found: a file that nothing can be read from as it is."""
    if not (path := remark(evidence, protocol.COMPRESSED_FILE)):
        return None
    return evidence.make(
        kind="bad_input",
        message=f"{evidence.body.task}: {path} is compressed (gzip), and is read as if it were not",
        advice="read it with compression_type='GZIP' (TFRecordDataset, TextLineDataset), or unpack it",
        permanent=True,
    )


def _by_rule(evidence: Evidence) -> Cause | None:
    """A kind that the table knows."""
    if evidence.trace is not None:
        trace = evidence.trace
        link, text = decisive(trace)
        for rule in RULES:
            if _fits(rule, link, text):
                return _of_rule(evidence, rule, link)
        return None
    for rule in RULES:
        if not rule.names and rule.pattern and rule.pattern.search(evidence.native):
            return evidence.make(
                kind=rule.kind,
                message=f"{evidence.body.task}: {rule.title}: {evidence.native}",
                advice=filled(rule.advice, evidence, ""),
                permanent=rule.permanent,
            )
    return None


def _fits(rule: Rule, link: Raised, text: str) -> bool:
    if rule.names and link.short_name not in rule.names:
        return False
    if rule.through is not None and not any(rule.through.search(frame.path) for frame in link.frames):
        return False
    return rule.pattern is None or rule.pattern.search(_searched(rule, link, text)) is not None


def _searched(rule: Rule, link: Raised, text: str) -> str:
    if rule.where == "path":
        return link.frames[-1].path if link.frames else ""
    if rule.where == "source":
        return link.frame.source if link.frame is not None else ""
    return text


def _of_rule(evidence: Evidence, rule: Rule, link: Raised) -> Cause:
    where = place(link)
    return evidence.make(
        kind=rule.kind,
        message=f"{evidence.body.task}: {rule.title}: {told(link)}{in_thread(evidence.trace)}{_damaged(evidence)}",
        advice=filled(rule.advice, evidence, where, link),
        permanent=rule.permanent,
        knock_on=rule.knock_on,
        tail=shown(link),
    )


def _damaged(evidence: Evidence) -> str:
    """The file that the task itself has found to be damaged."""
    found = remark(evidence, protocol.DAMAGED_FILE) or remark(evidence, protocol.DAMAGED_CHECKPOINT)
    return f"; damaged: {found}" if found else ""


def _by_arguments(evidence: Evidence) -> Cause | None:
    """The exit code that argparse, click and shells use for a wrong command line; and what Python says of a program
    that it cannot find."""
    body, task = evidence.body, evidence.body.task
    if script := _NO_SCRIPT.search(body.tail):
        return evidence.make(
            kind="missing_input",
            permanent=True,
            message=f"{task}: there is no program {script[1] or script[2]}",
            advice="correct the command, or put the program there, on every host",
        )
    if evidence.trace is None and body.exit_code == 1 and (module := _NO_MODULE.search(body.tail)):
        return evidence.make(
            kind="import",
            permanent=True,
            message=f"{task}: there is no module {module[1]}",
            advice="correct the module's name, or install it for the interpreter of the tasks",
        )
    if body.exit_code == 127 and (missing := _NOT_FOUND.search(body.tail)):
        return evidence.make(
            kind="missing_input",
            permanent=True,
            message=f"{task}: {missing[1].strip()}",
            advice="correct the command, or install what is missing, on every host",
        )
    if body.exit_code == 2:
        return evidence.make(
            kind="arguments",
            permanent=True,
            message=f"{task} refused its arguments (exit code 2)" + last_line(body.tail),
            advice="correct the command's arguments",
        )
    return None


def _by_exception(evidence: Evidence) -> Cause | None:
    """Any other exception of Python; ``sys.exit`` is one, too."""
    if evidence.trace is None:
        return None
    link, _ = decisive(evidence.trace)
    task = evidence.body.task
    if link.short_name == "SystemExit":
        return _by_sys_exit(evidence, link)
    where = place(link)
    return evidence.make(
        kind="exception",
        message=f"{task} raised {told(link)}{in_thread(evidence.trace)}{origin(evidence.trace, link)}",
        advice=f"correct {where}; the whole traceback: {evidence.log}"
        if where
        else f"read the traceback: {evidence.log}",
        tail=shown(link),
    )


def _by_sys_exit(evidence: Evidence, link: Raised) -> Cause:
    text = link.text.strip()
    said = f'ended itself: "{gist(text)}"' if on_purpose(link) else f"ended itself with exit code {text or 1}"
    where = place(link)
    return evidence.make(
        kind="exit",
        message=f"{evidence.body.task} {said}" + (f" ({where})" if where else ""),
        advice=f"see why it does so at {where}; its whole output: {evidence.log}",
        tail=shown(link),
    )


def _by_signal(evidence: Evidence) -> Cause | None:
    body = evidence.body
    if body.signal is None:
        return None
    name = signal_name(body.signal)
    message = f"{body.task} was killed by {name}"
    if evidence.native:
        message += f": {evidence.native}"
    frame = fault_frame(body.crash)
    if frame is not None:
        message += f" ({frame})"
    advice = ""
    if frame is not None and body.signal in CRASHES:
        advice = f"look at the native code that is called at {frame}; "
    return evidence.make(
        kind="signal",
        message=message,
        advice=advice
        + _SIGNAL_ADVICE.get(body.signal, "see who sent {name}; its whole output: {log}").format(
            name=name, log=evidence.log
        ),
    )


def _by_code(evidence: Evidence) -> Cause | None:
    """An exit code that nothing explains."""
    body = evidence.body
    if body.exit_code == 0:
        return evidence.make(
            kind="exit",
            message=f"{body.task} ended (exit code 0) while the trainers still needed it",
            advice="a parameter server must serve until it is stopped: call tf.estimator.train_and_evaluate or "
            "server.join() in that role, too",
        )
    words = evidence.native or last_line(body.tail).lstrip(": ")
    return evidence.make(
        kind="exit",
        message=f"{body.task} ended with exit code {body.exit_code}, and no exception"
        + (f": {words}" if words else ""),
        advice=f"look for os._exit or a program that it runs; its whole output: {evidence.log}",
    )


_JUDGES: tuple[Callable[[Evidence], Cause | None], ...] = (
    _killed_for_memory,
    _compressed,
    _by_rule,
    _by_arguments,
    _by_exception,
    _by_signal,
    _by_code,
)

_SIGNAL_ADVICE = {
    int(signals.SIGSEGV): "native code crashed: see that the versions of TensorFlow, of custom ops and of other native "
    "modules fit together; its whole output: {log}",
    int(signals.SIGBUS): "native code crashed, often on a mapped file that was cut short or a full /dev/shm: {log}",
    int(signals.SIGILL): "this TensorFlow needs a newer processor: install a build for this one",
    int(signals.SIGABRT): "a check in native code failed; its whole output: {log}",
    int(signals.SIGKILL): "nobody of this run sent it: see who did (an administrator, a batch system, the kernel's log "
    "for want of memory); its whole output: {log}",
    int(signals.SIGXCPU): "its limit of CPU time is used up: raise it before the start (ulimit -t)",
    int(signals.SIGXFSZ): "a file became longer than the limit allows: raise it before the start (ulimit -f)",
}
