"""
Ask for a flux, and keep the answer
===================================

A patch of 2e22 Mx whose leading polarity is negative is asked for with its unit, measured, and written as a FITS file
that sunpy reads.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import sunpy.map

import solquery as sq

model = sq.Model.load()
answer = sq.generate(model, {"tuf": "2e22 Mx", "polarity": -1}, seed=2)[0]
path = sq.write_fits(answer, Path(tempfile.mkdtemp()) / "asked.fits")
print(answer.verdict, f"asked {answer.requested['tuf']:.2e} Mx, measured {answer.measured['tuf']:.2e} Mx")

# %%
# The file says that the image was generated. Its place and time are nominal: a map needs them, a drawing has none.

loaded = sunpy.map.Map(path)
print(loaded.meta["source"], "; nominal:", loaded.meta["nominal"])
figure, axes = plt.subplots(figsize=(4.5, 4), layout="constrained")
shown = axes.imshow(loaded.data, cmap="gray", vmin=-1000, vmax=1000, origin="lower")
axes.set_title(answer.to_patch().region, fontsize=8)
figure.colorbar(shown, label="G")
plt.show()
