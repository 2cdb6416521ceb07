"""When to stop: tables of evaluations in, a verdict out."""

from __future__ import annotations

import math

import pytest

from launcher.estimator.training.stopping import Aim, Evaluation, Patience, Threshold, UnknownMetricError


def evaluations(**values: float) -> list[Evaluation]:
    return [Evaluation(step=int(step[1:]), metrics={"auc": value, "loss": 1.0}) for step, value in values.items()]


def patience(max_steps: int = 100, **more: object) -> Patience:
    return Patience(**{"metric": "auc", "aim": Aim.INCREASE, "max_steps": max_steps, **more})  # type: ignore[arg-type]


def test_goes_on_while_it_rises() -> None:
    assert patience().verdict([]) is None
    assert patience().verdict(evaluations(s100=0.5, s200=0.6, s900=0.7)) is None


def test_stops_when_it_has_not_risen_for_that_many_steps() -> None:
    assert patience().verdict(evaluations(s100=0.6, s150=0.6, s199=0.5)) is None
    assert patience().verdict(evaluations(s100=0.6, s150=0.6, s200=0.5)) == (
        "no increase of auc for 100 steps: 0.6 at step 100, 0.5 at step 200"
    )
    assert patience().verdict(evaluations(s200=0.5, s100=0.6)), "the order of events is not that of steps"


def test_a_rise_that_is_too_small_is_none() -> None:
    rising = evaluations(s100=0.600, s200=0.605, s300=0.611)
    assert patience(min_change=0.001).verdict(rising) is None
    assert patience(min_change=0.01).verdict(rising) is not None
    assert patience(max_steps=150, min_change=0.01).verdict(rising) is None


def test_what_was_before_min_steps_counts_for_nothing() -> None:
    falling = evaluations(s100=0.9, s250=0.5, s400=0.6)
    assert patience().verdict(falling) is not None
    assert patience(min_steps=200).verdict(falling) is None


def test_a_metric_that_should_fall() -> None:
    rule = patience(aim=Aim.DECREASE)
    assert rule.verdict(evaluations(s100=0.5, s200=0.4, s300=0.3)) is None
    assert rule.verdict(evaluations(s100=0.5, s200=0.6)) == (
        "no decrease of auc for 100 steps: 0.5 at step 100, 0.6 at step 200"
    )


def test_what_is_no_number_is_no_rise_and_no_best() -> None:
    assert patience().verdict(evaluations(s100=math.nan, s200=0.5, s250=0.4)) is None
    assert patience().verdict(evaluations(s100=0.5, s200=math.nan)) is not None


def test_a_threshold() -> None:
    rule = Threshold(metric="auc", aim=Aim.INCREASE, threshold=0.8, min_steps=200)
    assert rule.verdict(evaluations(s100=0.9, s200=0.8)) is None
    assert rule.verdict(evaluations(s100=0.9, s300=0.81)) == "auc is 0.81 at step 300, higher than 0.8"
    assert Threshold(metric="loss", aim=Aim.DECREASE, threshold=2.0).verdict(evaluations(s1=0.1)) is not None


def test_a_misspelt_metric_fails_at_the_first_evaluation_with_the_names() -> None:
    rule = patience(metric="ctr_aux", min_steps=10**9)
    assert rule.verdict([]) is None
    first = [Evaluation(step=1, metrics={"ctr_auc": 0.5, "loss": 1.0, "cvr_auc": 0.5})]
    with pytest.raises(UnknownMetricError) as caught:
        rule.verdict(first)
    assert str(caught.value) == (
        "early stopping watches 'ctr_aux', which is no metric of the evaluation; did you mean ctr_auc? there are "
        "ctr_auc, cvr_auc, loss"
    )


@pytest.mark.parametrize("wrong", [{"max_steps": 0}, {"min_steps": -1}, {"min_change": -0.1}, {"min_change": math.nan}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="early stopping needs max_steps of 1 or more"):
        patience(**wrong)  # type: ignore[arg-type]
