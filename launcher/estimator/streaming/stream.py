"""The input of an Estimator's training, fed from the cluster's queue.

    stream = streaming.Stream(streaming.Files(sources=["/data/train"], epochs=3), read, labels=["click"])
    train_spec = stream.train_spec(max_steps=None)

Works under any TF_CONFIG, with a launcher or without, and in a single process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from launcher.estimator import task as tasks
from launcher.estimator.streaming.errors import SourceError, StreamingError
from launcher.estimator.streaming.formats.index import list_shards
from launcher.estimator.streaming.queue.feeding import Feeder, ListFeeder
from launcher.estimator.streaming.queue.folder import FolderFeeder
from launcher.estimator.streaming.queue.numbers import Source
from launcher.estimator.streaming.queue.session import Graph, Place, Sitting
from launcher.estimator.streaming.reading.leases import Leases

LEASE, ROW = "_lease", "_row"

Read = Callable[[Callable[[], Leases]], Any]
"""Makes the tf.data.Dataset of batches from leases; see ``reading.py``."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """A finite source: ``epochs`` passes of the cluster over the shards of ``sources`` (None: for ever).

    ``shuffle``: the order of shards is another one in each epoch, by ``seed`` (None: a random one, which the
    checkpoint keeps). ``slice_records``: large TFRecord files are handed out in slices of so many records.
    """

    sources: tuple[str, ...]
    epochs: int | None = 1
    shuffle: bool = True
    seed: int | None = None
    slice_records: int | None = None


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An endless source: a folder in which files appear, oldest first (see ``folder.py``).

    ``stop_when_idle_s``: end when nothing has come for so long and everything is trained; None: follow it for ever.
    """

    path: str
    stop_when_idle_s: float | None = None


class Stream:
    """The training input of one Estimator in this process.

    ``labels``: the features that are handed to the model as labels; none: the model gets features alone.
    ``audit``: a folder in which the ids of every trained example are written: file and row, or the feature
    ``id_column``. ``holder_timeout_s``: how long a task may show no sign of life before its shards go to others.
    """

    def __init__(
        self,
        source: Files | Folder,
        read: Read,
        *,
        labels: Sequence[str] = (),
        audit: Path | None = None,
        id_column: str | None = None,
        holder_timeout_s: float = 60.0,
        most_leases: int = 128,
    ) -> None:
        self.source = source
        self._read = read
        self._labels = tuple(labels)
        self._audit = audit
        self._id_column = id_column
        self._holder_timeout_s = holder_timeout_s
        self._most_leases = most_leases
        self._max_steps: int | None = None
        self._sitting: Sitting | None = None

    @property
    def sitting(self) -> Sitting:
        """Of the newest graph. Raises StreamingError before there is one."""
        if self._sitting is None:
            raise StreamingError("the hooks of a stream need its input_fn: train with Stream.train_spec")
        return self._sitting

    def train_spec(self, *, max_steps: int | None = None, hooks: Sequence[Any] = ()) -> Any:
        """A ``tf.estimator.TrainSpec`` with this input, its hook and its listener besides ``hooks``."""
        import tensorflow as tf

        from launcher.estimator.streaming.queue.hooks import SnapshotListener, StreamHook

        self._max_steps = max_steps
        return tf.estimator.TrainSpec(
            self.input_fn,
            max_steps=max_steps,
            hooks=[StreamHook(self, max_steps), *hooks],
            saving_listeners=[SnapshotListener(self)],
        )

    def input_fn(self, config: Any) -> Any:
        """What an Estimator calls to build the input: features by name, and labels by name if there are any."""
        import tensorflow as tf

        from launcher.estimator.streaming.queue.cells import Cells

        refuse_config(config)
        cells = Cells(ps_tasks=config.num_ps_replicas)
        began = tf.timestamp()
        iterator = tf.compat.v1.data.make_initializable_iterator(self._read(self._open_leases))
        batch = dict(iterator.get_next())
        lease, row = batch.pop(LEASE), batch.pop(ROW)
        with tf.control_dependencies([lease]):
            fetches = {"lease": lease, "began": began, "got": tf.timestamp()}
        if self._audit is not None:
            fetches["id"] = row if self._id_column is None else batch[self._id_column]
        if self._sitting is not None:
            self._sitting.close()
        graph = Graph(cells=cells, initializer=iterator.initializer, fetches=fetches)
        self._sitting = Sitting(self._place(config), graph, tasks.current(), partial(self._make_feeder, config))
        if not self._labels:
            return batch
        if missing := [name for name in self._labels if name not in batch]:
            raise SourceError(f"the data has no column {missing[0]!r} to learn from; it has {', '.join(sorted(batch))}")
        labels = {name: batch.pop(name) for name in self._labels}
        return batch, labels

    def skipped(self, path: str) -> None:
        """Count one unreadable record of that file, which was left out."""
        if self._sitting is not None and self._sitting.holder is not None:
            self._sitting.holder.skipped(path)

    def _open_leases(self) -> Leases:
        holder = self.sitting.holder
        if holder is None:
            raise StreamingError("the input was started before its session")
        return holder

    def _place(self, config: Any) -> Place:
        is_local = "://" not in config.model_dir
        journals = Path(config.model_dir) / "streaming" if is_local else None
        return Place(
            task=f"{config.task_type}:{config.task_id}",
            is_chief=config.is_chief,
            model_dir=config.model_dir,
            folder=self._audit or journals,
            source=self._known(),
            is_audit=self._audit is not None,
            id_column=self._id_column,
            holder_timeout_s=self._holder_timeout_s,
            most_leases=self._most_leases,
        )

    def _known(self) -> Source:
        is_folder = isinstance(self.source, Folder)
        epochs = None if isinstance(self.source, Folder) else self.source.epochs
        return Source(epochs=epochs, is_folder=is_folder, endless=epochs is None and self._max_steps is None)

    def _make_feeder(self, config: Any) -> Feeder:
        from launcher.estimator.streaming.queue.shelf import FileShelf

        if isinstance(self.source, Folder):
            return FolderFeeder(self.source.path, idle_s=self.source.stop_when_idle_s, notice=_notice)
        shards = list_shards(self.source.sources, slice_records=self.source.slice_records)
        shelf = FileShelf(f"{config.model_dir}/streaming")
        return ListFeeder(
            shards,
            epochs=self.source.epochs,
            shuffle=self.source.shuffle,
            seed=self.source.seed,
            shelf=shelf,
            notice=_notice,
        )


def refuse_config(config: Any) -> None:
    """Raises StreamingError for what the queue does not work with."""
    if getattr(config, "train_distribute", None) is not None:
        raise StreamingError(
            "streaming input does not work with RunConfig(train_distribute=...): its queue lives on the parameter "
            "servers of TF_CONFIG; leave train_distribute out"
        )
    if config.num_worker_replicas > 1 and not config.num_ps_replicas:
        raise StreamingError("streaming input needs a parameter server where there are several trainers: add a ps")


def _notice(text: str) -> None:
    import logging

    logging.getLogger("tensorflow").warning("Input: %s", text)
