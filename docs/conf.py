"""How Sphinx builds the site: `python -m sphinx -W --keep-going -b html docs build/site` (extra `docs`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]  # `generated`, and the tables of options it reads

from kcompile import __version__  # noqa: E402

project = "kcompile"
author = "the authors of kcompile"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
exclude_patterns = ["**.py"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # links to headings, as they are written for readers of the files
suppress_warnings = ["config.cache"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = True
default_role = "code"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"kcompile {release}"
html_copy_source = False
html_show_sourcelink = False
pygments_style = "default"
