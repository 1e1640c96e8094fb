"""What a comparison with NUTS advises."""

import numpy as np
import pandas as pd
import pytest

from pmlmm.checks import verdict


def marginal_table(shift, ratio, z, noise=0.02):
    columns = pd.MultiIndex.from_product([["Laplace", "PSIS"], ["shift", "sd ratio", "z", "mcse"]])
    columns = columns.append(pd.MultiIndex.from_product([["NUTS"], ["mean", "sd"]]))
    row = [shift, ratio, z, 0.02, shift / 3, 1.01, 1.0, noise, 0.0, 1.0]
    return pd.DataFrame([row], columns=columns, index=["Sigma_g[z, z]"])


GOOD = {"r_hat": 1.002, "ess": 2000.0, "divergences": 0, "draws": 4000, "k_hat": 0.3}


@pytest.mark.parametrize(
    ("numbers", "diagnostics", "expected"),
    [
        ((0.05, 1.02, 2.0), {}, "use the fit's mean, sd and posterior (Laplace's approximation and its correction)"),
        ((0.40, 1.02, 9.0), {}, "the importance-sampled correction, not plain Laplace"),
        ((0.05, 1.02, 2.0), {"k_hat": 0.9}, "Laplace's approximation, uncorrected, which is as good as NUTS"),
        ((np.nan, 1.02, np.nan), {"k_hat": 0.9}, "do not use"),
        ((0.40, 1.02, 9.0, 0.3), {}, "do not use"),
        ((0.05, 1.02, 2.0, 0.3), {}, "PSIS (k-hat 0.30) is too noisy to tell"),
        ((0.40, 1.02, 9.0), {"k_hat": 0.9}, "do not use the fit's intervals here. Use the NUTS draws"),
        ((0.05, 1.02, 2.0), {"r_hat": 1.2}, "no verdict before NUTS has converged"),
        ((0.05, 1.02, 2.0), {"divergences": 100}, "no verdict before NUTS has converged"),
        ((0.05, 1.02, 2.0), {"ess": 90.0}, "no verdict before NUTS has converged"),
    ],
)
def test_verdicts(sleep_fit, numbers, diagnostics, expected):
    good, words = verdict.judge(marginal_table(*numbers), pd.DataFrame(), GOOD | diagnostics)
    assert expected in " ".join(words.split())
    assert not ("no verdict" in words and any(good.values()))


def test_a_random_effect_far_off_decides_too(sleep_fit):
    effects = pd.DataFrame({"number": [36], "shift": [4.0]}, index=["gamma_Subject"])
    good, words = verdict.judge(marginal_table(0.05, 1.02, 2.0), effects, GOOD)
    assert not good["PSIS"]
    assert "4.00 sds from NUTS's" in words
    assert "do not use the fit's intervals" in words
