"""Precision weights and offsets: against lme4, dense algebra and replicated rows, and what a user meets on the way."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlmm
from pmlmm.checks.leave_group_out import group_densities, row_batches
from pmlmm.checks.predictive import group_log_likelihood
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.errors import DataError, FormulaError
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels import likelihood_at_draws as draws
from pmlmm.kernels.likelihood_compiled import flatten, unflatten, value_and_gradient
from pmlmm.posterior.draws import linear_predictor
from pmlmm.posterior.new_rows import fitted_rows, new_rows
from tests.oracles import dense, integrated_out
from tests.problems import DATA, KINDS, RANDOM_CASES, ROWS, Case, random_case, read, table_of

FLAT = pmlmm.Flat()
LME4 = json.loads((DATA / "lme4_weights.json").read_text())["fits"]
SLOPES = "Reaction ~ Days + (Days | Subject)"


# What a user does.


def bottles(seed=0, groups=30, tiny=1.0):
    """Measurements of very different exactness, in raw years, with a known part and gaps; and the true coefficients."""
    rng = np.random.default_rng(seed)
    n = 12 * groups
    table = pd.DataFrame({"year": rng.integers(2001, 2013, n), "lab": np.repeat(np.arange(groups), 12)})
    table["n_measured"] = rng.integers(1, 40, n)
    table["blank"] = rng.normal(50.0, 20.0, n)
    slopes = rng.normal(0.5, 0.3, groups)
    mean = 3.0 + rng.normal(size=groups)[table["lab"]] + slopes[table["lab"]] * (table["year"] - 2001)
    table["y"] = tiny * (mean + rng.normal(size=n) * 2.0 / np.sqrt(table["n_measured"]))
    table["blank"] *= tiny
    table["y"] += table["blank"]
    return table.sample(frac=1.0, random_state=seed).reset_index(drop=True), np.array([0.5, 2.0]) * tiny


@pytest.mark.parametrize("tiny", [pytest.param(1.0, marks=pytest.mark.slow), 1e-7])
def test_a_user_gets_the_truth_back(tiny):
    """Raw years, integer weights of 1 to 39, missing weights and offsets, any unit."""
    table, (slope, sigma) = bottles(tiny=tiny)
    table["n_measured"] = table["n_measured"].astype(float)
    table.loc[[3, 50], "n_measured"] = np.nan
    table.loc[7, "blank"] = np.nan
    fit = pmlmm.Model("y ~ year + (year | lab)", table, weights="n_measured", offset="blank").fit()
    assert "3 of 360 rows dropped for missing values (n_measured: 2, blank: 1)" in str(fit).replace("\n  ", " ")
    assert "sigma^2 / weight" in str(fit).replace("\n  ", " ")
    sd = fit.sd["beta"].to_numpy()[1]
    assert abs(fit.mean["beta"].to_numpy()[1] - slope) < 4 * sd < slope
    assert float(fit.mean["sigma"]) == pytest.approx(sigma, abs=4 * float(fit.sd["sigma"]))
    assert float(fit.sd["sigma"]) < 0.1 * sigma
    new = table.dropna().iloc[:5]
    less = fit.predict(new.assign(blank=0.0))["mean"]
    np.testing.assert_allclose(fit.predict(new)["mean"] - new["blank"], less, atol=1e-8 * tiny)


@pytest.mark.slow
def test_residuals_and_replicates_follow_the_weights():
    """Errors are judged after weighing: with the weights nothing is wrong, without them it is."""
    table, _ = bottles(3)
    formula = "y ~ year + (year | lab)"
    right = pmlmm.Model(formula, table, weights="n_measured", offset="blank").fit()
    wrong = pmlmm.Model(formula, table, offset="blank").fit()
    assert right.check_residuals().loc["tails", "p_value"] > 0.01 > wrong.check_residuals().loc["tails", "p_value"]
    assert right.log_evidence > wrong.log_evidence + 20.0
    replicated = right.sample_posterior_predictive(draws=500)["posterior_predictive"]["y"]
    noise = replicated.std(("chain", "draw")).to_numpy()
    expected = 2.0 / np.sqrt(table["n_measured"].to_numpy())
    assert np.corrcoef(noise, expected)[0, 1] > 0.9
    assert replicated.mean().item() == pytest.approx(table["y"].mean(), abs=0.5)


def test_prior_draws_have_the_offset(sleepstudy):
    """The same draws as without it, moved."""
    table = sleepstudy.assign(off=np.arange(180.0), less=sleepstudy["Reaction"] - np.arange(180.0))
    fits = [
        pmlmm.Model(f, table).fit(integrate=False)
        for f in (SLOPES + " + offset(off)", SLOPES.replace("Reaction", "less"))
    ]
    drawn = [f.sample_prior_predictive(draws=50)["prior_predictive"].to_dataset() for f in fits]
    moved = np.median(drawn[0]["Reaction"] - drawn[1]["less"], axis=(0, 1))
    np.testing.assert_allclose(moved, table["off"], atol=1e-6)


@pytest.mark.parametrize("how", ["names", "arrays", "Series", "formula", "polars"])
def test_every_way_to_give_them_is_one_model(sleepstudy, how):
    table = sleepstudy.assign(w=1.0 + np.arange(180) % 3, off=np.sqrt(sleepstudy["Days"]))
    expected = pmlmm.Model(SLOPES, table, weights="w", offset="off").design
    formula, data, options = SLOPES, table, {"weights": "w", "offset": "off"}
    if how == "arrays":
        options = {"weights": table["w"].tolist(), "offset": table["off"].to_numpy()}
    elif how == "Series":
        data = table.set_axis([f"r{i}" for i in range(180)])
        options = {"weights": data["w"], "offset": data["off"]}
    elif how == "formula":
        formula, options = "Reaction ~ offset(sqrt(Days)) + Days + (Days | Subject)", {"weights": "w"}
    elif how == "polars":
        import polars

        data = polars.from_pandas(table)
        options["weights"] = data["w"]
    model = pmlmm.Model(formula, data, **options)
    np.testing.assert_array_equal(model.design.weights, expected.weights)
    np.testing.assert_allclose(model.design.offset, expected.offset)
    assert model.design.coefficients == expected.coefficients
    assert "precision weights" in repr(model)
    assert "offset" in repr(model)


def test_offsets_add_up_and_remember_the_rows_of_the_fit(sleepstudy):
    table = sleepstudy.assign(off=np.arange(180.0))
    formula = "Reaction ~ Days + offset(center(Days) * 10) + offset(off) + (1 | Subject)"
    design = pmlmm.Model(formula, table, offset="off").design
    np.testing.assert_allclose(design.offset, 10 * (table["Days"] - 4.5) + 2 * table["off"])
    rows = new_rows(design, table.iloc[:4], None, unseen=False)
    np.testing.assert_allclose(rows.offset, design.offset[:4])


MISTAKES = [
    ({"weights": "wieght"}, "'wieght' is not a column of the data. Did you mean 'weight'"),
    ({"weights": "zero"}, r"Weights must be positive.*1 are not \(first: row 5 has 0\). Drop rows"),
    ({"weights": "negative"}, r"first: row 2 has -1"),
    ({"weights": "infinite"}, "'infinite' is infinite"),
    ({"weights": "g"}, "'g' is not numeric"),
    ({"weights": [1.0, 2.0]}, r"weights= has the shape \(2,\), the data have 20 rows"),
    ({"weights": 2.0}, r"weights= has the shape \(\)"),
    ({"offset": ["a"] * 20}, "offset= is a list; give the name of a column"),
    ({"offset": pd.Series(np.zeros(20), index=range(1, 21))}, "labels are not those of the data"),
    ({"offset": "none"}, "Column 'none' has no value"),
    ({"offset": "y"}, "'y' less its offset is 0 in all 20 rows"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_are_named(table, options, message):
    table["g"] = table["g"].map("abcd".__getitem__)
    table = table.assign(weight=1.0, none=np.nan, infinite=np.inf)
    table["zero"] = np.where(table.index == 5, 0, 1)
    table["negative"] = np.where(table.index == 2, -1, 1)
    with pytest.raises(DataError, match=message):
        pmlmm.Model("y ~ x + (1 | g)", table, **options)


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("y ~ x - offset(w) + (1 | g)", FormulaError, r"\+ offset\(-\(w\)\)"),
        ("y ~ x:offset(w) + (1 | g)", FormulaError, "An offset is a term by itself"),
        ("y ~ x + offset(nothing) + (1 | g)", FormulaError, "'nothing'.*not a column"),
        ("y ~ x + offset(C(g)) + (1 | g)", DataError, r"offset\(C\(g\)\) must be one column of numbers"),
        ("y | weights(w) ~ x + (1 | g)", FormulaError, "weights='w'"),
    ],
)
def test_formulas_that_are_no_offset(table, formula, error, message):
    with pytest.raises(error, match=message):
        pmlmm.Model(formula, table.assign(w=1.0 + np.arange(20)))


def test_new_rows_need_their_offset_and_may_have_weights(sleepstudy):
    table = sleepstudy.assign(w=1.0 + np.arange(180) % 3, off=np.arange(180.0))
    design = pmlmm.Model(SLOPES, table, weights="w", offset="off").design
    rows = new_rows(design, table.iloc[:3], None, unseen=False)
    np.testing.assert_allclose(rows.noise_sd, 1 / np.sqrt([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(fitted_rows(design).noise_sd[:3], rows.noise_sd)
    assert new_rows(design, table.drop(columns="w"), None, unseen=False).noise_sd == 1.0
    with pytest.raises(DataError, match="no column 'off'"):
        new_rows(design, table.drop(columns="off"), None, unseen=False)
    gaps = table.iloc[:3].assign(w=[1.0, np.nan, 4.0], off=[0.0, 1.0, np.nan])
    rows = new_rows(design, gaps, None, unseen=False)
    np.testing.assert_allclose(rows.noise_sd, [1.0, np.nan])
    arrays = pmlmm.Model(SLOPES, table, offset=table["off"].to_numpy()).design
    with pytest.raises(DataError, match=r"was an array.*make it a column"):
        new_rows(arrays, table, None, unseen=False)


def test_predictions_have_the_offset_and_the_noise_of_their_weights(sleepstudy, monkeypatch):
    """Of the fit's rows and new ones, from draws and from moments; a row of unknown weight has no new observation."""
    table = sleepstudy.assign(w=np.where(np.arange(180) % 2, 9.0, 1.0), off=np.arange(180.0))
    fit = pmlmm.Model(SLOPES, table, weights="w", offset="off").fit(integrate=False)
    mean, response = fit.predict(), fit.predict(kind="response")
    noise = response["sd"] ** 2 - mean["sd"] ** 2
    np.testing.assert_allclose(noise[0::2], noise[0])
    np.testing.assert_allclose(noise[1::2], noise[0] / 9)
    assert noise[0] == pytest.approx(float(fit.mean["sigma"]) ** 2, rel=0.02)
    width = response["upper"] - response["lower"]
    assert width[0] > 2.0 * width[1]
    zero = fit.predict(table.assign(off=0.0))
    np.testing.assert_allclose(mean["mean"] - zero["mean"], table["off"])
    np.testing.assert_allclose(mean["upper"] - zero["upper"], table["off"])
    drawn = fit.predict(kind="draws", draws=500)["predictions"]
    spread = (drawn["Reaction"] - drawn["mean"]).std(("chain", "draw")).to_numpy()
    assert np.mean(spread[0::2]) / np.mean(spread[1::2]) == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(
        drawn["mean"].mean(("chain", "draw")), mean["mean"], atol=6 * mean["sd"].max() / 2000**0.5
    )
    gap = table.iloc[:4].assign(w=[9.0, np.nan, 9.0, 9.0])
    new = fit.predict(gap, kind="response", groups="none")
    assert new["mean"].notna().all()
    assert new["sd"].isna().tolist() == [False, True, False, False]
    without = fit.predict(table.drop(columns="w"), kind="response")
    np.testing.assert_allclose(without["sd"] ** 2 - mean["sd"] ** 2, noise[0], rtol=0.02)
    monkeypatch.setattr("pmlmm.posterior.predict._FEW", 0)
    many = fit.predict(table, kind="response")
    np.testing.assert_allclose(many, response, rtol=0.02, atol=6.0)


