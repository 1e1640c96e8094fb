"""Curves of groups: through the posterior's means, between the group's ends, with what else the group has."""

import numpy as np
import pandas as pd
import pytest

import pmlmm


def segment(axes, name):
    return next(ax for ax in axes if ax.get_title() == str(name))


@pytest.mark.parametrize("which", ["sleep_fit", pytest.param("integrated", marks=pytest.mark.slow)])
def test_curves_are_those_of_the_posterior(which, request, sleepstudy, line, texts):
    fit = request.getfixturevalue(which)
    axes = fit.plot_trajectories(groups=[308, 335])
    assert [ax.get_title() for ax in axes] == ["308", "335"]
    ax, own = axes[1], sleepstudy[sleepstudy["Subject"] == 335]
    curve, mean = line(ax, "this group"), fit.mean
    expected = mean["beta"] + mean["gamma_Subject"].sel(Subject=335).to_numpy()
    x, y = curve.get_data()
    draws = fit.posterior["posterior"].to_dataset()
    error = float(draws["beta"].sel(coefficient="Intercept").std()) / np.sqrt(draws["beta"].size / 2)
    assert (x[0], x[-1]) == (0.0, 9.0)
    assert y == pytest.approx(expected.to_numpy()[0] + expected.to_numpy()[1] * x, abs=12 * error)
    at = line(ax, "data").get_data()
    assert np.array_equal(at, own[["Days", "Reaction"]].to_numpy().T)
    # the interval: that of the same draws
    total = draws["beta"].to_numpy() + draws["gamma_Subject"].sel(Subject=335).to_numpy()
    first = np.quantile(total[..., 0], [0.025, 0.975])
    outline = line(ax, "95% interval").get_paths()[0].vertices
    ends = outline[np.isclose(outline[:, 0], 0.0), 1]
    assert (ends.min(), ends.max()) == pytest.approx(tuple(first), abs=1e-6)
    average = line(axes[0], "average group").get_data()
    assert average[1] == pytest.approx(float(mean["beta"][0]) + float(mean["beta"][1]) * average[0], abs=12 * error)
    assert "Subject: 2 of 18 groups" in texts(ax)
    assert (ax.figure.get_supxlabel(), ax.figure.get_supylabel()) == ("Days", "Reaction")


def test_a_sample_is_reproducible_and_said(many_fit, texts):
    first, again = many_fit.plot_trajectories(groups=5), many_fit.plot_trajectories(groups=5)
    assert [ax.get_title() for ax in first] == [ax.get_title() for ax in again]
    assert len({ax.get_title() for ax in first}) == 5
    assert "g: 5 of 600 groups" in texts(first[0])


def test_powers_beside_x_move_along_and_covariates_are_the_groups_own(trial_fit, trial, line):
    ax = trial_fit.plot_trajectories(groups=["2024-03-04"])[0]
    x, y = line(ax, "this group").get_data()
    rows = trial[trial["site"] == "2024-03-04"]
    assert np.allclose(np.interp(rows["year"], x, y), trial_fit_at(trial_fit, rows), atol=2e-9)
    fitted = np.polyfit(x - 2012, y * 1e9, 2)  # the arms and x move it off the parabola
    assert fitted[0] == pytest.approx(0.05, abs=0.02)


def trial_fit_at(fit, rows):
    mean = fit.mean
    gamma = [float(mean[f"gamma_site_{k}"].sel(site=rows["site"].iloc[0]).squeeze()) for k in (1, 2)]
    values = {"Intercept": 1.0, "arm[T.placebo]": (rows["arm"] == "placebo").astype(float)}
    total = sum(float(mean["beta"].sel(coefficient=c)) * values.get(c, rows.get(c)) for c in mean["coefficient"].values)
    return total + gamma[0] + gamma[1] * rows["year"]


