"""Groups by one factor and by several."""

import numpy as np
import pytest

import pmlmm
from pmlmm.design.design import build_design


def test_combined_labels_must_be_told_apart(table):
    ambiguous = table.assign(a=np.where(table.index < 10, "u", "u:v"), b=np.where(table.index < 10, "v:w", "w"))
    with pytest.raises(pmlmm.DataError, match=r"ambiguous once joined.*both read 'u:v:w'"):
        build_design("y ~ x + (1 | a:b)", ambiguous)


def test_nested_labels_may_repeat(table):
    design = build_design("y ~ x + (1 | g/h)", table.assign(h=np.where(np.arange(20) % 8 < 4, "a", "b")))
    assert [term.name for term in design.terms] == ["g", "g:h"]
    assert design.terms[1].grouping.labels.tolist() == ["0:a", "0:b", "1:a", "1:b", "2:a", "2:b", "3:a", "3:b"]


def test_factors_that_are_one_partition(table):
    same = table.assign(h=table["g"].map("abcd".__getitem__))
    with pytest.raises(pmlmm.DataError, match="'g' and 'h' make the same 4 groups"):
        build_design("y ~ x + (1 | g) + (1 | h)", same)
    with pytest.raises(pmlmm.DataError, match="'g' and 'g:h' make the same 4 groups"):
        build_design("y ~ x + (1 | g/h)", same)
