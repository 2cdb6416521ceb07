"""What fixes the shape of a model, and the note of it in ``model_dir`` that later commands read.

tf.estimator restores a variable of another shape without a word (resource variables take the checkpoint's shape), so
a model_dir trained with other settings is refused here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from jobs.errors import JobError
from jobs.esmm.input.schema import Schema, schema_from_json

MODEL_FILE = "esmm.json"

DEMO_TOWERS = (64, 32)
PAPER_TOWERS = (360, 200, 80)


class Preset(NamedTuple):
    """Settings that go together; each can be given by a flag of its own besides."""

    embedding_dim: int
    towers: tuple[int, ...]
    optimizer: str
    learning_rate: float


PRESETS = {
    "demo": Preset(embedding_dim=8, towers=DEMO_TOWERS, optimizer="lazy-adam", learning_rate=0.006),
    # Adam as in the paper, but that it leaves rows alone that are not in a batch
    "paper": Preset(embedding_dim=18, towers=PAPER_TOWERS, optimizer="lazy-adam", learning_rate=0.001),
}
OPTIMIZERS = ("lazy-adam", "adam", "adagrad", "momentum", "sgd")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The shape of an ESMM: its columns, the width of an embedding, the hidden layers of each tower."""

    schema: Schema
    embedding_dim: int
    towers: tuple[int, ...]
    optimizer: str

    def to_json(self) -> dict[str, object]:
        return {
            **self.schema.to_json(),
            "embedding_dim": self.embedding_dim,
            "towers": list(self.towers),
            "optimizer": self.optimizer,
        }


def model_config_from_text(text: str, *, where: str) -> ModelConfig:
    """Reads what :meth:`ModelConfig.to_json` made. Raises JobError."""
    try:
        value = json.loads(text)
        return ModelConfig(
            schema=schema_from_json(value, where=where),
            embedding_dim=int(value["embedding_dim"]),
            towers=tuple(int(width) for width in value["towers"]),
            optimizer=str(value["optimizer"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JobError(f"{where} is not the note of an ESMM ({error}); name another --model-dir") from None


def refuse_other_shape(*, trained: ModelConfig, asked: ModelConfig, model_dir: str) -> None:
    """Raises JobError when checkpoints in ``model_dir`` are of another shape than ``asked``."""
    old, new = trained.to_json(), asked.to_json()
    changed = [key for key in new if old[key] != new[key]]
    if changed:
        details = ", ".join(f"{key} {_short(old[key])} (now {_short(new[key])})" for key in changed)
        raise JobError(
            f"{model_dir} was trained with {details}; keep these settings, or name another "
            f"--model-dir, and --warm-start {model_dir} to begin there with what fits"
        )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
