import numpy as np
import pandas as pd
import pytest

from pmlmm.design.design import build_design


@pytest.mark.parametrize(
    ("fixed", "coded"),
    [
        ("f * x", {"f"}),
        ("C(k) + x", {"k"}),
        ("factor(k) + C(f, contr.sum)", {"k", "f"}),
        ("x + I(k > 2)", set()),
        ("`a b` + bs(x, df=4)", {"a b"}),
        ("flag:x", set()),  # numbers to formulaic
    ],
)
def test_columns_that_stand_for_categories(fixed, coded):
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"y": rng.normal(size=30), "x": rng.normal(size=30), "k": np.arange(30) % 5, "g": np.arange(30) % 6}
    )
    data = data.assign(f=list("abc") * 10, flag=data["k"] > 2, **{"a b": ["u", "v", "w"] * 10})
    assert build_design(f"y ~ {fixed} + (1 | g)", data).recipe.coded == coded


def test_no_columns_are_coded_where_there_are_none():
    data = pd.DataFrame({"y": np.arange(12.0) % 5, "g": np.arange(12) % 4})
    assert build_design("y ~ 1 + (1 | g)", data).recipe.coded == set()
