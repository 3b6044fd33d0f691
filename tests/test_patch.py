"""How a patch shows itself: one line in a terminal, a picture with its scale in a notebook."""

import io
import re
from base64 import b64decode

import numpy as np
from PIL import Image

from solquery.grey import grey_png, stretched
from solquery.patch import Patch


def patch(**changes):
    field = np.zeros((20, 40), np.float32)
    field[2:6, 3:9], field[12:16, 30:36] = 800.0, -1200.0
    known = {"t_rec": "2011.02.15_02:00:00_TAI", "latitude_deg": -20.0, "longitude_deg": 12.0}
    return Patch(field, (0.5, 1.0), "sharp-377", "HARP <377>", "real", **(known | changes))


def test_a_patch_is_one_line():
    assert repr(patch()) == ("<Patch 'sharp-377': 20 x 40, 10 x 40 Mm, real, radial, 2011.02.15_02:00:00_TAI>")
    assert repr(Patch(np.zeros((3, 4)), None, "g", "GEN", "generated")) == "<Patch 'g': 3 x 4, generated, radial>"


def test_a_notebook_shows_its_picture_with_scale_and_numbers():
    text = patch()._repr_html_()
    assert "40 × 10 Mm" in text and "-1,200 to 800 G" in text and "latitude -20.0°" in text
    assert "HARP &lt;377&gt;" in text and "<377>" not in text
    image = Image.open(io.BytesIO(b64decode(re.search(r"base64,([^\"]+)", text)[1])))
    assert image.size == (40, 20)
    shown = np.asarray(image)
    assert shown[-1 - 3, 5] > 200 and shown[-1 - 13, 32] < 20, "north is up: row 0 of the field is the lowest"
    bare = Patch(np.full((3, 4), np.nan), None, "g", "GEN", "generated")._repr_html_()
    assert "no physical scale" in bare and "latitude" not in bare and bare.count(" G</td>") == 1
    assert "count as 0 G" in bare, "the only field told is that of missing pixels"


def test_a_large_field_is_thinned_out():
    image = Image.open(io.BytesIO(grey_png(np.zeros((300, 1400)))))
    assert max(image.size) <= 512 and (np.asarray(image) == 128).all()
    assert stretched(np.array([np.nan, 5000.0])).tolist() == [0.0, 1.0]
