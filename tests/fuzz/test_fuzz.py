"""The first cases of the fuzz test; ``python -m tests.fuzz 10000`` runs many more."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tests.fuzz.check import check
from tests.fuzz.generate import case

CASES = range(40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", CASES)
def test_a_case_ends_in_a_sound_fit_or_in_a_plain_refusal(seed):
    outcome = check(seed)
    assert not outcome.faults, f"{case(seed)}\n" + "\n".join(f"{kind}: {detail}" for kind, detail in outcome.faults)


def test_a_case_is_made_by_its_number_alone():
    for seed in CASES:
        first, again = case(seed), case(seed)
        assert str(first) == str(again)
        assert _cells(first.data) == _cells(again.data)
        for name, block in (first.penalized or {}).items():
            np.testing.assert_array_equal(_dense(block), _dense(again.penalized[name]))


def _cells(data):
    names = (
        data.column_names if isinstance(data, pa.Table) else data.columns if isinstance(data, pl.DataFrame) else data
    )
    return {name: list(map(str, data[name])) for name in names}


def _dense(block):
    return block.toarray() if hasattr(block, "toarray") else np.asarray(block)
