"""Through the adapter marginaleffects gives what the fit's own verbs do, with normal intervals."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars
import pytest
from scipy.stats import norm

import pmlmm

# theirs: an optional dependency warns
pytestmark = pytest.mark.filterwarnings("ignore")
me = pytest.importorskip("marginaleffects")
datagrid = pytest.importorskip("marginaleffects.datagrid").datagrid
# marginaleffects 0.6 calls what Polars 2 has taken out
polars_1 = pytest.mark.skipif(int(polars.__version__.split(".")[0]) > 1, reason="needs Polars 1")


@pytest.fixture(scope="module")
def fit():
    from tests.test_fixed_effects import trial

    data = trial().assign(age=lambda d: 40 + d["id"] % 17, female=lambda d: d["id"] % 3 == 0)
    data["visit"] = data["visit"].astype(int)
    return pmlmm.Model("y ~ arm * C(visit) + log(age) + female + (t | id)", data).fit()


@pytest.fixture(scope="module")
def adapted(fit):
    from pmlmm.marginaleffects import adapt

    return adapt(fit)


def assert_same(theirs, ours):
    """One posterior mean; standard errors from the draws' covariance are the draws' standard deviations."""
    np.testing.assert_allclose(theirs["estimate"], ours["mean"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(theirs["std_error"], ours["sd"], rtol=1e-3)
    half = norm.ppf(0.975) * np.asarray(theirs["std_error"])
    np.testing.assert_allclose(theirs["conf_high"], theirs["estimate"] + half)


def test_predictions(fit, adapted):
    """Their grid has the usual level of other factors where ours averages; so those are given."""
    grid = datagrid(adapted, arm=["control", "new"], visit=["0", "9"], female=[False])
    theirs = me.predictions(adapted, newdata=grid)
    keys = list(zip(theirs["arm"].to_list(), theirs["visit"].to_list(), strict=True))
    ours = fit.means(["arm", "visit"], at={"female": False, "age": float(grid["age"][0])})
    rows = pd.DataFrame([ours.loc[(arm, int(visit))] for arm, visit in keys])
    assert_same(theirs, rows)


def test_slopes_and_hypotheses(fit, adapted):
    # by default their steps are so short that standard errors are off by a percent
    theirs = me.slopes(adapted, variables="age", newdata=datagrid(adapted, age=[42, 55]), eps_vcov=0.1)
    assert_same(theirs, fit.slopes("age", by={"age": [42, 55]}))
    theirs = me.avg_slopes(adapted, variables="age", eps_vcov=0.1)
    assert_same(theirs, fit.slopes("age", at="rows"))
    # they count from zero
    theirs = me.hypotheses(adapted, "b2 - b3 = 0")
    assert_same(theirs, fit.hypothesis("`{}` - `{}`".format(*fit.model.design.coefficients[2:4])))


@polars_1
def test_comparisons_and_pictures(fit, adapted):
    theirs = me.avg_comparisons(adapted, variables="arm", by="visit")
    assert_same(theirs, fit.contrast("arm", by="visit"))
    assert me.plot_predictions(adapted, condition=["age", "arm"]) is not None
    assert me.plot_comparisons(adapted, variables="arm", by="visit") is not None


def test_wide_blocks_are_at_their_means():
    from pmlmm.marginaleffects import adapt

    rng = np.random.default_rng(0)
    genes, data = 5 + rng.normal(size=(60, 6)), pd.DataFrame({"g": np.arange(60) % 8, "x": rng.normal(size=60)})
    data["y"] = data["x"] + genes[:, 0] + rng.normal(size=60)
    fit = pmlmm.Model("y ~ x + (1 | g)", data, penalized={"genes": genes}).fit()
    theirs, ours = me.predictions(adapt(fit), newdata=datagrid(adapt(fit), x=[0.0])), fit.means(at={"x": 0})
    np.testing.assert_allclose(theirs["estimate"], ours["mean"], rtol=1e-6)
    np.testing.assert_allclose(theirs["std_error"], ours["sd"], rtol=0.1)  # other draws


def test_errors(adapted):
    from pmlmm.marginaleffects import adapt

    with pytest.raises(pmlmm.OptionError, match="takes a fit"):
        adapt("fit")
    with pytest.raises(pmlmm.OptionError, match="one covariance"):
        me.predictions(adapted, vcov="HC3")
    with pytest.raises(pmlmm.DataError, match="'visit' has no level 2"):
        adapted.get_exog(polars.DataFrame({"arm": ["new"], "visit": [2], "age": [50.0], "female": [True]}))


def test_without_the_package_the_message_says_what_to_install():
    code = "import sys; sys.modules['marginaleffects'] = None\nimport pmlmm.marginaleffects"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'pmlmm[marginaleffects]'" in done.stderr
