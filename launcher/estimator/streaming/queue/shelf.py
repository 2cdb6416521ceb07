"""Small texts beside the checkpoints, on anything that ``tf.io.gfile`` writes."""

from __future__ import annotations


class FileShelf:
    """One file per fingerprint in ``folder``; a file never changes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def keep(self, fingerprint: str, text: str) -> None:
        import tensorflow as tf

        path = self._path(fingerprint)
        if tf.io.gfile.exists(path):
            return
        tf.io.gfile.makedirs(self._folder)
        with tf.io.gfile.GFile(f"{path}.new", "w") as file:
            file.write(text)
        tf.io.gfile.rename(f"{path}.new", path, overwrite=True)

    def find(self, fingerprint: str) -> str | None:
        import tensorflow as tf

        path = self._path(fingerprint)
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path) as file:
            return str(file.read())

    def _path(self, fingerprint: str) -> str:
        return f"{self._folder}/files-{fingerprint}.json"
