"""Small files in the layouts of the data sets, written in the plainest way."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

Entry = tuple[str, int, float]
"""Field, id, value."""


def features(entries: Iterable[Entry]) -> str:
    return "\x01".join(f"{field}\x02{number}\x03{value}" for field, number, value in entries)


def skeleton_line(sample: int, click: int, conversion: int, index: str, entries: Sequence[Entry]) -> str:
    return f"{sample},{click},{conversion},{index},{len(entries)},{features(entries)}"


def common_line(index: str, entries: Sequence[Entry]) -> str:
    return f"{index},{len(entries)},{features(entries)}"


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_ali_ccp(folder: Path, *, rows: int, seed: int = 0) -> Path:
    """Train and test files: users with ages and histories, items whose category says how likely a click is."""
    rng = random.Random(seed)
    for split, count in (("train", rows), ("test", rows // 4)):
        common, skeleton = [], []
        for number in range(0, count, 5):
            index = f"{rng.getrandbits(64):016x}"
            history = [("109_14", 4_000_000 + rng.randrange(50), round(rng.random() * 3, 5)) for _ in range(5)]
            common.append(
                common_line(index, [("101", 9_000_000 + number, 1.0), ("121", 3_438_600 + number % 7, 1.0), *history])
            )
            for sample in range(number, number + 5):
                category = rng.randrange(8)
                click = int(rng.random() < 0.1 + 0.1 * category)
                conversion = int(click and rng.random() < 0.3)
                item = [
                    ("205", 5_000_000 + rng.randrange(200), 1.0),
                    ("206", 6_000_000 + category, 1.0),
                    ("508", 7, 0.6931),
                ]
                skeleton.append(skeleton_line(sample, click, conversion, index, item))
        write_lines(folder / f"sample_{split}" / f"common_features_{split}.csv", common)
        write_lines(folder / f"sample_{split}" / f"sample_skeleton_{split}.csv", skeleton)
    return folder


def criteo_line(label: int, integers: Sequence[int | None], categories: Sequence[str]) -> str:
    return "\t".join([str(label), *("" if value is None else str(value) for value in integers), *categories])


def criteo_lines(rows: int, seed: int = 0) -> list[str]:
    """Fields are missing here and there."""
    rng = random.Random(seed)
    return [
        criteo_line(
            rng.randrange(2),
            [None if rng.random() < 0.2 else rng.randrange(-2, 5000) for _ in range(13)],
            ["" if rng.random() < 0.2 else f"{rng.getrandbits(32):08x}" for _ in range(26)],
        )
        for _ in range(rows)
    ]
