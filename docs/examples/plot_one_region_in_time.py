"""
All frames of one region, as a table
====================================

The frames of a region in an archive, with flux, its error and the separation of the polarities. For an observed
region the condition is ``"array_has(noaa, 11158)"`` or ``"harpnum = 377"``; here it is a simulated one.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import solquery as sq

archive = sq.Archive.create(tempfile.mkdtemp() + "/archive")
archive.add(sq.simulate_region(seed=5, index=3, frames=6))
region = archive.table(["region"])["region"][0].as_py()

frames = list(archive.patches(f"region = '{region}'"))
table = sq.qtable(frames, ["flux", "psep"], errors=True)
print(table["t_rec", "flux", "flux_error", "psep"])

# %%
# Three of the frames, and the flux with its standard error.

figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
for axis, k in zip(axes, (0, 2, 5), strict=False):
    axis.imshow(frames[k].field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(frames[k].t_rec[:16], fontsize=8)
    axis.set_axis_off()
axes[3].errorbar(np.arange(len(table)), table["flux"].value, table["flux_error"].value, fmt="o-", markersize=3)
axes[3].set(xlabel="frame", ylabel="flux (Mx)", ylim=(0, None))
plt.show()
