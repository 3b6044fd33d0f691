"""Sphinx: `make docs` builds docs/_build/html from Markdown, docstrings and the command line itself."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ["MPLBACKEND"] = "Agg"

from sphinx.ext.autosummary import autosummary_toc  # noqa: E402

from solquery import __version__  # noqa: E402

project = "Solquery"
author = "The Solquery developers"
copyright = f"{author}; data courtesy of NASA/SDO and the HMI science team"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "cli_reference",
    "mathml",
    "project_pages",
    "registry_reference",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "_build",
    "examples",
    "models/notes",
    "gallery/*.ipynb",
    "gallery/*.py",
    "gallery/*.zip",
    "sg_execution_times.rst",
]
templates_path = ["_templates"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "Solquery"
html_static_path = ["_static"]
html_css_files = ["cards.css"]
default_role = "code"
smartquotes = False  # --host is no dash

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
# links from a page to a file of the repository that is no page (a table, a script) are downloads
myst_all_links_external = False

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "matplotlib_animations": False,
}
warnings.filterwarnings("ignore", category=DeprecationWarning, module="sphinx_gallery")
# functions in the gallery's settings cannot be cached; some names are offered by two modules
suppress_warnings = ["config.cache", "ref.python"]


def _bars_are_text(app, what, name, obj, options, lines) -> None:
    """|z| in a docstring is a length, and no substitution of reStructuredText."""
    lines[:] = [line.replace("|", "\\|") if "``" not in line else line for line in lines]


#: folders whose pages are listed elsewhere, or are none
_LISTED = ("how-to/", "models/", "api/", "project/", "gallery/", "examples/", "_build/")


def _pages_without_a_place(app, docname, source) -> None:
    """A page that the index does not name yet is listed under "How-to", so that a new one is never lost."""
    if docname != "index":
        return
    pages = sorted(path.relative_to(HERE).with_suffix("").as_posix() for path in HERE.rglob("*.md"))
    named = set(source[0].split())
    others = [page for page in pages if page != "index" and page not in named and not page.startswith(_LISTED)]
    source[0] = source[0].replace("<!-- other pages -->", "\n".join(others))


def _modules_are_not_in_the_sidebar(app, doctree) -> None:
    """The tables of the API reference lead to its 300 pages; a sidebar with all of them took most of the build."""
    for node in list(doctree.findall(autosummary_toc)):
        node.parent.remove(node)


def setup(app) -> None:
    # before the entries of a page are collected
    app.connect("doctree-read", _modules_are_not_in_the_sidebar, priority=100)
    app.connect("source-read", _pages_without_a_place)
    app.connect("autodoc-process-docstring", _bars_are_text)
