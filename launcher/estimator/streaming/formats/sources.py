"""What there is to read: sources (files, globs, folders) become files. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher.estimator.streaming.errors import SourceError

_DATA_FILE = re.compile(r"[^._].*(\.tfrecords?(\.gz)?([-._]\d+(-of-\d+)?)?(\.gz)?|\.csv(\.gz)?)$", re.DOTALL)
_GLOB = re.compile(r"[*?\[]")


def is_data_file(name: str) -> bool:
    """Whether a file of a folder is data, by its name: ``*.tfrecord``, ``*.csv``, each also gzipped or numbered as in
    ``train.tfrecord-00001-of-00008``. Names that begin with a dot or an underscore are somebody's temporary files."""
    return _DATA_FILE.fullmatch(name) is not None


def list_files(sources: Sequence[str]) -> tuple[str, ...]:
    """The files that ``sources`` name, each once: files as they are given, those of globs and folders by name.

    Anything that ``tf.io.gfile`` reads. Folders are not searched below their first level. Raises SourceError where a
    source gives no file.
    """
    found: dict[str, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_files_of(source)))
    if not found:
        raise SourceError("no data: no source is given; name files, globs or folders")
    return tuple(found)


def _files_of(source: str) -> list[str]:
    import tensorflow as tf

    try:
        if tf.io.gfile.isdir(source):
            names = sorted(name for name in tf.io.gfile.listdir(source) if is_data_file(name))
            paths = (tf.io.gfile.join(source, name) for name in names)
            files = [path for path in paths if not tf.io.gfile.isdir(path)]
            missing = "the folder has no file named *.tfrecord or *.csv (gzipped or numbered ones too)"
        elif _GLOB.search(source) and not tf.io.gfile.exists(source):
            files, missing = sorted(tf.io.gfile.glob(source)), "no file matches"
        else:
            files, missing = ([source] if tf.io.gfile.exists(source) else []), "there is no such file or folder"
    except (tf.errors.OpError, OSError) as error:
        raise SourceError(f"no data: {source}: {getattr(error, 'message', error)}") from None
    if not files:
        raise SourceError(f"no data: {source}: {missing}")
    return files
