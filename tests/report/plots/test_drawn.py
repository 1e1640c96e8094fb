"""Every picture of every kind of fit can be drawn: its parts have room, and there are no warnings."""

import io
from unittest.mock import patch

import pytest
from matplotlib import pyplot as plt

FITS = ("sleep_fit", "integrated", "crossed_fit", "trial_fit", "wide_fit", "many_fit", "six_fit")


def pictures(fit):
    design = fit._posterior.design
    yield from (fit.plot_trajectories(groups=1), fit.plot_trajectories(extend=True))
    yield from (fit.plot_random_effects(), fit.plot_covariances(), fit.plot_coefficients(), fit.plot_residuals())
    yield from (fit.plot_shrinkage(term.name) for term in design.terms)
    yield from (fit.plot_predictive(), fit.plot_predictive(design.groupings[0].factor))
    yield from (fit.plot_coefficients(block.name) for block in design.wide)


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_it_can_be_drawn(name, style, request):
    fit = request.getfixturevalue(name)
    with plt.style.context(style):
        assert len(list(pictures(fit))) >= 8
        for number in plt.get_fignums():
            figure = plt.figure(number)
            figure.savefig(io.BytesIO(), dpi=40)
            inside = figure.bbox
            for ax in figure.axes:
                assert ax.bbox.width > 20
                assert ax.bbox.height > 10
            for legend in figure.legends:
                box = legend.get_window_extent()
                assert box.x0 >= inside.x0 - 1
                assert box.x1 <= inside.x1 + 1


def test_nothing_is_shown_by_itself(sleep_fit):
    with patch.object(plt, "show") as shown:
        sleep_fit.plot_coefficients()
    shown.assert_not_called()
