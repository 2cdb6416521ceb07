"""Which files a command reads, found and checked before TensorFlow is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.errors import JobError
from jobs.esmm.input.schema import SCHEMA_FILE, Schema, read_schema
from launcher.estimator.streaming.errors import StreamingError

PATTERN = "*.tfrecord*"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """Files in the order of their names, the same for every task of a cluster."""

    train_folder: Path
    train_files: tuple[Path, ...]
    eval_files: tuple[Path, ...]
    schema: Schema

    def train_examples(self) -> int:
        """Counts by walking over the records: about a million a second. Raises JobError. Imports TensorFlow."""
        from jobs.esmm.input.rows import count_examples

        try:
            return sum(count_examples(file) for file in self.train_files)
        except (OSError, ValueError, StreamingError) as error:
            raise JobError(f"cannot count the examples: {error}; write the file again, or give --max-steps") from None


def open_training_data(
    folder: Path, *, eval_folder: Path | None, schema_file: Path | None, may_be_empty: bool = False
) -> TrainingData:
    """``folder`` holds train/ and eval/, or is the train folder itself, with eval/ beside it. ``may_be_empty``: files
    are still to appear in the train folder. Raises JobError."""
    train_folder = folder / "train" if (folder / "train").is_dir() else folder
    train_files = () if may_be_empty and _is_empty(train_folder) else record_files(train_folder)
    return TrainingData(
        train_folder=train_folder,
        train_files=train_files,
        eval_files=record_files(eval_folder or train_folder.parent / "eval"),
        schema=read_schema(schema_file or _schema_beside(train_folder)),
    )


def open_eval_files(folder: Path) -> tuple[Path, ...]:
    """The files to evaluate on: those in ``folder``/eval, or in ``folder`` itself. Raises JobError."""
    return record_files(folder / "eval" if (folder / "eval").is_dir() else folder)


def record_files(folder: Path) -> tuple[Path, ...]:
    """The TFRecord files in ``folder``, by name. Raises JobError where there is none."""
    if not folder.is_dir():
        raise JobError(f"no data: there is no folder {folder}; make sample data with: python -m jobs.esmm generate")
    # An index of a file stands beside it, hidden.
    files = tuple(sorted(path for path in folder.glob(PATTERN) if path.is_file() and not path.name.startswith(".")))
    if not files:
        raise JobError(f"no data: {folder} has no files named {PATTERN}; name another folder with --data")
    return files


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.glob(PATTERN))


def _schema_beside(train_folder: Path) -> Path:
    inside = train_folder / SCHEMA_FILE
    return inside if inside.is_file() else train_folder.parent / SCHEMA_FILE
