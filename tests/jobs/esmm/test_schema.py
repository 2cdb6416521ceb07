from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.esmm.config import ModelConfig, model_config_from_text, refuse_other_shape
from jobs.esmm.input.schema import Feature, Schema, read_schema, schema_from_json

SCHEMA = Schema(features=(Feature(name="a", ids=3), Feature(name="b", ids=1)))
CONFIG = ModelConfig(schema=SCHEMA, embedding_dim=18, towers=(4, 2), optimizer="adam")


def test_a_schema_survives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA.to_json()))
    assert read_schema(file) == SCHEMA


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "here: no list of features"),
        ({"features": []}, "here: no list of features"),
        ({"features": [{"ids": 3}]}, r"here: features\[0\]: needs a name"),
        ({"features": [{"name": "click", "ids": 3}]}, "needs a name other than click and conversion"),
        ({"features": [{"name": "a", "ids": 0}]}, r"features\[0\] \(a\): ids must be"),
        ({"features": [{"name": "a", "ids": True}]}, "ids must be"),
        ({"features": [{"name": "a", "ids": 1}, {"name": "a", "ids": 1}]}, "a is listed twice"),
    ],
)
def test_a_wrong_schema_is_told_where(value: object, message: str) -> None:
    with pytest.raises(JobError, match=message):
        schema_from_json(value, where="here")


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text("{")
    with pytest.raises(JobError, match=f"cannot read the schema {file}"):
        read_schema(file)


def test_the_note_of_a_model_survives_its_text() -> None:
    assert model_config_from_text(json.dumps(CONFIG.to_json()), where="here") == CONFIG


@pytest.mark.parametrize("text", ["{", "[]", '{"features": [{"name": "a", "ids": 1}]}'])
def test_a_foreign_note_is_refused(text: str) -> None:
    with pytest.raises(JobError, match=r"^here"):
        model_config_from_text(text, where="here")


def test_the_same_shape_goes_on() -> None:
    refuse_other_shape(trained=CONFIG, asked=CONFIG, model_dir="/m")