def test_levels_on_x_are_points_at_the_means_of_their_rows(trial_fit, trial, line):
    ax = trial_fit.plot_trajectories("arm", groups=1)[0]
    x, y = line(ax, "this group").get_data()
    rows = trial[trial["site"] == ax.get_title()]
    expected = trial_fit_at(trial_fit, rows).groupby(rows["arm"]).mean()
    assert list(x) == ["drug", "placebo"]
    assert y == pytest.approx(expected.to_numpy(), abs=1e-10 * 3)
    assert len(line(ax, "95% interval").get_segments()) == 2


def test_numbers_that_are_levels_are_not_drawn_between(sleepstudy, line):
    data = sleepstudy[sleepstudy["Days"] < 4]
    fit = pmlmm.Model("Reaction ~ C(Days) + (1 | Subject)", data).fit(integrate=False)
    ax = fit.plot_trajectories("Days", groups=2)[0]
    assert list(line(ax, "this group").get_xdata()) == [0, 1, 2, 3]


def test_one_row_is_a_point_unless_extended(line):
    data, _ = pmlmm.simulate.longitudinal([8] * 6 + [1] * 3, q=2, effects="polynomial", covariates=0, seed=1)
    fit = pmlmm.Model("y ~ t + (t | ind)", data).fit(integrate=False)
    one = data["ind"].iloc[-1]
    assert len(line(fit.plot_trajectories(groups=[one])[0], "this group").get_xdata()) == 1
    x = line(fit.plot_trajectories(groups=[one], extend=True)[0], "this group").get_xdata()
    assert (x[0], x[-1]) == pytest.approx((data["t"].min(), data["t"].max()))


def test_crossed_factors_are_averaged_over_and_outer_ones_are_not(crossed_fit, texts):
    assert "a: 3 of 12 groups; b and b:c at the average" in texts(crossed_fit.plot_trajectories(groups=3)[0])
    inner = crossed_fit.plot_trajectories(groups=3, factor="b:c")[0]
    assert "b:c: 3 of 18 groups; a at the average" in texts(inner)


def test_wide_blocks_are_part_of_the_curve(wide_fit, line):
    from tests.problems import wide_data

    table, _ = wide_data()
    ax = wide_fit.plot_trajectories(groups=[3])[0]
    y = line(ax, "this group").get_ydata()
    rows = np.flatnonzero(table["ind"] == 3)
    draws = wide_fit.sample_posterior_predictive()["posterior_predictive"]["y"].mean(("chain", "draw")).to_numpy()
    ends = rows[[table["t"].to_numpy()[rows].argmin(), table["t"].to_numpy()[rows].argmax()]]
    assert y[[0, -1]] == pytest.approx(draws[ends], abs=0.1)


def test_messages_name_the_choices(sleep_fit, load):
    with pytest.raises(pmlmm.errors.OptionError, match=r"x='days'.*Did you mean 'Days'"):
        sleep_fit.plot_trajectories("days")
    with pytest.raises(pmlmm.errors.OptionError, match="no group '999'"):
        sleep_fit.plot_trajectories(groups=[999])
    with pytest.raises(pmlmm.errors.OptionError, match=r"factor='subject'"):
        sleep_fit.plot_trajectories(factor="subject")
    with pytest.raises(pmlmm.errors.OptionError, match=r"interval=95"):
        sleep_fit.plot_trajectories(interval=95)
    penicillin = pmlmm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", load("penicillin")).fit(integrate=False)
    with pytest.raises(pmlmm.errors.OptionError, match=r"plot_random_effects\(\)"):
        penicillin.plot_trajectories()


def test_the_x_axis_is_a_column_that_differs_within_groups():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": np.repeat(np.arange(12), 4), "visit": np.tile(list("abcd"), 12)})
    table = table.assign(base=rng.normal(size=12)[table["id"]], y=rng.normal(size=48))
    fit = pmlmm.Model("y ~ base + visit + (1 | id)", table).fit(integrate=False)
    axes = fit.plot_trajectories(groups=2)
    assert axes.flat[0].get_figure().get_supxlabel() == "visit"
