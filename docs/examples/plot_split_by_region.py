"""
Split an archive by region
==========================

Frames of one region are near-duplicates, so training and test must not share any: the archive is split by region, and
the rule is written beside each patch.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile
import warnings

import matplotlib.pyplot as plt

import solquery as sq

archive = sq.Archive.create(tempfile.mkdtemp() + "/archive")
archive.add(sq.sample_patches())
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # twelve regions are few for a split
    shares = sq.split(archive, (0.6, 0.2, 0.2), seed=1)
print(shares)

# %%
# Whatever reads an archive takes the condition, a training too (``solquery train generator --where "split =
# 'train'"``).

rows = archive.table(["id", "region", "split"], where="source = 'real'").to_pylist()[:6]
figure, axes = plt.subplots(1, 6, figsize=(10, 2.2), layout="constrained")
for axis, row in zip(axes, rows, strict=True):
    axis.imshow(archive[row["id"]].field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(row["split"], fontsize=8)
    axis.set_axis_off()
plt.show()
