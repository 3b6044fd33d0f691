"""
Label observations by a flare list
==================================

Three observed regions, and the flares that NOAA's event lists give to them: which has a flare of class M or stronger
within 24 hours of the observation? The table is what ``solquery directions labels`` reads.
"""

# sphinx_gallery_thumbnail_number = 1
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.pyplot as plt

import solquery as sq
from solquery.archive import label_archive, read_flares

folder = Path(tempfile.mkdtemp())
archive = sq.Archive.create(folder / "archive")
archive.add(sq.sample_patches())

# %%
# An excerpt in the form in which the Heliophysics Events Knowledgebase returns flares. Fetch your own with sunpy, or
# take any file that `read_flares` names.

flares = [
    {"event_starttime": start, "event_peaktime": peak, "fl_goescls": goes_class, "ar_noaanum": number}
    for start, peak, goes_class, number in (
        ("2010-08-07T17:55:00", "2010-08-07T18:24:00", "M1.0", 11093),
        ("2014-11-06T03:32:00", "2014-11-06T03:46:00", "M5.4", 12205),
        ("2014-11-07T16:53:00", "2014-11-07T17:26:00", "X1.6", 12205),
    )
]
(folder / "hek.json").write_text(json.dumps({"result": flares}))
years = (datetime(2010, 1, 1, tzinfo=UTC), datetime(2015, 1, 1, tzinfo=UTC))
labels = label_archive(archive, read_flares(folder / "hek.json", covers=years), "M", "24h")
print(labels.write(folder / "labels.csv").read_text())
print("left out:", labels.left_out)

# %%
# The flare of 7 August 2010 was over when its region was observed: label 0. That of 2014 came 23 hours later.

rows = sorted(labels.rows, key=lambda row: row["label"])
figure, axes = plt.subplots(1, len(rows), figsize=(10, 2.6), layout="constrained")
for axis, row in zip(axes, rows, strict=True):
    axis.imshow(archive.get(row["id"]).field, cmap="gray", vmin=-800, vmax=800, origin="lower")
    after = f"{row['goes_class']} {row['hours']:.1f} h later" if row["label"] else "none of class M within 24 h"
    axis.set_title(f"{row['region']}, {row['t_utc']:%Y-%m-%d %H:%M}\nlabel {row['label']}: {after}", fontsize=8)
    axis.set_axis_off()
plt.show()