def test_marginal_means_are_at_the_mean_of_the_offset(sleepstudy):
    table = sleepstudy.assign(off=np.arange(180.0), late=np.where(sleepstudy["Days"] > 4, "yes", "no"))
    fit = pmlmm.Model("Reaction ~ late + offset(off) + (1 | Subject)", table).fit(integrate=False)
    predicted = fit.predict(table.iloc[[0, 9]].assign(off=89.5), groups="none")["mean"]
    np.testing.assert_allclose(fit.means("late")["mean"], predicted, rtol=1e-9)


def test_draws_carry_them_and_other_weights_are_other_data(sleepstudy):
    table = sleepstudy.assign(w=1.0 + np.arange(180) % 3, off=np.arange(180.0))
    fit = pmlmm.Model(SLOPES, table, weights="w", offset="off").fit(integrate=False)
    constant = fit.posterior["constant_data"]
    np.testing.assert_array_equal(constant["weights"], table["w"])
    np.testing.assert_array_equal(constant["offset"], table["off"])
    plain = pmlmm.Model(SLOPES, table).fit(integrate=False)
    assert fit._posterior.data_fingerprint != plain._posterior.data_fingerprint


# Against lme4.


def lme4_table(name):
    """As lme4_weights.R makes weights and offset."""
    table = read(name)
    i = np.arange(1, len(table) + 1)
    if name == "sleepstudy":
        return table.assign(w=0.5 + i % 7, off=3.0 * table["Days"] ** 2 - 20.0)
    return table.assign(w=1 / (1 + i % 5), off=np.sin(i))


