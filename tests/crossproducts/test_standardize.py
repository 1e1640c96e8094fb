"""Columns are centred and scaled."""

import numpy as np
import pytest

from pmlmm.crossproducts.standardize import standardization
from pmlmm.design.design import build_design


def test_without_intercept_columns_are_scaled_but_not_centred(sleepstudy):
    design = build_design("Reaction ~ 0 + Days + (1 | Subject)", sleepstudy)
    standard = standardization(design.X, design.X.std(axis=0), np.array([True]), None, np.zeros(1))
    assert standard.center.tolist() == [0.0]
    assert standard.scale[0] == pytest.approx(design.X[:, 0].std())
