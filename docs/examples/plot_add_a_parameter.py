"""
Add a parameter, and filter by it
=================================

One decorated function is a parameter everywhere: it is measured, kept in archives and asked for by name.
"""

# sphinx_gallery_thumbnail_number = 1
import tempfile

import matplotlib.pyplot as plt

import solquery as sq


@sq.parameter("strong_share", "", title="Share of strong field", replace=True)
def strong_share(fields, scale):
    """Share of the pixels beyond 500 G."""
    return (fields.abs() > 500).float().mean((1, 2))


archive = sq.Archive.create(tempfile.mkdtemp() + "/archive")
archive.add(sq.sample_patches())
rows = archive.table(["id", "strong_share"], where="strong_share > 0.005").to_pylist()
print(f"{len(rows)} of {len(archive)} patches have strong field in more than 0.5 % of their pixels")

# %%
# An archive that was made before gets the column with ``archive.measure(["strong_share"])``.

rows = sorted(rows, key=lambda row: -row["strong_share"])[:4]
figure, axes = plt.subplots(1, len(rows), figsize=(9, 2.8), layout="constrained", squeeze=False)
for axis, row in zip(axes[0], rows, strict=True):
    axis.imshow(archive[row["id"]].field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    axis.set_title(f"{row['strong_share']:.1%}", fontsize=9)
    axis.set_axis_off()
plt.show()
