"""What there is to read: sources (files, globs, folders, lists) become files. Imports nothing heavy."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.estimator.streaming.errors import BadDataError, SourceError
from launcher.estimator.streaming.formats.storage.files import is_local, open_plain
from launcher.estimator.streaming.formats.storage.remote import errors, system_of

_PACKED = r"(\.(gz|bz2|zst|zstd|lz4))?"
_DATA_FILE = re.compile(
    rf"[^._].*(\.tfrecords?{_PACKED}([-._]\d+(-of-\d+)?)?{_PACKED}|\.(csv|tsv){_PACKED}|\.parquet)$", re.DOTALL
)
_TEXT_FILE = re.compile(rf".*\.(csv|tsv){_PACKED}$", re.DOTALL)
_GLOB = re.compile(r"[*?\[]")
_LIST = "@"
_REFUSED = ("gs", "hdfs", "viewfs")
"""What nobody has tried with this reader. TensorFlow would ask for credentials first, or look for a JVM."""


def is_data_file(name: str) -> bool:
    """Whether a file of a folder is data by its name: ``*.parquet``, ``*.tfrecord``, ``*.csv``, ``*.tsv``, all but the
    first also compressed (``.gz``, ``.bz2``, ``.zst``, ``.lz4``), and TFRecord numbered as in
    ``train.tfrecord-00001-of-00008``. Names that begin with a dot or an underscore are somebody's temporary files."""
    return _DATA_FILE.fullmatch(name) is not None


def is_text_file(name: str) -> bool:
    """Whether a name is that of CSV or TSV."""
    return _TEXT_FILE.fullmatch(name) is not None


def list_files(sources: Sequence[str]) -> tuple[str, ...]:
    """The files that ``sources`` name, each once: files as they are given, those of globs and folders by name, and of
    ``@FILE`` what its lines name, from its folder on.

    Folders are searched to their last level, but for folders that are hidden or begin with ``_``. In a glob ``**``
    stands for any number of folders. Raises SourceError where a source gives no file.
    """
    found: dict[str, None] = {}
    for source in sources:
        named = _lines_of(source[1:]) if source.startswith(_LIST) else [source]
        for each in named:
            found.update(dict.fromkeys(_files_of(each)))
    if not found:
        raise SourceError("no data: no source is given; name files, globs or folders")
    return tuple(found)


def _lines_of(path: str) -> list[str]:
    """What a list names; empty lines and those that begin with # name nothing."""
    try:
        with open_plain(path) as file:
            lines = [line.strip() for line in file.read().decode("utf-8-sig").splitlines()]
    except (BadDataError, UnicodeDecodeError) as error:
        raise SourceError(f"no data: the list {path} cannot be read: {error}") from None
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise SourceError(f"no data: the list {path} names no file")
    folder = path.rpartition("/")[0]
    return [line if "://" in line or line.startswith("/") or not folder else f"{folder}/{line}" for line in named]


def _files_of(source: str) -> list[str]:
    scheme = source.partition("://")[0] if "://" in source else ""
    if scheme in _REFUSED:
        raise SourceError(f"no data: {source}: {_not_read(scheme)}")
    try:
        if _is_folder(source):
            files = sorted(_below(source))
            missing = (
                "the folder has no file named *.parquet, *.tfrecord, *.csv or *.tsv (compressed, numbered ones too)"
            )
        elif _GLOB.search(source) and not _exists(source):
            files, missing = sorted(_matching(source)), "no file matches"
        else:
            files, missing = ([source] if _exists(source) else []), "there is no such file or folder"
    except errors() as error:
        raise SourceError(f"no data: {source}: {_text(source, error)}") from None
    if not files:
        raise SourceError(f"no data: {source}: {missing}{_nearest(source)}")
    return files


def _exists(path: str) -> bool:
    return os.path.exists(path) if is_local(path) else system_of(path).exists(path)  # noqa: PTH110


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) if is_local(path) else system_of(path).is_folder(path)  # noqa: PTH112


def _matching(pattern: str) -> list[str]:
    if is_local(pattern):
        return [path for path in glob.glob(pattern, recursive=True) if not os.path.isdir(path)]  # noqa: PTH112, PTH207
    return system_of(pattern).glob(pattern)


def _below(folder: str) -> Iterator[str]:
    """The data files of a folder and of those in it."""
    if is_local(folder):
        for parent, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith((".", "_"))]
            yield from (f"{parent.rstrip('/')}/{name}" for name in names if is_data_file(name))
        return
    for path in system_of(folder).below(folder):
        *folders, name = path[len(folder) :].split("/")
        if is_data_file(name) and not any(part.startswith((".", "_")) for part in folders):
            yield path


def _nearest(source: str) -> str:
    """Where a path ends that is there, and what is there instead: ``; /data has no tran: did you mean train?``."""
    if not is_local(source):
        return ""
    there = Path()
    for part in Path(source).parts:
        if (there / part).exists():
            there /= part
            continue
        try:
            names = [] if _GLOB.search(part) else [path.name for path in there.iterdir()]
        except OSError:  # a file, or not for us to see
            return ""
        near = difflib.get_close_matches(part, names, n=1)
        guess = f": did you mean {there / near[0]}?" if near else ""
        where = there if there.parts else "the working directory"
        return "" if _GLOB.search(part) else f"; {where} has no {part}{guess}"
    return ""


def _raise(error: OSError) -> None:
    """A folder that may not be looked into is not an empty one."""
    raise error


def _text(source: str, error: Exception) -> str:
    said = str(getattr(error, "message", None) or error)
    if "scheme" in said and "not implemented" in said:
        return _not_read(source.partition("://")[0])
    return said


def _not_read(scheme: str) -> str:
    return f"{scheme}:// is not read here: copy or mount it; s3:// is, and what this TensorFlow has a file system for"
