"""Shows how far a deployment is: a bar for each host on a terminal, a line for each step otherwise."""

from __future__ import annotations

from typing import TextIO

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from launcher.views.terminal import console, put

_BAR_CHARS = 30


class Lines:
    """A line when something new begins on a host; what pip prints is left out."""

    def __init__(self, out: TextIO, *, all_lines: bool = False) -> None:
        self._out = out
        self._all = all_lines

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def say(self, host: str, text: str) -> None:
        if self._all or text[:1].islower():
            self._print(host, text)

    def sending(self, host: str, *, sent_bytes: int, total_bytes: int) -> None:
        """Too much for lines."""

    def done(self, host: str, text: str) -> None:
        self._print(host, text)

    def failed(self, host: str) -> None:
        """The error says it."""

    def _print(self, host: str, text: str) -> None:
        put([((f"tflaunch | host {host}: {text}", ""),)], self._out, color=False)


class Bars:
    """A bar for each host."""

    def __init__(self, out: TextIO, hosts: tuple[str, ...]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(_BAR_CHARS),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=console(out))
        self._tasks = {host: self._progress.add_task(Text(host).plain, total=None, note="") for host in hosts}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, host: str, text: str) -> None:
        self._progress.update(self._tasks[host], total=None, note=_note(text))

    def sending(self, host: str, *, sent_bytes: int, total_bytes: int) -> None:
        # One more than there is: the clock of a full bar would stand still while the environment is made.
        note = f"sending files, {sent_bytes >> 20} of {total_bytes >> 20} MiB"
        self._progress.update(self._tasks[host], completed=sent_bytes, total=total_bytes + 1, note=note)

    def done(self, host: str, text: str) -> None:
        self._progress.update(self._tasks[host], completed=1, total=1, note=_note(text))

    def failed(self, host: str) -> None:
        self._progress.update(self._tasks[host], completed=0, total=1, note="[red]failed[/red]")


def _note(text: str) -> str:
    return text.replace("[", r"\[")
