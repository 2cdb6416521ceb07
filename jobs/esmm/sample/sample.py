"""Sample data with a known truth: a folder of TFRecord files, its schema, and the best AUC anybody can reach on it.

schema.json                 the columns
truth.json                  settings, rates, best reachable AUC on the eval split
eval-truth.npy              float64[eval examples, 2]: the true pCTR and pCVR, in the order of the eval files
train/part-00000.tfrecord   one tf.Example an impression: the features, click, conversion
eval/part-00000.tfrecord
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from jobs.auc import exact_auc
from jobs.esmm.input.schema import CLICK, CONVERSION, SCHEMA_FILE, Schema
from jobs.esmm.options import TRUTH_FILE, SampleSettings
from jobs.esmm.sample.hidden import FEATURES, Columns, HiddenModel, Truth
from jobs.folders import replace_whole_folder
from jobs.tfrecord import encode_rows

EVAL_TRUTH_FILE = "eval-truth.npy"
SPLITS = ("train", "eval")
_ROWS_AT_ONCE = 16_384


def generate(folder: Path, settings: SampleSettings, *, advance: Callable[[int], None]) -> None:
    """Writes sample data into ``folder``, which is replaced as a whole; ``advance`` is told of examples written.

    Nothing is left where it is interrupted.
    """
    with replace_whole_folder(folder) as unfinished:
        model = HiddenModel(settings.seed, ctr=settings.ctr, cvr=settings.cvr)
        (unfinished / SCHEMA_FILE).write_text(_json_text(Schema(features=FEATURES).to_json()), "utf-8")
        _write_split(unfinished, "train", model, settings, advance)
        columns, truth = _write_split(unfinished, "eval", model, settings, advance)
        np.save(unfinished / EVAL_TRUTH_FILE, np.stack([truth.pctr, truth.pcvr], axis=1))
        (unfinished / TRUTH_FILE).write_text(_json_text(_describe(settings, columns, truth)), "utf-8")


def _write_split(
    folder: Path, split: str, model: HiddenModel, settings: SampleSettings, advance: Callable[[int], None]
) -> tuple[Columns, Truth]:
    """Writes the files of a split; returns its examples, in order, with their truth."""
    examples, files = (
        (settings.train_examples, settings.train_files)
        if split == "train"
        else (settings.eval_examples, settings.eval_files)
    )
    (folder / split).mkdir()
    parts: list[tuple[Columns, Truth]] = []
    for number, count in enumerate(_even_parts(examples, files)):
        rng = np.random.default_rng([settings.seed, 1 + SPLITS.index(split), number])
        columns, truth = _draw(model, rng, count)
        file = folder / split / f"part-{number:05d}.tfrecord"
        _write_file(file, columns, row_groups=settings.row_groups, advance=advance)
        parts.append((columns, truth))
    return _concatenate(parts)


def _write_file(file: Path, columns: Columns, *, row_groups: bool, advance: Callable[[int], None]) -> None:
    count = len(columns[CLICK])
    starts = range(0, count, _ROWS_AT_ONCE)
    parts = ({name: column[i : i + _ROWS_AT_ONCE] for name, column in columns.items()} for i in starts)
    if row_groups:
        from launcher.estimator.streaming.formats.row_groups import spec_of_arrays
        from launcher.estimator.streaming.tools.convert import write_groups

        write_groups(str(file), parts, spec_of_arrays(columns))
        advance(count)
        return
    with file.open("wb") as out:
        for rows in parts:
            out.write(encode_rows(rows))
            advance(len(rows[CLICK]))


def _draw(model: HiddenModel, rng: np.random.Generator, count: int) -> tuple[Columns, Truth]:
    """Impressions, with clicks and conversions drawn from their true probabilities."""
    impressions = model.draw_impressions(rng, count)
    truth = model.truth(impressions)
    click = rng.random(count) < truth.pctr
    conversion = click & (rng.random(count) < truth.pcvr)
    return impressions | {CLICK: click.astype(np.int64), CONVERSION: conversion.astype(np.int64)}, truth


def _describe(settings: SampleSettings, columns: Columns, truth: Truth) -> dict[str, object]:
    """What ``truth.json`` says. Every figure is of the eval split and rounded only for its reader."""
    click, conversion = columns[CLICK], columns[CONVERSION]
    clicked = click == 1
    best = {
        "ctr_auc": exact_auc(click, truth.pctr),
        "cvr_auc": exact_auc(conversion[clicked], truth.pcvr[clicked]),
        "cvr_auc_all_impressions": exact_auc(truth.pcvr, truth.pcvr),
        "ctcvr_auc": exact_auc(conversion, truth.pctcvr),
    }
    rates = {"ctr": click.mean(), "cvr": conversion[clicked].mean(), "ctcvr": conversion.mean()}
    return {
        "settings": asdict(settings),
        "rates": {name: round(float(rate), 6) for name, rate in rates.items()},
        "best": {name: None if np.isnan(auc) else round(auc, 6) for name, auc in best.items()},
    }


def _even_parts(total: int, parts: int) -> Iterator[int]:
    return (total * (i + 1) // parts - total * i // parts for i in range(parts))


def _concatenate(parts: list[tuple[Columns, Truth]]) -> tuple[Columns, Truth]:
    columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    pctr, pcvr = (np.concatenate([getattr(truth, name) for _, truth in parts]) for name in ("pctr", "pcvr"))
    return columns, Truth(pctr=pctr, pcvr=pcvr)


def _json_text(value: object) -> str:
    return json.dumps(value, indent=1) + os.linesep
