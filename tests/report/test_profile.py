"""The evidence along one hyperparameter."""

import numpy as np
import pytest


def test_profile_peaks_at_the_fit(sleep_fit):
    profile = sleep_fit.profile("b[Subject]", points=7, width=2.0)
    assert len(profile) == 7  # the middle of the grid is the learned value, once
    total = profile["log_evidence_psis"] + profile["log_hyperprior"]
    best = profile.loc[total.idxmax()]
    assert best["value"] == pytest.approx(sleep_fit.hyperparameters.loc["b[Subject]", "value"], abs=0.1)
    assert (np.abs(profile["log_evidence"] - profile["log_evidence_psis"]) < 5 * profile["error"] + 0.05).all()
    with pytest.raises(ValueError, match=r"not a learned hyperparameter.*'b\[Subject\]'"):
        sleep_fit.profile("b")
