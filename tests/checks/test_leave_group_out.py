"""Predictive densities of groups that are left out."""

import arviz as az
import numpy as np
import pytest

import pmlmm
from pmlmm.errors import OptionError
from pmlmm.kernels.coordinates import unvech
from tests.oracles import dense
from tests.problems import KINDS, ROWS, table_of

FORMULA = "Reaction ~ Days + (Days | Subject)"
BAD_K = "ignore:Estimated shape parameter of Pareto distribution:UserWarning"


def test_left_out_groups_are_exact_given_sigma_and_Sigma(sleepstudy):
    """log p(y_g | y_-g, theta) as a difference of two marginal likelihoods of the same model."""
    prior = {"Intercept": pmlmm.Ridge(1e-4), "sigma": pmlmm.HalfStudentT(4, 50.0), "common": pmlmm.Ridge(1.0)}
    prior["Subject"] = pmlmm.InverseWishart(b=0.5, A=[[600.0, 0.0], [0.0, 40.0]])
    table = sleepstudy.iloc[: 6 * 10].drop(index=[3, 4, 17])  # groups of different sizes
    model = pmlmm.Model(FORMULA, table, prior, standardize=False)
    fit = model.fit(draws=200)
    from pmlmm.checks.leave_group_out import group_densities, row_batches
    from pmlmm.crossproducts.statistics import build_statistics

    statistics = build_statistics(
        model.design, model.priors, model.statistics.standardization, method="groups", factor="Subject"
    )
    law = fit._posterior.weighted.take(np.array([0, 5, 9]))
    values = group_densities(law, statistics, list(row_batches(model.design, statistics, "Subject")), 6)
    for g, subject in enumerate(table["Subject"].unique()):
        rest = pmlmm.Model(FORMULA, table[table["Subject"] != subject], prior, standardize=False).fit(refine=False)
        draws = fit.posterior["posterior"].to_dataset().isel(chain=[0], draw=[0, 1, 2]).copy(deep=True)
        draws["sigma"][0] = law.natural[:, 0]
        draws["Sigma_Subject"][0] = unvech(law.natural[:, 1:], 2)
        expected = fit.marginal_log_likelihood(draws) - rest.marginal_log_likelihood(draws)
        np.testing.assert_allclose(values[:, g], expected[0], rtol=1e-8)


@pytest.mark.filterwarnings(BAD_K)
def test_left_out_groups_rank_models(sleep_fit, sleepstudy, integrated):
    slopes = sleep_fit.logo()
    intercepts = pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy).fit().logo("Subject")
    table = az.compare({"slopes": slopes, "intercepts": intercepts})
    assert list(table.index) == ["slopes", "intercepts"]
    assert slopes.n_data_points == 18
    assert integrated.logo().elpd == pytest.approx(slopes.elpd, abs=6.0)
    with pytest.raises(OptionError, match="'Days'"):
        sleep_fit.logo("Days")


@pytest.mark.parametrize(("name", "flat"), [("crossed", ["x"]), ("p > n, crossed", []), ("nested, several terms", [])])
def test_left_out_groups_against_dense_algebra(name, flat, monkeypatch):
    """log p(y_g | y_-g, theta) as the difference of two dense marginal likelihoods."""
    monkeypatch.setattr("pmlmm.checks.leave_group_out._BATCH", 2000)  # several batches
    from pmlmm.checks.leave_group_out import group_densities, row_batches
    from pmlmm.crossproducts.statistics import build_statistics

    formula, sizes, priors = KINDS[name]
    data, rng = table_of(3)
    penalized = {f"w{k}": rng.normal(size=(ROWS, p)) for k, p in enumerate(sizes)}
    priors = priors | {column: pmlmm.Flat() for column in flat} | {"Intercept": pmlmm.Ridge(0.1)}
    fit = pmlmm.Model(formula, data, priors, penalized=penalized or None).fit(draws=200)
    model, law = fit.model, fit._posterior.weighted.take(np.array([3, 8]))
    design, standard = model.design, model.statistics.standardization
    for factor in ("a", "b" if "b" in formula else "a:c"):
        statistics = build_statistics(design, model.priors, standard, method="groups", factor=factor)
        grouping = next(g for g in design.groupings if g.factor == factor)
        batches = list(row_batches(design, statistics, factor))
        values = group_densities(law, statistics, batches, grouping.n_groups)
        lambdas = np.broadcast_to(law.log_lambda, (2, len(model.priors.penalty_groups)))
        for s, theta in enumerate(law.natural):
            everything = dense(model, np.concatenate([theta, lambdas[s]]))
            for g in range(grouping.n_groups):
                rest = everything.rows(grouping.codes != g)
                assert values[s, g] == pytest.approx(everything.marginal() - rest.marginal(), abs=1e-8)


def test_a_group_that_alone_informs_a_flat_coefficient_cannot_be_left_out():
    data, _ = table_of(1)
    data["only"] = (data["a"] == 3) * np.arange(ROWS) / ROWS
    fit = pmlmm.Model("y ~ x + only + (1 | a)", data, {"only": pmlmm.Flat()}).fit()
    with pytest.raises(pmlmm.errors.DataError, match="Without a 3 nothing is known about the coefficient of 'only'"):
        fit.logo()
