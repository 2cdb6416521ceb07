"""Text that a stranger may have written, made harmless for terminals: names, output of tasks, words of hosts."""

from __future__ import annotations

import re

# Escape sequences (ECMA-48): CSI, then OSC and other strings up to their end, then the short ones.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
_COLOURING = re.compile("\x1b\\[[0-9;]*m")
_HARMLESS = {
    **dict.fromkeys("\b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", ""),
    "\u2028": " ",
    "\u2029": " ",
    **{chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(0x80, 0x100)},  # a file name's byte that is no UTF-8
}
_RISKY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_RISKY_BYTES = bytes(code for code in (*range(0x20), 0x7F) if code not in (9, 10))


def harmless(text: str) -> str:
    """The text without escape sequences; other control characters become U+FFFD, so that a terminal just prints it.
    Bytes that are no UTF-8 are named, tabs and newlines stay. About 200 MB/s for plain text."""
    if text.isascii():
        data = text.encode()
        return text if len(data.translate(None, _RISKY_BYTES)) == len(data) else _clean(text)
    return _clean(text) if _RISKY.search(text) else text


def one_line(text: str) -> str:
    """``harmless``, with spaces for tabs and newlines, too."""
    return harmless(text).replace("\n", " ").replace("\t", " ")


def _clean(text: str) -> str:
    bare = _COLOURING.sub("", text)  # nearly all there is, and found fast
    if "\x1b" in bare or not bare.isascii():
        bare = _ESCAPES.sub("", bare)
    if _RISKY.search(bare) is None:
        return bare
    return _RISKY.sub(lambda match: _HARMLESS.get(match[0], "\ufffd"), bare)
