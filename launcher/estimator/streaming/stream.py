"""The input of an Estimator's training, fed from the cluster's queue.

    stream = streaming.Stream("/data/train", labels="click", batch_examples=1024, epochs=3)
    tf.estimator.train_and_evaluate(estimator, stream.train_spec(), stream.eval_spec("/data/eval"))

Works under any TF_CONFIG, with a launcher or without, and in a single process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from launcher.estimator import task as tasks
from launcher.estimator.streaming.errors import BadDataError, StreamingError
from launcher.estimator.streaming.formats.feature_spec import FeatureSpec
from launcher.estimator.streaming.formats.index import list_shards, slice_file
from launcher.estimator.streaming.formats.options import ReadingOptions
from launcher.estimator.streaming.formats.shards import Shard
from launcher.estimator.streaming.opening import LEASE, ROW, evaluation, find_reading, split
from launcher.estimator.streaming.queue.feeding import Feeder, ListFeeder, Shelf
from launcher.estimator.streaming.queue.folder import FolderFeeder, StrayError, Watching, whole
from launcher.estimator.streaming.queue.numbers import Source
from launcher.estimator.streaming.queue.session import Graph, Place, Sitting
from launcher.estimator.streaming.queue.shelf import FileShelf
from launcher.estimator.streaming.reading.leases import Leases

BATCH_EXAMPLES = 1024

if TYPE_CHECKING:
    from launcher.estimator.streaming.formats.framing import BadRecord

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
    ``slice_records``: as in Files. ``on_stray``: a file that is no data, or of another format, is named and passed
    over, or ends the training.
    """

    path: str
    stop_when_idle_s: float | None = None
    slice_records: int | None = None
    on_stray: Literal["skip", "fail"] = "skip"


class Stream:
    """The training input of one Estimator in this process.

    ``source``: what to read: a file, glob or folder, or several, for ``epochs`` passes; or Files or a Folder. ``read``
    makes batches of it; None: format and types are found (``find_reading``), and ``reading`` has what else
    ``ReadingOptions`` says, such as ``batch_examples``, 1024 unless it is given. Lists of differing length are
    SparseTensors then.

    ``labels``: the feature that is handed to the model as label, a tensor; or several, a dict; none: features alone.
    ``audit``: a folder in which the ids of every trained example are written: file and row, or the feature
    ``id_column``. ``holder_timeout_s``: how long a task may show no sign of life before its shards go to others.
    """

    def __init__(
        self,
        source: str | Sequence[str] | Files | Folder,
        read: Read | None = None,
        *,
        labels: str | Sequence[str] = (),
        epochs: int | None = 1,
        audit: Path | None = None,
        id_column: str | None = None,
        holder_timeout_s: float = 60.0,
        most_leases: int | None = None,
        **reading: Any,
    ) -> None:
        if isinstance(source, (Files, Folder)):
            self.source: Files | Folder = source
        else:
            self.source = Files(sources=(source,) if isinstance(source, str) else tuple(source), epochs=epochs)
        if read is not None and reading:
            raise StreamingError(f"{', '.join(reading)}: say that to what reads, or leave out read")
        self._finds = read is None
        self._read = read or self._read_found
        self._reading = {"batch_examples": BATCH_EXAMPLES, "on_skipped": self._count_skipped} | reading
        self._found: ReadingOptions | None = None
        self._labels = labels if isinstance(labels, str) else tuple(labels)
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

    @property
    def reading(self) -> ReadingOptions:
        """Format, types and the rest, found at the first call. Raises SourceError, BadDataError."""
        if self._found is None:
            where = self.source.sources if isinstance(self.source, Files) else (self.source.path,)
            self._found = find_reading(where, **self._reading)
        return self._found

    @property
    def spec(self) -> FeatureSpec:
        """The features of the data. Its ``feature_columns()`` are for canned Estimators."""
        return self.reading.spec

    def eval_spec(self, sources: str | Sequence[str], *, throttle_secs: int = 10, **arguments: Any) -> Any:
        """A ``tf.estimator.EvalSpec`` over every example of ``sources`` once, read as this stream reads. Each new
        checkpoint is evaluated, at most one every ``throttle_secs`` (EvalSpec itself leaves 600 between them);
        ``arguments`` are further ones of EvalSpec."""
        import tensorflow as tf

        where = [sources] if isinstance(sources, str) else list(sources)
        given = {"steps": None, "start_delay_secs": 0, "throttle_secs": throttle_secs} | arguments
        return tf.estimator.EvalSpec(evaluation(where, self._labels, self.reading), **given)

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
        lease, row = batch[LEASE], batch[ROW]
        with tf.control_dependencies([lease]):
            fetches = {"lease": lease, "row": row, "began": began, "got": tf.timestamp()}
        if self._audit is not None and self._id_column is not None:
            fetches["id"] = batch[self._id_column]
        if self._sitting is not None:
            self._sitting.close()
        graph = Graph(cells=cells, initializer=iterator.initializer, fetches=fetches)
        shelf = FileShelf(f"{config.model_dir}/streaming")
        self._sitting = Sitting(self._place(config), graph, tasks.current(), partial(self._make_feeder, shelf), shelf)
        return split(batch, self._labels, sparse=self._finds)

    def skipped(self, path: str) -> None:
        """Count one unreadable record of that file, which was left out."""
        if self._sitting is not None and self._sitting.holder is not None:
            self._sitting.holder.skipped(path)

    def _count_skipped(self, record: BadRecord) -> None:
        self.skipped(record.path)

    def _read_found(self, open_leases: Callable[[], Leases]) -> Any:
        from launcher.estimator.streaming.reading.dataset import read

        return read(open_leases, self.reading)

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
            trainers=config.num_worker_replicas,
        )

    def _known(self) -> Source:
        is_folder = isinstance(self.source, Folder)
        epochs = None if isinstance(self.source, Folder) else self.source.epochs
        return Source(epochs=epochs, is_folder=is_folder, endless=epochs is None and self._max_steps is None)

    def _make_feeder(self, shelf: Shelf) -> Feeder:
        if isinstance(self.source, Folder):
            how = Watching(
                idle_s=self.source.stop_when_idle_s,
                on_stray=self.source.on_stray,
                cut=partial(self._cut, slice_records=self.source.slice_records),
            )
            return FolderFeeder(self.source.path, how, notice=_notice)
        shards = list_shards(self.source.sources, slice_records=self.source.slice_records)
        return ListFeeder(
            shards,
            epochs=self.source.epochs,
            shuffle=self.source.shuffle,
            seed=self.source.seed,
            shelf=shelf,
            notice=_notice,
        )

    def _cut(self, path: str, *, slice_records: int | None) -> tuple[Shard, ...]:
        """A file of a watched folder as shards. What is damaged is left to its reader. Raises StrayError."""
        if not self._finds:
            return whole(path)
        from launcher.estimator.streaming.formats.inference import find_format

        with contextlib.suppress(BadDataError):
            if (found := find_format(path, self.reading.compression)) != self.reading.format:
                raise StrayError(f"it is of the format {found}, the others are of {self.reading.format}")
        return slice_file(path, slice_records)


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
