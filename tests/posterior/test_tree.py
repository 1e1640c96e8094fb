"""The posterior as groups of draws that ArviZ and netCDF understand."""

import arviz as az
import numpy as np
import pytest
import xarray as xr


def test_posterior_is_arviz_data(sleep_fit):
    posterior = sleep_fit.posterior
    assert posterior["posterior"].sizes["chain"] == 4
    summary = az.summary(posterior, var_names=["beta", "sigma", "Sigma_Subject"], round_to="none")
    assert (summary["r_hat"].astype(float) < 1.02).all()
    for name in ("beta", "sigma", "Sigma_Subject", "gamma_Subject"):
        draws = posterior["posterior"][name]
        mean, sd = draws.mean(("chain", "draw")), draws.std(("chain", "draw"))
        assert float((np.abs(mean - sleep_fit.mean[name]) / sd).max()) < 0.1
    np.testing.assert_array_equal(posterior["observed_data"]["Reaction"], sleep_fit.model.design.y)
    assert float(posterior["proposal"]["weight"].sum()) == pytest.approx(1.0)


def test_posterior_goes_to_disk_and_back(sleep_fit, tmp_path):
    sleep_fit.posterior.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as back:
        xr.testing.assert_allclose(back["posterior"].to_dataset(), sleep_fit.posterior["posterior"].to_dataset())
