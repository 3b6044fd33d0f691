"""
Search with a sunpy Map
=======================

A Map that you have open already is the query: no file, no conversion. The matches know their archive, so they can
draw themselves and give their parameters as a table with units.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import solquery as sq

model = sq.Model.load()
archive = sq.Archive.create(tempfile.mkdtemp() + "/archive")
archive.add(sq.sample_patches())
sq.embed_archive(archive, model)

observation = next(patch for patch in sq.sample_patches() if patch.region == "HARP 856").to_map()
matches = sq.search(archive, model, observation, k=4, exclude_region="HARP 856")
print(matches.qtable(["tuf", "psep"])["region", "tuf", "psep", "distance"])

# %%
# `matches.plot()` gives a figure of its own; here the same pictures lie in one that pyplot shows.

figure, axes = plt.subplots(1, 5, figsize=(10, 2.5), layout="constrained")
fields = [np.asarray(observation.data), *(patch.field for patch in matches.patches())]
for axis, field, title in zip(axes, fields, ["query", *(match.region for match in matches)], strict=True):
    axis.imshow(field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()
plt.show()
