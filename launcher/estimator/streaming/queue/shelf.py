"""Small texts beside the checkpoints, on anything that ``tf.io.gfile`` writes."""

from __future__ import annotations


class FileShelf:
    """One file per name in ``folder``; a file never changes. Raises OSError."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def keep(self, name: str, text: str) -> None:
        import tensorflow as tf

        path = self._path(name)
        try:
            if tf.io.gfile.exists(path):
                return
            tf.io.gfile.makedirs(self._folder)
            with tf.io.gfile.GFile(f"{path}.new", "w") as file:
                file.write(text)
            tf.io.gfile.rename(f"{path}.new", path, overwrite=True)
        except tf.errors.OpError as error:
            raise OSError(error.message) from error

    def find(self, name: str) -> str | None:
        import tensorflow as tf

        path = self._path(name)
        try:
            if not tf.io.gfile.exists(path):
                return None
            with tf.io.gfile.GFile(path) as file:
                return str(file.read())
        except tf.errors.OpError as error:
            raise OSError(error.message) from error

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}.json"
