"""Where files are, by the scheme of their URL: ``s3://`` through pyarrow, everything else through ``tf.io.gfile``.

S3's address and keys come from where its own tools have them: ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ~/.aws, …
"""

from __future__ import annotations

import functools
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit


class System(Protocol):
    """Files of one kind. What goes wrong raises one of ``errors()``."""

    def exists(self, path: str) -> bool: ...

    def is_folder(self, path: str) -> bool: ...

    def below(self, folder: str) -> Iterator[str]:
        """Every file of a folder and of those in it."""
        ...

    def glob(self, pattern: str) -> list[str]: ...

    def listing(self, folder: str) -> list[tuple[str, int, int]]:
        """Its files alone: name, nanoseconds of the last change, and size."""
        ...

    def open(self, path: str) -> BinaryIO:
        """To read, at any place."""
        ...

    def write(self, path: str, text: str) -> None:
        """A file that appears as a whole."""
        ...


def system_of(path: str) -> System:
    """What reaches a path."""
    return _s3() if path.startswith(("s3://", "s3a://")) else _BY_TENSORFLOW


def open_file(url: str) -> BinaryIO:
    return system_of(url).open(url)


def errors() -> tuple[type[Exception], ...]:
    """What a system raises: also TensorFlow's base error, where TensorFlow is loaded."""
    tensorflow = sys.modules.get("tensorflow")
    return (OSError, tensorflow.errors.OpError) if tensorflow else (OSError,)


class _ByTensorFlow:
    def exists(self, path: str) -> bool:
        return bool(_gfile().exists(path))

    def is_folder(self, path: str) -> bool:
        return bool(_gfile().isdir(path))

    def below(self, folder: str) -> Iterator[str]:
        for parent, _, names in _gfile().walk(folder):
            yield from (f"{parent.rstrip('/')}/{name}" for name in names)

    def glob(self, pattern: str) -> list[str]:
        return list(_gfile().glob(pattern))

    def listing(self, folder: str) -> list[tuple[str, int, int]]:
        about = {name: _gfile().stat(f"{folder}/{name}") for name in _gfile().listdir(folder)}
        return [(name, item.mtime_nsec, item.length) for name, item in about.items() if not item.is_directory]

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_GFileReader(_gfile().GFile(path, "rb")), 1 << 20))

    def write(self, path: str, text: str) -> None:
        draft = f"{path}.{os.getpid()}.tmp"  # several tasks may write it at once
        with _gfile().GFile(draft, "w") as file:
            file.write(text)
        _gfile().rename(draft, path, overwrite=True)


class _S3:
    def __init__(self) -> None:
        from pyarrow import fs

        at = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
        said = {"endpoint_override": at.netloc, "scheme": at.scheme} if at.netloc else {}
        self._fs = fs.S3FileSystem(region=os.environ.get("AWS_DEFAULT_REGION"), **said)
        self._all = fs.FileSelector
        self._file, self._folder = fs.FileType.File, fs.FileType.Directory

    def exists(self, path: str) -> bool:
        return bool(self._type(path) == self._file)

    def is_folder(self, path: str) -> bool:
        return bool(self._type(path) == self._folder)

    def below(self, folder: str) -> Iterator[str]:
        found = self._fs.get_file_info(self._all(_key(folder), recursive=True))
        yield from (f"s3://{item.path}" for item in found if item.type == self._file)

    def glob(self, pattern: str) -> list[str]:
        wanted, base = glob_regex(_key(pattern)), re.split(r"[*?\[]", pattern)[0].rpartition("/")[0]
        return [url for url in self.below(base) if wanted.fullmatch(_key(url))]

    def listing(self, folder: str) -> list[tuple[str, int, int]]:
        found = self._fs.get_file_info(self._all(_key(folder)))
        return [(item.base_name, item.mtime_ns, item.size) for item in found if item.type == self._file]

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, self._fs.open_input_file(_key(path)))

    def write(self, path: str, text: str) -> None:
        with self._fs.open_output_stream(_key(path), compression=None) as file:
            file.write(text.encode())

    def _type(self, path: str) -> Any:
        return self._fs.get_file_info(_key(path)).type


def glob_regex(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stop at a slash, ``**`` does not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    found = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    return re.compile("".join(parts.get(p) or (p if p.startswith("[") else re.escape(p)) for p in found), re.DOTALL)


def _key(url: str) -> str:
    """Bucket and key."""
    return url.partition("://")[2].rstrip("/")


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


_BY_TENSORFLOW = _ByTensorFlow()


@functools.cache
def _s3() -> System:
    return _S3()


class _GFileReader(io.RawIOBase):
    """A GFile as a raw stream that gzip and buffers understand."""

    def __init__(self, file: Any) -> None:
        self._inner = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._inner.seek(offset, whence)
        return int(self._inner.tell())

    def tell(self) -> int:
        return int(self._inner.tell())
