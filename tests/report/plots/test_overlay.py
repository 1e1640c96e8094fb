"""Pictures have the curves and names that they should."""

import pytest

import pmlmm


def test_picture(sleep_fit, mcmc):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    report = pmlmm.compare(sleep_fit, mcmc)
    figure = report.plot(4)
    shown = [axis.get_xlabel() for axis in figure.axes if axis.get_visible()]
    assert shown == list(report.table.index[:4])
    assert [line.get_label() for line in figure.axes[0].lines] == ["Laplace", "PSIS", "NUTS"]
    matplotlib.pyplot.close(figure)
