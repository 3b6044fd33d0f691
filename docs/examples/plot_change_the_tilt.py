"""
Change an observed region's tilt, and search again
==================================================

An observation is inverted, its tilt is changed while its flux is held, and the archive is asked for what looks like
the changed region.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile
import warnings

import matplotlib.pyplot as plt

import solquery as sq

model = sq.Model.load()
archive = sq.Archive.create(tempfile.mkdtemp() + "/archive")
archive.add(sq.sample_patches())
sq.embed_archive(archive, model)

observed = sq.sample_patches()[3]
with warnings.catch_warnings():
    # an observation is far from what the generator was trained on
    warnings.simplefilter("ignore", sq.SteeringWarning)
    found = sq.invert(model, observed, starts=2, steps=40)[0]
    changed = sq.generate(model, {"tilt": "30 deg"}, hold="tuf", start=found.z, nearest=True)[0]
for name in ("tilt", "tuf"):
    before, after = (model.measure(one, name)[name][0] for one in (found, changed))
    print(f"{name}: {before:.3g} to {after:.3g}")

# %%
# The changed region is a drawing, and in no archive: its matches are ordered by the embedding alone.

match = sq.search(archive, model, changed, k=1)[0]
figure, axes = plt.subplots(1, 4, figsize=(9, 2.8), layout="constrained")
pictures = (
    ("observed", observed.field),
    ("reconstructed", found.to_patch().field),
    ("tilt changed", changed.to_patch().field),
    (f"nearest: {match.region}", archive[match].field),
)
for axis, (title, field) in zip(axes, pictures, strict=True):
    axis.imshow(field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()
plt.show()
