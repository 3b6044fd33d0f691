"""
Find observations
=================

An archive of the twelve shipped observations and a few simulated regions, and a search in it: first by an observation,
with its own region left out, then by a patch that was only described.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import solquery

folder = tempfile.mkdtemp()
archive = solquery.Archive.create(folder + "/archive")
archive.add(solquery.sample_patches())
for index in range(8):
    archive.add(solquery.simulate_region(seed=11, index=index, frames=2))
model = solquery.Model.load()
solquery.embed_archive(archive, model)

observed = next(patch for patch in solquery.sample_patches() if patch.region == "HARP 856")
(own,) = solquery.prepare_many([observed], model.preset)
(described,) = solquery.generate(model, "weak, compact bipole", seed=1)

# %%
# Each row is a query and its best matches, one of each region.


def show(axis, grid, title):
    axis.imshow(model.preset.to_gauss(np.asarray(grid)), cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


figure, axes = plt.subplots(2, 5, figsize=(9, 4.2), layout="constrained")
queries = (("HARP 856", own, "HARP 856"), ("described", described.x, None))
for row, (name, query, leave_out) in zip(axes, queries, strict=True):
    show(row[0], query, f"query: {name}")
    for axis, match in zip(row[1:], solquery.search(archive, model, query, k=4, exclude_region=leave_out), strict=True):
        (grid,) = solquery.prepare_many([archive.get(match.id)], model.preset)
        show(axis, grid, f"{match.region}\n{match.row['source']}, {match.distance:.2f}")
plt.show()

# %%
# The condition is SQL on the columns of the archive: here, only what was observed, by looks and physics together.

for match in solquery.search_hybrid(archive, model, described.x, k=3, where="source = 'real'"):
    print(match.region, match.row["t_rec"], f"{match.row['tuf']:.2e} Mx", f"{match.distance:.2f}")
