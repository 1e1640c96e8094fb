"""The documentation site: ``uv run --group docs sphinx-build -W docs docs/_build``."""

from sphinx_gallery.sorting import ExplicitOrder

import pmlmm

project = "pmlmm"
author = "the pmlmm developers"
version = release = pmlmm.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "studies/results/*"]
html_theme = "pydata_sphinx_theme"
html_title = "pmlmm"
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "talk", "comparison", "mathematics", "api")}
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 6,
}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]
numpydoc_show_class_members = False
autosummary_generate = True
autodoc_typehints = "none"
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "capture_repr": (),
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "within_subsection_order": ExplicitOrder(
        [
            "first_fit.py",
            "when_lmer_refuses.py",
            "reading_hyperparameters.py",
            "laplace_and_nuts.py",
            "omics_covariates.py",
            "crossed_factors.py",
        ]
    ),
}