@pytest.mark.parametrize("expected", LME4, ids=lambda f: f"{f['dataset']}-{'REML' if f['REML'] else 'ML'}")
def test_flat_priors_give_lme4(expected):
    """To the digits of tests/test_references.py."""
    table = lme4_table(expected["dataset"])
    factors = list(expected["varcorr"])
    priors = dict.fromkeys([*factors, "sigma", "Intercept", *(["common"] if "Days" in table else [])], FLAT)
    model = pmlmm.Model(expected["formula"], table, priors, standardize=False, weights="w", offset="off")
    fit = model.fit("marginal" if expected["REML"] else "joint", coordinates="natural")
    assert fit.log_posterior == pytest.approx(expected["logLik"], rel=1e-9)
    assert float(fit.mode["sigma"]) == pytest.approx(expected["sigma"], rel=1e-5)
    np.testing.assert_allclose(fit.mode["beta"], np.atleast_1d(expected["fixef"]), rtol=1e-5)
    for factor in factors:
        theirs = np.atleast_2d(expected["varcorr"][factor])
        np.testing.assert_allclose(fit.mode[f"Sigma_{factor}"], theirs, rtol=1e-4, atol=1e-4 * theirs.max())
    design, mode = model.design, {str(k): v.to_numpy()[None] for k, v in fit.mode.data_vars.items()}
    fitted = linear_predictor(design, design.terms, mode["beta"], mode)[0]
    np.testing.assert_allclose(fitted[:12], expected["fitted"], rtol=1e-5)
    np.testing.assert_allclose(
        (mode["beta"] @ design.X.T)[0][:12] + design.offset[:12], expected["without_groups"], 1e-5
    )


