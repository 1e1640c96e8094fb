"""Pictures of shrinkage, evidence and model checks: their numbers, and what a wrong model looks like in them."""

import numpy as np
import pytest
from matplotlib import pyplot
from scipy import stats

import pmlmm
from pmlmm.report.plots.predictive import moments

OptionError = pmlmm.errors.OptionError


def test_shrinkage_starts_at_least_squares_of_each_group(sleep_fit, sleepstudy, line, texts):
    (ax,) = sleep_fit.plot_shrinkage()
    own = np.array([np.polyfit(rows["Days"], rows["Reaction"], 1)[::-1] for _, rows in sleepstudy.groupby("Subject")])
    assert np.column_stack(line(ax, "own least squares").get_data()) == pytest.approx(own)
    mean = sleep_fit.mean
    pooled = (mean["beta"].to_numpy() + mean["gamma_Subject"]).to_numpy()
    assert np.column_stack(line(ax, "partially pooled").get_data()) == pytest.approx(pooled)
    arrows = [text for text in ax.texts if text.arrow_patch is not None]
    assert np.array([a.xyann for a in arrows]) == pytest.approx(own)
    ring = np.column_stack(line(ax, "95% of groups, as learned").get_data()) - mean["beta"].to_numpy()
    distance = np.einsum("ia,ab,ib->i", ring, np.linalg.inv(mean["Sigma_Subject"].to_numpy()), ring)
    assert distance == pytest.approx(stats.chi2.ppf(0.95, 2), rel=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Intercept", "Days")
    assert "Subject: all 18 groups" in texts(ax)


def test_shrinkage_of_one_effect_and_of_groups_without_least_squares(crossed_fit, line, texts):
    (ax,) = crossed_fit.plot_shrinkage("b")
    pooled = np.sort(crossed_fit.mean["gamma_b"].to_numpy().ravel() + float(crossed_fit.mean["beta"][0]))
    assert np.sort(line(ax, "partially pooled").get_ydata()) == pytest.approx(pooled)
    data, _ = pmlmm.simulate.longitudinal([8] * 6 + [1] * 3, q=3, effects="polynomial", covariates=0, seed=1)
    fit = pmlmm.Model("y ~ t + t2 + (t + t2 | ind)", data).fit(integrate=False)
    axes = fit.plot_shrinkage()
    assert [ax.get_ylabel() for ax in axes] == ["t", "t2"]
    assert len(line(axes[0], "own least squares").get_xdata()) == 6
    assert "3 with too few rows" in texts(axes[0])


def test_shrinkage_samples_many_groups(many_fit, texts):
    assert "g: 50 of 600 groups" in texts(many_fit.plot_shrinkage(groups=50)[0])


def test_evidence_is_the_profile(sleep_fit, line):
    ax = sleep_fit.plot_evidence("b[Subject]", points=5)
    profile = sleep_fit.profile("b[Subject]", points=5)
    total = profile["log_evidence_psis"] + profile["log_hyperprior"]
    assert line(ax, "both together").get_xydata() == pytest.approx(
        np.column_stack([profile["value"], total - total.max()])
    )
    row = sleep_fit.hyperparameters.loc["b[Subject]"]
    band = line_of_band(ax)
    assert band == pytest.approx((row["lower"], row["upper"]))
    assert ax.get_xlabel() == "b[Subject]"
    with pytest.raises(OptionError, match="Valid choices"):
        sleep_fit.plot_evidence("b")


def line_of_band(ax):
    band = next(patch for patch in ax.patches if patch.get_label() == "95% interval")
    return band.get_x(), band.get_x() + band.get_width()


def test_residuals_of_a_right_model_are_where_they_should_be(many_fit, line, texts):
    axes = many_fit.plot_residuals()
    assert len(axes) == 3
    errors = line(axes[0], "rows").get_ydata()
    assert stats.kstest(errors, "norm").pvalue > 0.001  # one draw of a fixed seed
    expected, seen = line(axes[1], "sorted residuals").get_data()
    assert (np.diff(seen) >= 0).all()
    assert np.max(np.abs(seen - expected)[20:-20]) < 0.25
    size = line(axes[2], "groups").get_ydata()
    outside = (size < np.sqrt(stats.chi2.ppf(0.025, 2) / 2)) | (size > np.sqrt(stats.chi2.ppf(0.975, 2) / 2))
    assert np.mean(outside) == pytest.approx(0.05, abs=0.03)  # 600 groups: an error of .009
    assert "all 1,200 rows" in texts(axes[0])
    assert axes[2].get_xlabel() == "g: all 600 groups by rank"


def test_residuals_show_outliers(sleep_fit, line):
    axes = sleep_fit.plot_residuals()
    assert line(axes[1], "sorted residuals").get_ydata()[-1] > 4  # subject 332
    assert [t.get_text() for t in axes[2].get_xticklabels()][-1] in ("332", "308")


def test_predictive_density_integrates_to_one_and_holds_the_data(many_fit, line):
    ax = many_fit.plot_predictive()
    grid, density = line(ax, "data").get_data()
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.01)
    y = many_fit._posterior.design.y
    assert density == pytest.approx(stats.gaussian_kde(y)(grid), abs=0.01 * density.max())
    outline = line(ax, "95% interval of 200 replications").get_paths()[0].vertices
    lower = np.interp(grid, *outline[1 : len(grid) + 1].T)
    upper = np.interp(grid, *outline[len(grid) + 2 : 2 * len(grid) + 2][::-1].T)
    lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
    assert np.mean((density >= lower - 1e-3) & (density <= upper + 1e-3)) > 0.8
    assert ax.get_xlabel() == "y"


def test_predictive_by_group(sleep_fit, sleepstudy, line):
    axes = sleep_fit.plot_predictive("Subject")
    by = sleepstudy.groupby("Subject")["Reaction"]
    order = np.argsort(by.mean().to_numpy())
    assert line(axes[0], "data").get_ydata() == pytest.approx(by.mean().to_numpy()[order])
    assert line(axes[1], "data").get_ydata() == pytest.approx(by.std().to_numpy()[order])
    with pytest.raises(OptionError, match=r"by='Days'.*'Subject'"):
        sleep_fit.plot_predictive("Days")


def test_moments_of_single_rows(table):
    fit = pmlmm.Model("y ~ x + (1 | g)", table).fit(integrate=False)
    grouping = fit._posterior.design.groupings[0]
    mean, sd = moments(table["y"].to_numpy()[None], grouping)
    assert mean[0] == pytest.approx(table.groupby("g")["y"].mean().to_numpy())
    assert sd[0] == pytest.approx(table.groupby("g")["y"].std().to_numpy())


def test_more_than_twenty_figures_are_no_reason_to_warn(sleep_fit):
    for _ in range(22):
        sleep_fit.plot_coefficients()
    pyplot.close("all")


def test_without_matplotlib(sleep_fit, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (sleep_fit.plot_coefficients, sleep_fit.plot_covariances, sleep_fit.plot_trajectories):
        with pytest.raises(OptionError, match=r"pip install 'pmlmm\[plots\]'"):
            draw()
