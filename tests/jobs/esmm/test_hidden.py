"""That the sample data is worth training on: there is something to learn, and an additive model cannot learn it."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.auc import exact_auc
from jobs.esmm.sample.hidden import FEATURES, Columns, HiddenModel, Truth
from tests.jobs.esmm.logistic import LogisticRegression


def drawn(model: HiddenModel, count: int, seed: int) -> tuple[Columns, Truth, np.ndarray]:
    rng = np.random.default_rng(seed)
    impressions = model.draw_impressions(rng, count)
    truth = model.truth(impressions)
    return impressions, truth, (rng.random(count) < truth.pctr).astype(np.float64)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_interactions_are_worth_more_than_an_additive_model_can_get(seed: int) -> None:
    model = HiddenModel(seed)
    train, _, clicks = drawn(model, 300_000, seed=10)
    held_out, truth, held_out_clicks = drawn(model, 60_000, seed=11)
    best = exact_auc(held_out_clicks, truth.pctr)
    regression = LogisticRegression({feature.name: feature.ids for feature in FEATURES})
    regression.fit(train, clicks)
    additive = exact_auc(held_out_clicks, regression.logit(held_out))
    assert best >= 0.75
    assert 0.6 < additive <= best - 0.03


def test_clicked_impressions_are_a_biased_sample_for_conversions() -> None:
    _, truth, clicks = drawn(HiddenModel(0), 50_000, seed=1)
    assert truth.pcvr[clicks == 1].mean() > 1.1 * truth.pcvr.mean()


def test_ids_are_those_of_the_schema() -> None:
    impressions, _, _ = drawn(HiddenModel(0), 50_000, seed=1)
    assert {name: (column.min(), column.max()) for name, column in impressions.items()} == {
        feature.name: (0, feature.ids - 1) for feature in FEATURES
    }
