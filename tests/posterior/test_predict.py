"""Predictions for rows of the data and for new ones."""

import numpy as np
import pytest

import pmlmm


def test_predictions(sleep_fit, sleepstudy):
    fitted = sleep_fit.predict()
    assert np.corrcoef(fitted, sleepstudy["Reaction"])[0, 1] > 0.88
    np.testing.assert_allclose(sleep_fit.predict(sleepstudy.iloc[20:25]), fitted[20:25])
    new = sleepstudy.iloc[:2].assign(Subject=[999, 308])
    with pytest.raises(pmlmm.errors.DataError, match=r"1 groups that the fit has not seen \(first: 999\)"):
        sleep_fit.predict(new)
    population = sleep_fit.predict(new, new_groups="population")
    assert population[0] == pytest.approx(float(sleep_fit.mean["beta"][0]))
    assert population[1] == pytest.approx(fitted[1])
    assert np.isnan(sleep_fit.predict(new.assign(Days=[np.nan, 1]), new_groups="population")[0])


def test_new_levels_and_context_in_predictions(sleepstudy):
    table = sleepstudy.assign(c=np.where(sleepstudy["Days"] > 4, "late", "early"))
    fit = pmlmm.Model("Reaction ~ c + f(Days) + (1 | Subject)", table, context={"f": np.sqrt}).fit(draws=200)
    np.testing.assert_allclose(fit.predict(table), fit.predict())
    with pytest.raises(pmlmm.errors.DataError, match="on the new data"):
        fit.predict(table.assign(c="never"))
    assert np.isnan(fit.predict(table.head(1).assign(Days=np.nan))).all()


def test_predictions_for_new_combinations(crossed, crossed_fit):
    fit = crossed_fit
    np.testing.assert_allclose(fit.predict(crossed), fit.predict())
    new = crossed.head(3).assign(c=[0, 7, 1])
    with pytest.raises(pmlmm.DataError, match=r"'b:c' has 1 groups.*first: 1:7"):
        fit.predict(new)
    population = fit.predict(new, new_groups="population")
    known = new.assign(c=crossed["c"].head(3))
    gamma = fit.mean["gamma_b:c"].sel({"b:c": f"{known['b'][1]}:{known['c'][1]}"})
    assert population[1] == pytest.approx(fit.predict(known)[1] - float(gamma[0]))


def test_predictions_need_the_same_columns(table, block):
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": block}).fit()
    one = table.head(1)
    assert fit.predict(one, penalized={"genes": block.head(1)}) == pytest.approx(fit.predict()[:1])
    with pytest.raises(pmlmm.DataError, match=r"predict\(data, penalized=\{'genes': ...\}\)"):
        fit.predict(one)
    with pytest.raises(pmlmm.DataError, match="columns of the fit, in their order: column 1 is 'g0', not 'g29'"):
        fit.predict(one, penalized={"genes": block.head(1).iloc[:, ::-1]})
    with pytest.raises(pmlmm.DataError, match=r"no wide block 'gene'.*Did you mean 'genes'"):
        fit.predict(one, penalized={"genes": block.head(1), "gene": block.head(1)})
    with pytest.raises(pmlmm.OptionError, match="needs data"):
        fit.predict(penalized={"genes": block})
