"""The hidden model that sample data is drawn from, so that the best reachable AUC is known exactly.

Users and items meet in products of hidden factors, which no additive model of the same ids can express. What makes
a user click also makes him convert, so clicks are a biased sample of impressions: the case ESMM was made for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.esmm.input.schema import Feature

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Columns = dict[str, Ids]

FEATURES = (
    Feature(name="user_id", ids=400),
    Feature(name="user_age", ids=8),
    Feature(name="user_city", ids=40),
    Feature(name="item_id", ids=200),
    Feature(name="item_category", ids=16),
    Feature(name="hour", ids=24),
    Feature(name="device", ids=4),
    Feature(name="position", ids=8),
)
FACTOR_MEAN = 0.7
"""Away from zero, so that a factor already shows in the averages of its user or item. With factors around zero,
gradient descent needs minutes of a plateau to find them."""
CTR_LOGIT_MEAN, CTR_LOGIT_SPREAD = -1.6, 1.5
CVR_LOGIT_MEAN, CVR_LOGIT_SPREAD = -2.0, 1.2
_REFERENCE_IMPRESSIONS = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """Probabilities of impressions, float64[impressions] each; ``pcvr`` is that of a conversion after a click."""

    pctr: Floats
    pcvr: Floats

    @property
    def pctcvr(self) -> Floats:
        return self.pctr * self.pcvr


class HiddenModel:
    """Draws impressions and knows their probabilities. The same seed makes the same model."""

    def __init__(self, seed: int, *, ctr: float | None = None, cvr: float | None = None) -> None:
        """``ctr``, ``cvr``: the mean rates of clicks, and of conversions of those who click; None: as they come."""
        rng = np.random.default_rng([seed, 0])
        self._ids = {feature.name: feature.ids for feature in FEATURES}
        self._age_of_user = rng.integers(0, self._ids["user_age"], self._ids["user_id"])
        self._city_of_user = rng.integers(0, self._ids["user_city"], self._ids["user_id"])
        self._category_of_item = rng.integers(0, self._ids["item_category"], self._ids["item_id"])
        self._main = {name: rng.standard_normal((ids, 2)) for name, ids in self._ids.items()}
        self._taste = FACTOR_MEAN + rng.standard_normal(self._ids["user_id"])
        self._appeal = FACTOR_MEAN + rng.standard_normal(self._ids["item_id"])
        self._need = FACTOR_MEAN + rng.standard_normal(self._ids["user_city"])
        self._offer = FACTOR_MEAN + rng.standard_normal(self._ids["item_category"])
        self._hour_device = rng.standard_normal((self._ids["hour"], self._ids["device"]))
        scores = self._scores(self.draw_impressions(rng, _REFERENCE_IMPRESSIONS))
        self._centre, self._scale = scores.mean(axis=0), scores.std(axis=0)
        standard = (scores - self._centre) / self._scale
        every = np.ones(len(scores))
        self._ctr_mean = _logit_mean(CTR_LOGIT_MEAN, CTR_LOGIT_SPREAD * standard[:, 0], ctr, every)
        clicked = _sigmoid(self._ctr_mean + CTR_LOGIT_SPREAD * standard[:, 0])
        self._cvr_mean = _logit_mean(CVR_LOGIT_MEAN, CVR_LOGIT_SPREAD * standard[:, 1], cvr, clicked)

    def draw_impressions(self, rng: np.random.Generator, count: int) -> Columns:
        """``count`` impressions, int64 ids by feature; low item ids are the popular ones."""
        user = rng.integers(0, self._ids["user_id"], count)
        item = (self._ids["item_id"] * rng.random(count) ** 1.5).astype(np.int64)
        return {
            "user_id": user,
            "user_age": self._age_of_user[user],
            "user_city": self._city_of_user[user],
            "item_id": item,
            "item_category": self._category_of_item[item],
            **{name: rng.integers(0, self._ids[name], count) for name in ("hour", "device", "position")},
        }

    def truth(self, impressions: Columns) -> Truth:
        """The probabilities that clicks and conversions are to be drawn with."""
        score = (self._scores(impressions) - self._centre) / self._scale
        return Truth(
            pctr=_sigmoid(self._ctr_mean + CTR_LOGIT_SPREAD * score[:, 0]),
            pcvr=_sigmoid(self._cvr_mean + CVR_LOGIT_SPREAD * score[:, 1]),
        )

    def _scores(self, x: Columns) -> Floats:
        """float64[impressions, 2]: raw scores of click and conversion."""
        main = {name: table[x[name]] for name, table in self._main.items()}
        match = self._taste[x["user_id"]] * self._appeal[x["item_id"]]
        need = self._need[x["user_city"]] * self._offer[x["item_category"]]
        click = (
            match
            + 0.6 * self._hour_device[x["hour"], x["device"]]
            + 0.5 * (main["user_id"] + main["item_id"] + main["position"] + main["user_age"])[:, 0]
        )
        convert = (
            0.5 * match
            + 0.7 * need
            + 0.5 * (main["user_city"] + main["item_category"] + main["user_age"] + main["device"])[:, 1]
        )
        return np.stack([click, convert], axis=1)


def _logit_mean(usual: float, spread: Floats, rate: float | None, weight: Floats) -> float:
    """The mean logit with which probabilities have the weighted mean ``rate``: by halving, since they rise with it."""
    if rate is None:
        return usual
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        is_low = np.average(_sigmoid(middle + spread), weights=weight) < rate
        low, high = (middle, high) if is_low else (low, middle)
    return low


def _sigmoid(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))
