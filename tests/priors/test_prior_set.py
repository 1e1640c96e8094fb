import numpy as np
import pytest

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.errors import DataError, PriorError
from pmlmm.priors.prior_set import resolve


@pytest.fixture
def design(sleepstudy):
    return build_design("Reaction ~ Days + I(Days**2) + (Days | Subject)", sleepstudy)


def test_defaults(design):
    priors = resolve(design, None, standardize=True)
    (group,) = priors.penalty_groups
    assert group.columns == (0, 1, 2)
    assert group.prior.sd == pytest.approx(2.5 * design.y.std())
    assert priors.scales == pytest.approx([1.0, *design.X[:, 1:].std(axis=0)])
    assert priors.means == pytest.approx([design.y.mean(), 0.0, 0.0])
    assert priors.standardized == (False, True, True)
    assert priors.covariances == (pmlmm.InverseWishart(),)
    assert priors.sigma == pmlmm.HalfStudentT(4.0, float(np.std(design.y)))
    assert not priors.improper


def test_the_ridge_by_name(design):
    given = {"common": pmlmm.Ridge(), "Intercept": pmlmm.Ridge(1e-4, "response")}
    priors = resolve(design, given, standardize=True)
    assert [(g.name, g.columns, g.prior.lambda_) for g in priors.penalty_groups] == [
        ("Intercept", (0,), 1e-4),
        ("common", (1, 2), None),
    ]
    assert priors.means == pytest.approx([design.y.mean(), 0.0, 0.0])
    assert priors.standardized == (False, True, True)


def test_a_column_can_leave_the_common_group(design):
    given = {"Days": pmlmm.Ridge(lambda_=0), "Intercept": pmlmm.Ridge(0.5), "Subject": pmlmm.Flat()}
    priors = resolve(design, given, standardize=True)
    assert priors.flat_columns == (1,)
    assert priors.standardized == (False, False, True)
    assert [group.columns for group in priors.penalty_groups] == [(0,), (2,)]
    assert priors.means[0] == 0.0
    assert priors.improper


@pytest.mark.parametrize(
    ("priors", "words"),
    [
        ({"Subjct": pmlmm.InverseWishart()}, "names nothing.*Did you mean 'Subject'"),
        ({"Subject": pmlmm.Ridge()}, "takes pmlmm.InverseWishart"),
        ({"common": pmlmm.InverseWishart()}, "take pmlmm.Normal, pmlmm.Ridge or"),
        ({"sigma": pmlmm.Ridge()}, "takes pmlmm.HalfStudentT"),
        ({"Subject": pmlmm.InverseWishart(A=np.eye(3))}, "must be 2 x 2"),
        ({"Subject": pmlmm.InverseWishart(b=0.1)}, "above 2q / \\(m \\+ 2q\\) = 0.1818"),
        ({"common": pmlmm.Ridge(1.0, mean=2.0)}, "only the intercept"),
    ],
)
def test_priors_that_do_not_fit(design, priors, words):
    with pytest.raises(PriorError, match=words):
        resolve(design, priors, standardize=True)


def test_collinear_unpenalised_columns(sleepstudy):
    design = build_design("Reaction ~ Days + I(2 * Days) + (1 | Subject)", sleepstudy)
    with pytest.raises(DataError, match=r"'Days', 'I\(2 \* Days\)' are collinear"):
        resolve(design, {"common": pmlmm.Flat()}, standardize=True)
    resolve(design, {"common": pmlmm.Ridge()}, standardize=True)


def test_priors_must_be_a_mapping(design):
    with pytest.raises(PriorError, match="must be a dict"):
        resolve(design, "common", standardize=True)


def test_common_without_members(sleepstudy):
    design = build_design("Reaction ~ 1 + (Days | Subject)", sleepstudy)
    with pytest.raises(PriorError, match="no fixed effect is left"):
        resolve(design, {"common": pmlmm.Ridge()}, standardize=True)


def test_constant_column(sleepstudy):
    design = build_design("Reaction ~ k + (Days | Subject)", sleepstudy.assign(k=2.0))
    with pytest.raises(DataError, match="'k' is constant"):
        resolve(design, None, standardize=True)
