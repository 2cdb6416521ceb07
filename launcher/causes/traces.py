"""Reads what programs say when they die: Python tracebacks, and the last words of native code.

A traceback may be a chain, have messages of many lines, and stand among the noise of other threads. Formats follow
``Lib/traceback.py``; TensorFlow's long messages are those of ``tensorflow/python/framework/errors_impl.py`` and
``tensorflow/python/client/session.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_HEAD = "Traceback (most recent call last):"
_BECAUSE = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"
_FRAME = re.compile(r'^  File "(.+)", line (\d+)(?:, in (.+))?$')
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*)|:)?$")
_SYNTAX_ERRORS = ("SyntaxError", "IndentationError", "TabError")
_IN_FILE = re.compile(r" in file (.+) on line (\d+)")
_THREAD = re.compile(r"^Exception in thread (.+?)(?: \(.*\))?:$")
_MOST_MESSAGE_LINES = 400
_LIBRARIES = re.compile(
    r"/(?:site|dist)-packages/|/lib(?:64)?/python\d[^/]*/|^<frozen |/launcher/(?:agent|estimator)/(?:\w+/)*\w+\.py$"
    r"|/__autograph_generated_file\w*\.py$"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One line of a traceback. ``function`` is empty for a syntax error."""

    path: str
    line: int
    function: str
    source: str = ""

    @property
    def is_library(self) -> bool:
        """Whether it is the code of Python, of an installed package or of ours, not the user's."""
        return _LIBRARIES.search(self.path) is not None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" + (f" in {self.function}" if self.function else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """One exception. ``text`` may have many lines; ``explicit``: raised ``from`` the one before it."""

    name: str
    text: str
    frames: tuple[Frame, ...]
    explicit: bool = False

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def frame(self) -> Frame | None:
        """The last frame of the user's own code; where there is none, the last one."""
        own = [frame for frame in self.frames if not frame.is_library]
        found = own or list(self.frames)
        return found[-1] if found else None

    @property
    def deliberate(self) -> bool:
        """Whether somebody raised it on purpose, in so many words."""
        return bool(self.frames) and self.frames[-1].source.startswith("raise ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """A traceback: exceptions in the order in which they were raised. ``ignored``: Python went on after it."""

    links: tuple[Raised, ...]
    thread: str = ""
    ignored: bool = False

    @property
    def outer(self) -> Raised:
        return self.links[-1]

    @property
    def text(self) -> str:
        """Names and messages of all its exceptions."""
        return "\n".join(f"{link.name}: {link.text}" for link in self.links)


def last_trace(text: str) -> Trace | None:
    """The traceback that ended the program: the last one that was not ignored, the main thread's if there is one."""
    found = [trace for trace in traces(text) if not trace.ignored]
    of_main = [trace for trace in found if not trace.thread]
    best = of_main or found
    return best[-1] if best else None


def unread_source(text: str) -> Trace | None:
    """The error of a script that Python cannot even decode, for which it shows no line: the last thing it says."""
    last = text.rstrip().rpartition("\n")[2]
    raised = _RAISED.match(last)
    if raised is None or raised[1] not in _SYNTAX_ERRORS:
        return None
    place = _IN_FILE.search(last)
    frames = (Frame(path=place[1], line=int(place[2]), function=""),) if place else ()
    return Trace(links=(Raised(name=raised[1], text=raised[2] or "", frames=frames),))


def traces(text: str) -> tuple[Trace, ...]:
    """Every traceback in ``text``, in order."""
    found: list[Trace] = []
    link: str | None = None
    for block in _blocks(text.replace("\r\n", "\n").split("\n")):
        raised = _raised(block.lines, explicit=link == _BECAUSE)
        if raised is not None and link is not None and found:
            last = found.pop()
            found.append(Trace(links=(*last.links, raised), thread=last.thread, ignored=last.ignored))
        elif raised is not None:
            found.append(Trace(links=(raised,), thread=block.thread, ignored=block.ignored))
        link = block.link
    return tuple(replace(trace, links=_with_callers(trace.links)) for trace in found)


def _with_callers(links: Sequence[Raised]) -> tuple[Raised, ...]:
    """What a library raised and caught itself shows no frame of the user's. The exception that followed from there
    does: those by which it came to the frame where the first was caught."""
    made = list(links)
    for at in range(len(links) - 2, -1, -1):
        own, after = links[at].frames, made[at + 1].frames
        if all(frame.is_library for frame in own):
            caught = [(frame.path, frame.function) for frame in after]
            before = caught.index((own[0].path, own[0].function)) if (own[0].path, own[0].function) in caught else 0
            made[at] = replace(links[at], frames=(*after[:before], *own))
    return tuple(made)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """The lines of one traceback. ``link``: the words that join it to the next one."""

    lines: Sequence[str]
    thread: str
    ignored: bool
    link: str | None


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    starts = [number for number, line in enumerate(lines) if _starts(lines, number)]
    for start, end in zip(starts, [*starts, len(lines)][1:], strict=True):
        body = lines[start : min(end, start + _MOST_MESSAGE_LINES * 4)]
        links = [number for number, line in enumerate(body) if line in (_BECAUSE, _MEANWHILE)]
        before = next((line for line in reversed(lines[max(0, start - 2) : start]) if line.strip()), "")
        thread = _THREAD.match(before)
        yield _Block(
            lines=body[: links[-1]] if links else body,
            thread=thread[1] if thread else "",
            ignored=before.startswith("Exception ignored"),
            link=body[links[-1]] if links else None,
        )


def _starts(lines: Sequence[str], number: int) -> bool:
    if lines[number] == _HEAD:
        return True
    frame = _FRAME.match(lines[number])
    # A syntax error in the program itself has no head.
    return frame is not None and frame[3] is None and not (number and _is_inside(lines, number))


def _is_inside(lines: Sequence[str], number: int) -> bool:
    return lines[number - 1].startswith((" ", _HEAD))


def _raised(lines: Sequence[str], *, explicit: bool) -> Raised | None:
    frames: list[Frame] = []
    for number, line in enumerate(lines):
        if (match := _FRAME.match(line)) is not None:
            source = lines[number + 1].strip() if number + 1 < len(lines) and lines[number + 1][:4] == "    " else ""
            frames.append(Frame(path=match[1], line=int(match[2]), function=match[3] or "", source=source))
        elif frames and (match := _RAISED.match(line)) is not None:
            text = "\n".join([match[2] or "", *_message(lines[number + 1 :])]).strip()
            return Raised(name=match[1], text=text, frames=tuple(frames), explicit=explicit)
    return None


def _message(lines: Sequence[str]) -> list[str]:
    """The rest of a message of several lines."""
    ends = ("Exception in thread ", "Exception ignored ")
    found: list[str] = []
    for line in lines[:_MOST_MESSAGE_LINES]:
        if line.startswith(ends):
            break
        found.append(line)
    return found


# --- what TensorFlow's messages say ------------------------------------------------------------------------------

_CODE = (
    r"(?:INVALID_ARGUMENT|NOT_FOUND|OUT_OF_RANGE|RESOURCE_EXHAUSTED|UNAVAILABLE|ABORTED|CANCELLED|DATA_LOSS|UNKNOWN"
    r"|INTERNAL|FAILED_PRECONDITION|PERMISSION_DENIED|UNIMPLEMENTED|DEADLINE_EXCEEDED|ALREADY_EXISTS)"
)
_IN_FRONT = re.compile(
    rf"^\s*(?:\(\d+\)\s*)?(?:{_CODE}:\s*)?(?:From /job:\w+/replica:\d+/task:\d+:)?\s*"
    r"(?:\{\{function_node .*?\}\}\s*)?"
    r"(?:Error in user-defined function passed to \S+ transformation with iterator: \S+: )?"
)
_FRAMEWORK = re.compile(
    r"^\s*(?:=+|Graph execution error:|Restoring from checkpoint failed\..*Original error:|Detected at node .*|Node: .*"
    r"|File \".*|Original stack trace .*|\d+ root error\(s\) found\.|\[\[.*"
    r"|Additional GRPC error information.*|:UNKNOWN:Error received.*|:?\{.*created.*|Recent warning and error logs:"
    r"|[WEI]\d{4} \d\d:.*|Errors may have originated from .*|Input Source operations.*|Operation defined at.*|Hint: .*"
    r"|\d+ (?:successful operations|derived errors).*|node .* defined at .*|\s*)$"
)
_USER_CODE = "in user code:"  # autograph: then frames with their lines, and what was raised in the last of them
_IN_USER_CODE = re.compile(r"^ {4}(?=\w*(?:Error|Exception|Warning)\b)", re.MULTILINE)
_SECTION = re.compile(r"^(?=Detected at node |Original stack trace )", re.MULTILINE)  # the last one may be cut short
_SOURCE_LINE = re.compile(r'^\s+File "(.+)", line (\d+), in (.+)$')


def gist(text: str, *, lines: int = 2) -> str:
    """What an exception says, in one line: without what TensorFlow puts around it."""
    if (inner := [*_IN_USER_CODE.finditer(text)]) and _USER_CODE in text:
        text = text[inner[-1].start() :]
    said: list[str] = []
    for line in text.splitlines():
        line = _IN_FRONT.sub("", line).strip()
        if _FRAMEWORK.match(line):
            if said:
                break
        elif line not in said:
            said.append(line)
        if len(said) == lines:
            break
    return " ".join(said)[:400]


def defined_at(text: str) -> Frame | None:
    """Where in the user's code the operation was made that TensorFlow complains of; of several, the first."""
    for section in _SECTION.split(text):
        found = [_SOURCE_LINE.match(line) for line in section.splitlines()]
        frames = [Frame(path=match[1], line=int(match[2]), function=match[3].rstrip(" *")) for match in found if match]
        own = [frame for frame in frames if not frame.is_library and frame.function != "<module>"]
        if own:
            return own[-1]
    return None


# --- native code -------------------------------------------------------------------------------------------------

_NATIVE = re.compile(
    r"^(?:F\d{4} .*\] (?P<check>.+)|\d{4}-\d\d-\d\d [\d:.]+: F .*\] (?P<old_check>.+)"
    r"|terminate called after throwing an instance of '(?P<thrown>[^']+)'.*|libc\+\+abi: (?P<abi>.+)"
    r"|libgomp: (?P<openmp>.+)|Fatal Python error: (?P<python>.+)"
    r"|(?P<heap>(?:double free|free\(\)|malloc\(\)|munmap_chunk|corrupted ).*)"
    r"|\*\*\* (?P<smashed>stack smashing detected).*|.*: (?P<symbol>symbol lookup error: .+)"
    r"|.*: (?P<shell>Cannot fork|fork: .*Resource temporarily unavailable))$",
    re.MULTILINE,
)
_WHAT = re.compile(r"^\s*what\(\):\s*(.+)$", re.MULTILINE)
_FAULT_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)


def native_words(text: str) -> str:
    """The last words of native code that gave up: a failed check, an exception that nobody caught. Empty if none."""
    found = None
    for found in _NATIVE.finditer(text):  # noqa: B007 - the last one
        pass
    if found is None:
        return ""
    words = next(value for value in found.groups() if value)
    if found["thrown"]:
        what = _WHAT.search(text, found.end())
        return words + (f": {what[1]}" if what else "")
    return words.strip()


def fault_frame(text: str) -> Frame | None:
    """Where the user's code was when the process crashed, from what ``faulthandler`` wrote (innermost first)."""
    frames = [Frame(path=match[1], line=int(match[2]), function=match[3]) for match in _FAULT_FRAME.finditer(text)]
    return next((frame for frame in frames if not frame.is_library), frames[0] if frames else None)