# Against dense algebra.


def weighted_case(case, offset=True):
    """A random model once more, with weights over three orders of magnitude."""
    plain = random_case(*case)
    rng, design = np.random.default_rng(case[0] + 1), plain.model.design
    table = design.table.frame.assign(w=np.exp(2.0 * rng.normal(size=24)), off=3.0 * rng.normal(size=24))
    penalized = {block.name: block.matrix for block in design.wide}
    priors = {"x": FLAT, "t": pmlmm.Ridge()} if case[3] else None
    options = {"weights": "w", "offset": "off" if offset else None}
    return Case(pmlmm.Model(design.formula, table, priors, penalized=penalized, **options), plain.u)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(RANDOM_CASES)
def test_the_likelihood_is_the_dense_density_of_y(case):
    """Crossed, nested and wide; that of the kernels, of many draws, and the compiled one."""
    model, u = (weighted := weighted_case(case)).model, weighted.u
    data, oracle = model.statistics.crossproducts(), dense(model, u)
    assert likelihood.evaluate(u, data, profile=False, order=0).value == pytest.approx(oracle.marginal(), rel=1e-9)
    profile = likelihood.evaluate(u, model.statistics.crossproducts(True), profile=True, order=0).value
    assert profile == pytest.approx(oracle.profile(), rel=1e-9)
    d = data.parameters
    reduced = draws.reduce(u[None, :d], u[d:], data)
    assert draws.evaluate(reduced, u[d:], data, order=0).value[0] == pytest.approx(oracle.marginal(), rel=1e-9)
    flat = flatten(data)
    value, gradient = value_and_gradient(u, flat)
    assert value == pytest.approx(oracle.marginal(), rel=1e-9)
    expected = likelihood.evaluate(u, unflatten(flat), profile=False, order=1).gradient
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@settings(max_examples=8, deadline=None, derandomize=True)
@given(RANDOM_CASES)
def test_random_effects_given_the_rest_are_the_dense_ones(case):
    model, u = (weighted := weighted_case(case)).model, weighted.u
    from pmlmm.posterior.effects import Parameters

    d = model.statistics.crossproducts().parameters
    parameters = Parameters(u[None, :d], u[d:], model.design, model.statistics)
    gamma = parameters.used_gamma(parameters.effects().mean)
    oracle = dense(model, u)
    for k, term in enumerate(model.design.terms):
        np.testing.assert_allclose(gamma[f"gamma_{term.name}"].ravel(), oracle.effects(k)[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("terms", [("(1 | a/c)",), ("(1 + t | a)", "(1 | a:c)", "(0 + x | a:c)")])
def test_nested_factors_are_the_dense_density_too(terms):
    model, u = (weighted := weighted_case((4, terms, (7,), False))).model, weighted.u
    standard = model.statistics.standardization
    statistics = build_statistics(model.design, model.priors, standard, method="nested")
    assert statistics.elimination.within
    value = likelihood.evaluate(u, statistics.crossproducts(), profile=False, order=0).value
    assert value == pytest.approx(dense(model, u).marginal(), rel=1e-9)
    assert value_and_gradient(u, flatten(statistics.crossproducts()))[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "crossed",
        pytest.param("p > n, crossed", marks=pytest.mark.slow),
        pytest.param("nested, several terms", marks=pytest.mark.slow),
    ],
)
def test_groups_left_out_and_rows_given_the_effects_are_dense_too(name):
    formula, sizes, priors = KINDS[name]
    table, rng = table_of(3)
    table = table.assign(w=np.exp(rng.normal(size=ROWS)), off=rng.normal(size=ROWS))
    penalized = {f"w{k}": rng.normal(size=(ROWS, p)) for k, p in enumerate(sizes)}
    priors = priors | {"Intercept": pmlmm.Ridge(0.1)}
    model = pmlmm.Model(formula, table, priors, penalized=penalized or None, weights="w", offset="off")
    fit = model.fit(draws=200, integrate=False)
    law, design = fit._posterior.weighted.take(np.array([3, 8])), model.design
    standard = model.statistics.standardization
    statistics = build_statistics(design, model.priors, standard, method="groups", factor="a")
    codes = next(g for g in design.groupings if g.factor == "a").codes
    values = group_densities(law, statistics, list(row_batches(design, statistics, "a")), 8)
    lambdas = np.broadcast_to(law.log_lambda, (2, len(model.priors.penalty_groups)))
    for s, theta in enumerate(law.natural):
        everything = dense(model, np.concatenate([theta, lambdas[s]]))
        for g in range(8):
            rest = everything.rows(codes != g)
            assert values[s, g] == pytest.approx(everything.marginal() - rest.marginal(), abs=1e-7)


def test_log_likelihoods_by_row_and_by_group(sleepstudy):
    table = sleepstudy.assign(w=1.0 + np.arange(180) % 5, off=np.arange(180.0) / 9)
    fit = pmlmm.Model(SLOPES, table, weights="w", offset="off").fit(integrate=False)
    result = fit.sample_posterior_predictive(draws=100)
    last = result["posterior"].to_dataset().isel(chain=0, draw=0)
    values = {str(k): v.to_numpy()[None] for k, v in last.data_vars.items()}
    design, sigma = fit.model.design, float(last["sigma"])
    predictor = linear_predictor(design, design.terms, values["beta"], values)
    scaled = (table["Reaction"] - predictor[0]) * np.sqrt(table["w"]) / sigma
    expected = -0.5 * np.log(2 * np.pi * sigma**2 / table["w"]) - 0.5 * scaled**2
    np.testing.assert_allclose(result["log_likelihood"]["Reaction"][0, 0], expected, rtol=1e-9)
    by_group = group_log_likelihood(fit._posterior.problem, "Subject", values, predictor)[0]
    model, sizes = fit.model, design.sizes
    theta = np.concatenate([[sigma], coordinates.vech(values["Sigma_Subject"])[0]])
    oracle = dense(model, np.concatenate([theta, np.zeros(len(model.priors.penalty_groups))]))
    beta_used = np.linalg.solve(
        model.statistics.standardization.transform, values["beta"][0] - model.statistics.standardization.shift
    )
    assert sizes == (2,)
    assert by_group.sum() == pytest.approx(oracle.given_beta(beta_used[_order(model)]), rel=1e-9)


def _order(model):
    """Columns of X as the oracle has them: flat ones first, then those of the penalty groups."""
    groups = [list(g.columns) for g in model.priors.penalty_groups if g.block is None]
    return [j for part in (list(model.priors.flat_columns), *groups) for j in part]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
@pytest.mark.parametrize("sizes", [(), (30,)])
def test_the_full_graph_integrates_to_the_collapsed_one(sizes):
    """beta and gamma integrated out of the PyMC graph by a Gaussian identity; it shares no algebra with the kernels."""
    from pmlmm.graph.build import build_collapsed
    from tests.bench import parts_of

    model = weighted_case((5, ("(1 + t | a)", "(1 | b)"), sizes, False)).model
    problem, theta = parts_of(model)
    collapsed, _ = build_collapsed(problem, theta)
    full, point = model.graph(), collapsed.initial_point()
    integral = integrated_out(full.compile_logp(mode="FAST_COMPILE"), point, full.initial_point())
    assert integral == pytest.approx(float(collapsed.compile_logp(mode="FAST_COMPILE")(point)), abs=1e-5)


# What theory says.


def replicated(seed=0):
    """Replicates at the same x and group, and their means with the number of replicates as weight."""
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame({"g": np.repeat(np.arange(10), 4), "x": rng.normal(size=40), "k": rng.integers(1, 9, 40)})
    rows = cells.loc[cells.index.repeat(cells["k"])].rename_axis("cell").reset_index()
    rows["y"] = 2.0 + rows["x"] + rng.normal(size=10)[rows["g"]] + 0.5 * rng.normal(size=len(rows))
    return rows, rows.groupby("cell", as_index=False).agg(
        y=("y", "mean"), g=("g", "first"), x=("x", "first"), k=("k", "first")
    )


def test_means_of_replicates_say_what_the_replicates_say():
    """With sigma known they are sufficient: equal effects, and evidences that differ by a constant."""
    rows, cells = replicated()
    block = np.random.default_rng(1).normal(size=(40, 60))
    priors = {"Intercept": pmlmm.Normal(0, 10), "x": pmlmm.Normal(0, 3), "genes": pmlmm.Ridge(20.0)}
    options = {"standardize": False}
    full = pmlmm.Model("y ~ x + (1 | g)", rows, priors, penalized={"genes": block[rows["cell"]]}, **options)
    mean = pmlmm.Model("y ~ x + (1 | g)", cells, priors, penalized={"genes": block}, weights="k", **options)
    differences = []
    for Sigma, log_lambdas in ((0.3, 1.0), (2.0, -1.0), (40.0, 3.0)):
        laws = []
        for model in (full, mean):
            groups = model.priors.penalty_groups
            lam = [theta if g.block is None else log_lambdas for g, theta in zip(groups, parts(model), strict=True)]
            laws.append(dense_law(model, np.array([0.5, Sigma, *lam])))
        np.testing.assert_allclose(laws[0][1], laws[1][1], atol=1e-8)
        differences.append(laws[0][0] - laws[1][0])
    np.testing.assert_allclose(differences, differences[0], atol=1e-7)


def parts(model):
    """``-log tau^2`` of every penalty group at a variance that two models share."""
    scale = np.array(model.priors.scales)
    return [
        np.nan
        if g.block is not None
        else -np.log((np.array([10.0, 3.0])[list(g.columns)] * scale[list(g.columns)])[0] ** 2)
        for g in model.priors.penalty_groups
    ]


def dense_law(model, u):
    """Log-likelihood, and means of beta on the user's scale and gamma."""
    from pmlmm.posterior.effects import Parameters

    d = model.statistics.crossproducts().parameters
    parameters = Parameters(u[None, :d], u[d:], model.design, model.statistics)
    effects = parameters.effects().mean
    shift = parameters.wide.shift(parameters.wide.alpha(effects))
    found = [parameters.user_beta(effects, shift)[0], parameters.gamma(effects)["gamma_g"].ravel()]
    data = model.statistics.crossproducts()
    return likelihood.evaluate(u, data, profile=False, order=0).value, np.concatenate(found)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.floats(-8, 8), st.integers(0, 2**32 - 1))
