"""Pictures of estimates: what they show is what the posterior and the summary say."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.report.plots.means import plot_means

OptionError = pmlmm.errors.OptionError


def test_random_effects_by_name(sleep_fit, line, texts):
    axes = sleep_fit.plot_random_effects()
    assert axes.shape == (1, 2)
    mean, draws = sleep_fit.mean["gamma_Subject"], sleep_fit.posterior["posterior"]["gamma_Subject"]
    order = np.argsort(mean[:, 0].to_numpy())
    for a, ax in enumerate(axes[0]):
        assert line(ax, "posterior mean").get_xdata() == pytest.approx(mean[order, a].to_numpy())
        shown = {}
        for label in ("excludes 0", "holds 0"):
            found = [c for c in ax.collections if c.get_label() == f"95% interval, {label}"]
            shown |= {int(s[0, 1]): tuple(s[:, 0]) for c in found for s in c.get_segments()}
            for low, high in (s[:, 0] for c in found for s in c.get_segments()):
                assert (low > 0 or high < 0) == (label == "excludes 0")
        ends = draws.quantile([0.025, 0.975], ("chain", "draw")).to_numpy()[:, order, a]
        assert np.array([shown[i] for i in range(18)]) == pytest.approx(ends.T)
    assert [t.get_text() for t in axes[0, 0].get_yticklabels()] == [str(mean["Subject"].values[i]) for i in order]
    assert [ax.get_xlabel() for ax in axes[0]] == ["Intercept", "Days"]
    assert "posterior mean" in texts(axes[0, 0])


def test_many_groups_are_ranked(many_fit, line, texts):
    axes = many_fit.plot_random_effects("g")
    for ax in axes[0]:
        assert (np.diff(line(ax, "posterior mean").get_xdata()) >= 0).all()
        assert ax.get_ylim()[1] == 600
    assert "g: 600 groups by rank" in texts(axes[0, 0])


def test_terms_of_one_factor_share_a_row_and_one_term_can_be_had(trial_fit, crossed_fit):
    assert [ax.get_xlabel() for ax in trial_fit.plot_random_effects()[0]] == ["Intercept", "year"]
    axes = trial_fit.plot_random_effects("site_2")
    assert [ax.get_xlabel() for ax in axes[0]] == ["year"]
    assert axes[0, 0].get_yticklabels()[0].get_text().startswith("2024-03-")
    assert len(crossed_fit.plot_random_effects()) == 3
    with pytest.raises(OptionError, match=r"term='d'.*'b:c'"):
        crossed_fit.plot_random_effects("d")


def test_covariances(crossed_fit, line):
    axes = crossed_fit.plot_covariances(interval=0.8)
    draws = crossed_fit.posterior["posterior"]
    for ax, (name, a) in zip(axes, [("a", 0), ("a", 1), ("b", 0), ("b:c", 0)], strict=False):
        sds = np.sqrt(draws[f"Sigma_{name}"].to_numpy()[..., a, a])
        assert line(ax, "median").get_xdata() == pytest.approx([np.median(sds)])
        assert line(ax, "80% interval").get_xdata() == pytest.approx(np.quantile(sds, [0.1, 0.9]))
        outline = line(ax, "posterior density").get_paths()[0].vertices
        assert outline[outline[:, 1].argmax(), 0] == pytest.approx(np.median(sds), rel=0.3)
        assert ax.get_xlim()[0] == 0
    assert axes[4].get_ylabel() == "residual\nsigma"
    Sigma = draws["Sigma_a"].to_numpy().reshape(-1, 2, 2)
    correlation = Sigma[:, 0, 1] / np.sqrt(Sigma[:, 0, 0] * Sigma[:, 1, 1])
    assert axes[5].collections[0].get_segments()[0][:, 0] == pytest.approx(np.quantile(correlation, [0.1, 0.9]))
    assert [t.get_text() for t in axes[5].get_yticklabels()] == ["a: Intercept, t"]


def test_covariances_without_correlations(trial_fit):
    assert len(trial_fit.plot_covariances()) == 3


def test_fixed_effects(trial_fit, line, texts):
    ax = trial_fit.plot_coefficients()
    names = [c for c in trial_fit.mean["coefficient"].values if c != "Intercept"]
    assert [t.get_text() for t in ax.get_yticklabels()] == names
    assert line(ax, "posterior mean").get_xdata() == pytest.approx(
        trial_fit.mean["beta"].sel(coefficient=names).to_numpy()
    )
    assert "the intercept left out" in texts(ax)
    per_sd = trial_fit.plot_coefficients(standardize=True)
    sizes = line(per_sd, "posterior mean").get_xdata() / line(ax, "posterior mean").get_xdata()
    assert sizes[names.index("year")] == pytest.approx(np.std(np.arange(24.0)))
    assert "per sd" in per_sd.get_xlabel()


def test_wide_block_shows_those_that_stand_out(wide_fit, line, texts):
    ax = wide_fit.plot_coefficients("genes", top=5)
    mean, sd = wide_fit.mean["beta_genes"], wide_fit.sd["beta_genes"]
    first = np.argsort(-np.abs((mean / sd).to_numpy()))[:5]
    assert [t.get_text() for t in ax.get_yticklabels()] == list(mean["genes"].values[first])
    ends = np.vstack([s[:, 0] for c in ax.collections for s in c.get_segments()])
    assert np.sort(ends[:, 1] - ends[:, 0]) == pytest.approx(np.sort(2 * 1.959964 * sd.to_numpy()[first]), rel=1e-6)
    assert "5 of 70 columns" in texts(ax)
    with pytest.raises(OptionError, match=r"wide='gene'.*'genes'"):
        wide_fit.plot_coefficients("gene")


def test_axes_can_be_given(sleep_fit):
    from matplotlib import pyplot as plt

    _, own = plt.subplots(layout="constrained")
    assert sleep_fit.plot_coefficients(ax=own) is own
    assert len(plt.get_fignums()) == 1


def test_means(sleep_fit, line, texts):
    index = pd.MultiIndex.from_product([[0, 6, 12], ["drug", "placebo"]], names=["t", "arm"])
    table = pd.DataFrame({"mean": np.arange(6.0), "lower": np.arange(6.0) - 1, "upper": np.arange(6.0) + 2}, index)
    ax = plot_means(table, "log(y)", 0.95, None)
    drug, placebo = line(ax, "drug"), line(ax, "placebo")
    assert list(drug.lines[0].get_ydata()) == [0, 2, 4]
    assert drug.lines[0].get_xdata() + placebo.lines[0].get_xdata() == pytest.approx(2 * np.array([0, 6, 12]))
    assert [tuple(s[:, 1]) for s in placebo.lines[2][0].get_segments()] == [(0, 3), (2, 5), (4, 7)]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_legend().get_title().get_text()) == ("t", "log(y)", "arm")
    single = plot_means(table.xs(0, level="t"), "y", 0.95, None)
    assert [t.get_text() for t in single.get_xticklabels()] == ["drug", "placebo"]


def test_the_fits_means_are_the_pictures(trial_fit, line):
    ax = trial_fit.plot_means("arm", by={"year": [2003, 2010]}, interval=0.8)
    table = trial_fit.means("arm", by={"year": [2003, 2010]}, interval=0.8)
    for arm in ("drug", "placebo"):
        bars = line(ax, arm)
        rows = table.xs(arm, level="arm")
        assert bars.lines[0].get_ydata() == pytest.approx(rows["mean"].to_numpy())
        ends = np.array([s[:, 1] for s in bars.lines[2][0].get_segments()])
        assert ends == pytest.approx(rows[["lower", "upper"]].to_numpy())
    assert ax.get_ylabel() == "y"
