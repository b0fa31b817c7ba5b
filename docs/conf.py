"""Settings of the course's pages: `make site` builds them into site/."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import sslcourse  # noqa: E402

project = "sslcourse"
author = "The sslcourse authors"
copyright = "2026, the sslcourse authors; MIT licence"
version = release = sslcourse.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "lesson_pages",
    "result_tables",
    "docstrings",
]
exclude_patterns = ["runs", "pictures"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
# A whole formula may stand on one line of text and a price in dollars may not: `$` is always a formula here.
myst_dmath_double_inline = True

smartquotes = False  # a table prints what the result files say, to the letter

html_theme = "furo"
html_title = "sslcourse"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_copy_source = False
copybutton_selector = "div.highlight pre"
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "default"
pygments_dark_style = "github-dark"
html_theme_options = {"navigation_with_keys": True, "footer_icons": []}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False  # PyTorch's own words are in its own reference
python_maximum_signature_line_length = 88
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