def test_equal_weights_are_a_unit_of_sigma_and_rows_have_no_order(base_fit, log_c, seed):
    """Weights times c: sigma times the root of c, and nothing else; with wide blocks and crossed factors."""
    model, fit = base_fit
    c, order = 10.0**log_c, np.random.default_rng(seed).permutation(ROWS)
    table, genes = model.design.table.frame, model.design.wide[0].matrix
    other = pmlmm.Model(
        model.formula, table.iloc[order].assign(w=c * table["w"]), penalized={"genes": genes[order]}, weights="w"
    ).fit(integrate=False, refine=False)
    assert other.log_evidence == pytest.approx(fit.log_evidence, abs=1e-3)
    np.testing.assert_allclose(other.mode["sigma"] / np.sqrt(c), fit.mode["sigma"], rtol=2e-3)
    np.testing.assert_allclose(other.mode["Sigma_a"], fit.mode["Sigma_a"], rtol=2e-2)
    np.testing.assert_allclose(other.mode["beta"], fit.mode["beta"], rtol=1e-2, atol=1e-3)


@pytest.fixture(scope="module")
def base_fit():
    table, rng = table_of(2)
    table["w"] = np.exp(rng.normal(size=ROWS))
    genes = rng.normal(size=(ROWS, 90))
    model = pmlmm.Model("y ~ x + (1 + t | a) + (1 | b)", table, penalized={"genes": genes}, weights="w")
    return model, model.fit(integrate=False, refine=False)


