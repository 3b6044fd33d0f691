"""The table of generated patches beside the archive: its last column is a share, and says nothing only of nothing."""

import re

import numpy as np
import pytest

from solquery.study.describe_sections import population
from solquery.study.reproduce_retrieval import _beside


def cells(name, made, kept):
    told = {"model": {"physical": False}, "stages": {"table": {"population": {name: _beside(made, kept)}}}}
    return re.findall(r"<td>(.*?)</td>", population(told, {}))


def test_the_last_column_is_the_share_within_nine_tenths_of_the_archive():
    kept = np.append(np.arange(1000.0), np.nan)
    made = np.concatenate([np.full(30, 500.0), np.full(6, -1.0), np.full(4, 990.0), [np.nan]])
    assert _beside(made, kept)["within"] == pytest.approx(30 / 40)
    assert cells("tuf", made, kept)[0] == "TUF" and cells("tuf", made, kept)[-1] == "75 %"


@pytest.mark.parametrize(("made", "kept"), [([np.nan], [1.0, 2.0]), ([1.0], [np.nan])])
def test_it_is_a_dash_where_one_side_has_no_value(made, kept):
    assert cells("r", np.array(made), np.array(kept))[-1] == "–"
