"""The example of jobs/README.md: what is shown is what runs, and it trains a cluster."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.e2e.running import tflaunch

ROOT = Path(__file__).parents[2]
PATIENCE = ("--patience-steps", "300", "--save-secs", "1")
CITIES = ("Rome", "Oslo", "Lima", "Bonn")


def write_clicks(folder: Path, *, rows: int, seed: int) -> None:
    """Clicks that depend on a cross of city and hour, which neither tells alone, and on the price."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(4):
        lines = ["city,hour,price,label"]
        for _ in range(rows // 4):
            city, hour, price = rng.randrange(4), rng.randrange(24), rng.random() * 100
            rate = 0.1 + 0.5 * ((city + hour) % 2) + 0.3 * (price < 30)
            lines.append(f"{CITIES[city]},{hour},{price:.2f},{int(rng.random() < rate)}")
        (folder / f"{number}.csv").write_text("\n".join(lines) + "\n")


def test_the_readme_shows_the_file_in_sixty_lines() -> None:
    code = (ROOT / "jobs" / "wide_deep.py").read_text()
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "jobs" / "README.md").read_text(), re.DOTALL)
    assert shown == code
    assert len([line for line in code.splitlines() if line]) <= 60


@pytest.mark.tensorflow
@pytest.mark.e2e
def test_it_trains_a_cluster_stops_early_and_exports_the_best(tmp_path: Path) -> None:
    import tensorflow as tf

    write_clicks(tmp_path / "data" / "train", rows=8000, seed=1)
    write_clicks(tmp_path / "data" / "eval", rows=2000, seed=2)
    job = ("python", "-m", "jobs.wide_deep", "--data", str(tmp_path / "data"), "--cross", "city", "hour")
    roles = ("--workers", "1", "--ps", "1")
    done = tflaunch(
        *("local", *roles, "--run-dir", "run", "--plain", "--", *job, "--patience-steps", "300", "--save-secs", "1"),
        cwd=tmp_path,
    )
    assert done.code == 0, done.stdout + done.stderr
    assert done.report is not None and done.report["outcome"] == "succeeded"
    reason = "early stopping: no increase of label_auc for "
    assert f"training ends: {reason}" in done.stdout
    assert re.search(f"^  ended +{reason}", done.stdout, re.M)
    assert done.report["input"]["skipped"] == 0 and done.report["input"]["examples"] > 8000
    assert done.report["metrics"]["label_auc"] > 0.75
    best = tf.saved_model.load(str(done.run_dir / "model" / "export" / "best" / "current"))
    rows = {"city": tf.constant(["Rome", "Rome"]), "hour": tf.constant([0, 1], tf.int64)}
    told = best.signatures["serving_default"](**rows, price=tf.constant([50.0, 50.0]))["probability"].numpy()
    assert told[0] < 0.3 < told[1], told