@pytest.mark.slow
@pytest.mark.parametrize("extreme", [1e-8, 1e8])
def test_a_few_extreme_rows_decide_no_prior(sleepstudy, extreme):
    """Rows that are next to worthless, and may be anything, or next to exact: priors stay what they are."""
    rng = np.random.default_rng(0)
    rows = rng.choice(180, 9, replace=False)
    w = np.ones(180)
    w[rows] = extreme
    y = sleepstudy["Reaction"].to_numpy() + 0.0
    if extreme < 1:
        y[rows] += 30.0 / np.sqrt(extreme) * rng.normal(size=9)
    plain = pmlmm.Model(SLOPES, sleepstudy.drop(index=rows))
    model = pmlmm.Model(SLOPES, sleepstudy.assign(Reaction=y), weights=w)
    assert model.priors.sigma.scale == pytest.approx(plain.priors.sigma.scale, rel=0.1)
    np.testing.assert_allclose(model.priors.normals.sd, plain.priors.normals.sd, rtol=0.1)
    np.testing.assert_allclose(model.priors.normals.mean, plain.priors.normals.mean, atol=10.0)
    if extreme < 1:  # as good as left out
        fit, without = model.fit(integrate=False), plain.fit(integrate=False)
        np.testing.assert_allclose(fit.mean["beta"], without.mean["beta"], rtol=0.02)
        np.testing.assert_allclose(fit.mean["sigma"], without.mean["sigma"], rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_weights_over_eight_orders_of_magnitude(seed):
    rng = np.random.default_rng(seed)
    g, x, w = np.repeat(np.arange(20), 10), rng.normal(size=200), 10 ** rng.uniform(-4, 4, 200)
    y = 3 + x * (0.7 + 0.3 * rng.normal(size=20)[g]) + rng.normal(size=20)[g] + rng.normal(size=200) / np.sqrt(w)
    fit = pmlmm.Model("y ~ x + (x | g)", pd.DataFrame({"g": g, "x": x, "w": w, "y": y}), weights="w").fit()
    assert float(fit.mean["sigma"]) == pytest.approx(1.0, abs=4 * float(fit.sd["sigma"]))
    assert np.all(np.abs(fit.mean["beta"].to_numpy() - [3.0, 0.7]) < 4 * fit.sd["beta"].to_numpy())
    assert float(fit.sd["sigma"]) < 0.1


def test_weights_of_one_are_no_weights(sleepstudy):
    plain = pmlmm.Model(SLOPES, sleepstudy).fit(integrate=False)
    ones = pmlmm.Model(SLOPES, sleepstudy, weights=np.ones(180), offset=np.zeros(180)).fit(integrate=False)
    assert ones.log_evidence == pytest.approx(plain.log_evidence, abs=1e-8)
    np.testing.assert_allclose(ones.mean["beta"], plain.mean["beta"], rtol=1e-8)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.integers(-(10**6), 10**6).map(lambda k: k / 1e3), st.integers(-(10**6), 10**6).map(lambda k: k / 1e3))
def test_an_offset_of_columns_moves_their_coefficients(sleepstudy, a, b):
    """With flat priors ``offset + a + b Days`` takes a and b from beta, and leaves everything else."""
    table = sleepstudy.assign(w=1.0 + np.arange(180) % 4)
    priors = {"Intercept": FLAT, "common": FLAT}
    moved = [
        pmlmm.Model(SLOPES, table.assign(off=off), priors, weights="w", offset="off")
        for off in (0.0, a + b * table["Days"])
    ]
    u = np.array([30.0, 500.0, 5.0, 40.0])
    values = [likelihood.evaluate(u, m.statistics.crossproducts(), profile=False, order=0).value for m in moved]
    assert values[1] == pytest.approx(values[0], abs=1e-6)
    laws = [likelihood.condition(u, m.statistics.crossproducts()).mean for m in moved]
    transform, shift = moved[0].statistics.standardization.transform, moved[0].statistics.standardization.shift
    betas = [transform @ law[-2:] + shift for law in laws]
    np.testing.assert_allclose(betas[0] - betas[1], [a, b], atol=1e-7 * (1 + abs(a) + abs(b)))
