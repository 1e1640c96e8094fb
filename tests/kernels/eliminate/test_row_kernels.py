"""Wide blocks in the space of the rows, before the groups or after them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.kernels import likelihood
from tests.problems import TERM_SETS, random_case


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(TERM_SETS), st.sampled_from([(5,), (40,), (7, 30), (40, 30)]))
)
def test_groups_first_and_wide_first_agree(case):
    case = random_case(*case)
    model = case.model
    results = []
    for method in ("groups", "wide"):
        statistics = build_statistics(model.design, model.priors, model.statistics.standardization, method=method)
        assert statistics.elimination.wide_first == (method == "wide")
        results.append(likelihood.evaluate(case.u, statistics.crossproducts(), profile=False, order=2))
    groups, wide = results
    assert groups.value == pytest.approx(wide.value, rel=1e-10)
    for left, right in zip(groups[1:], wide[1:], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8 * np.max(np.abs(left)))
