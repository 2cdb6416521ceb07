"""The lines of a picture that have numbers of the model and of its input, and what the evaluator does."""

from __future__ import annotations

from launcher.record import events as ev
from launcher.record.states import TaskState
from launcher.record.view import RunView
from launcher.views.spans import Glyphs, Line, Span, duration, line_width, number, sparkline
from launcher.wire.roles import Role
from launcher.wire.text import one_line

_TELLING = ("auc", "accuracy", "loss")  # of a model, in this order


def numbers_of(view: RunView, width: int, metric: str, glyphs: Glyphs) -> list[Line]:
    """Loss, the course of one metric, the newest of all, and the input: those of which something is known."""
    lines = (
        _loss(view, width, glyphs),
        _metric(view, width, metric, glyphs),
        _evaluation(view, width, glyphs),
        _input(view, width, glyphs),
    )
    return [line for line in lines if line]


def doing_of_evaluator(view: RunView, now: float) -> tuple[str, str]:
    """What the evaluator does now, as far as checkpoints and evaluations tell: a word, and words."""
    evaluator = next((task for task in view.tasks.values() if task.task.role is Role.EVALUATOR), None)
    written = [kept.event for kept in view.checkpoints if isinstance(kept.event, ev.CheckpointWritten)]
    done = view.evaluation
    if evaluator is None or evaluator.state not in (TaskState.READY, TaskState.EVALUATING, TaskState.DRAINING):
        return "", ""
    if done is not None and evaluator.state is not TaskState.DRAINING:
        done_at = view.evaluations[-1].at
        pause_s = done_at + done.pause_s - now
        if pause_s > 0 and evaluator.attempts and evaluator.attempts[-1].started <= done_at:
            return "waiting", f"next evaluation in {duration(pause_s)} (throttle_secs)"
    if written and (done is None or done.global_step < written[-1].global_step):
        word = "evaluating" if evaluator.state is not TaskState.DRAINING else ""
        return word, f"the checkpoint at {written[-1].global_step:,}"
    if evaluator.state is TaskState.DRAINING:
        return "", ""
    return "waiting", f"for one after {done.global_step:,}" if done is not None else "for a checkpoint"


def _metric(view: RunView, width: int, wanted: str, glyphs: Glyphs) -> Line:
    """The course of one metric: its newest value, its line, and the best with its step."""
    done = [kept.event for kept in view.evaluations if isinstance(kept.event, ev.EvaluationDone)]
    name = wanted or _most_telling(done)
    known = [(event.global_step, value) for event in done if (value := event.metrics.get(name)) is not None]
    if not known or (len(known) < 2 and not wanted):
        return ()
    smallest = any(word in name for word in ("loss", "error", "rmse", "mse", "mae"))
    step, best = (min if smallest else max)(known, key=lambda each: each[1])
    words = f"best {number(best)} at {step:,}"
    line: list[Span] = [(f"{one_line(name)[:20]}  ", "dim"), (f"{number(known[-1][1]):<8}", "bold")]
    cells = min(60, width - line_width(line) - len(words) - 4)
    if cells >= 10 and len(known) > 1:
        line.append((" " + sparkline([value for _, value in known[-cells:]], glyphs.ticks), "magenta"))
    return (*line, ("  ", ""), (words, "dim"))


def _most_telling(done: list[ev.EvaluationDone]) -> str:
    """The metric that tells most, by its name; empty if there is none."""
    names = [name for name in (done[-1].metrics if done else ()) if name != "global_step"]
    rank = {name: next((at for at, word in enumerate(_TELLING) if word in name), len(_TELLING)) for name in names}
    return min(names, key=lambda name: (rank[name], name), default="")


def _loss(view: RunView, width: int, glyphs: Glyphs) -> Line:
    if view.loss.last is None:
        return ()
    line: list[Span] = [("loss  ", "dim"), (f"{number(view.loss.last):<8}", "bold")]
    cells = min(60, width - line_width(line) - (26 if view.checkpoint_count else 2))
    values = view.loss.values(cells)
    if cells >= 10 and len(values) >= 3:
        line.append((" " + sparkline(values, glyphs.ticks), "cyan"))
    if view.checkpoint_count:
        last = view.checkpoints[-1].event
        words = f"checkpoint at {last.global_step:,}" if isinstance(last, ev.CheckpointWritten) else ""
        line += [("  ", ""), (words, "dim")] if line_width(line) + len(words) + 2 <= width else []
    return tuple(line)


def _evaluation(view: RunView, width: int, glyphs: Glyphs) -> Line:
    """The newest metrics, and how many evaluations there were; names that do not fit are left out."""
    done = view.evaluation
    if done is None:
        return ()
    line: list[Span] = [("eval  ", "dim"), (f"step {done.global_step:,}", "")]
    before = view.evaluations[-2].event if len(view.evaluations) > 1 else None
    former = before.metrics if isinstance(before, ev.EvaluationDone) else {}
    for name, value in done.metrics.items():
        if name == "global_step":
            continue
        more: list[Span] = [(glyphs.dot, "dim"), (f"{one_line(name)} ", "magenta"), (number(value), "bold")]
        was = former.get(name)
        if value is not None and was is not None:
            more.append((f" {value - was:+.4f}", "dim"))
        if line_width(line) + line_width(more) > width:
            break
        line += more
    return tuple(line)


def _input(view: RunView, width: int, glyphs: Glyphs) -> Line:
    """How the shared input stands; what does not fit is left out."""
    known = view.input
    if known is None:
        return ()
    line: list[Span] = [("input ", "dim")]
    for number_of, words in enumerate(_input_words(known)):
        more: list[Span] = [*([(glyphs.dot, "dim")] if number_of else []), words]
        if line_width(line) + line_width(more) > width:
            break
        line += more
    return tuple(line)


def _input_words(known: ev.InputCounted) -> list[Span]:
    words: list[Span] = []
    if known.epoch is not None:
        words.append((f"epoch {known.epoch}" + (f"/{known.epochs}" if known.epochs else ""), ""))
    if known.progress is not None:
        words.append((f"{known.progress:.0%}", "cyan"))
    if known.left_s is not None and known.progress != 1:
        words.append((f"{duration(known.left_s)} left", ""))
    if known.lag_s is not None:
        words.append((f"{duration(known.lag_s)} behind", "cyan"))
    words.append((f"{known.pending:,} shards waiting, {known.held:,} being read", "dim"))
    if known.reread:
        words.append((f"{known.reread:,} begun again, {known.duplicates:,} duplicates", "yellow"))
    if known.skipped:
        words.append((f"{known.skipped:,} records skipped", "yellow"))
    return words
