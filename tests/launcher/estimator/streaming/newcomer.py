"""The file that a newcomer brings: gaps, Chinese text, quoted commas, empty texts, ids up to 2**64 - 1.

python -m tests.launcher.estimator.streaming.newcomer FOLDER ROWS
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
CITIES = ("北京", "上海", "São Paulo", "", 'quoted, "so"', "New\tYork")


def rows(count: int, seed: int = 0) -> list[Row]:
    dice = random.Random(seed)
    return [_row(dice, number) for number in range(count)]


def _row(dice: random.Random, number: int) -> Row:
    user, city, age = dice.getrandbits(64), dice.choice(CITIES), dice.choice([None, *range(18, 80)])
    click = dice.random() < (0.6 if city == "北京" else 0.2)
    price = None if number % 7 == 0 else dice.randrange(10_000) / 4
    return {
        "user": 2**64 - 1 if number == 5 else user,
        "city": city,
        "age": age,
        "price": price,
        "title": f"标题 {number % 1000}, 第二",
        "click": int(click),
    }


def write(folder: Path, found: list[Row]) -> tuple[Path, Path]:
    """``folder/csv/part.csv.gz`` and its twin ``folder/parquet/part.parquet``."""
    for name in ("csv", "parquet"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, found[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    as_csv, as_parquet = folder / "csv" / "part.csv.gz", folder / "parquet" / "part.parquet"
    as_csv.write_bytes(gzip.compress(text.getvalue().encode(), 1))
    types = {"user": pa.uint64()}
    columns = {name: pa.array([row[name] for row in found], types.get(name)) for name in found[0]}
    pq.write_table(pa.table(columns), as_parquet)
    return as_csv, as_parquet


if __name__ == "__main__":
    write(Path(sys.argv[1]) / "train", rows(int(sys.argv[2])))
    write(Path(sys.argv[1]) / "eval", rows(max(1, int(sys.argv[2]) // 10), seed=1))
