"""Draw the pipeline (the paper's Figure 1): python scripts/make_pipeline.py [docs/pictures/pipeline.svg]."""

import sys
from pathlib import Path

from solquery.study.pipeline import pipeline_svg

if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures/pipeline.svg")
    target.write_text(pipeline_svg() + "\n", encoding="utf-8")
