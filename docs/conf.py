"""The documentation site: ``uv run --group docs sphinx-build -W docs docs/_build``."""

import os
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

ROOT = str(Path(__file__).parents[1])
sys.path.insert(0, ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])  # for kernels

import pmlmm  # noqa: E402

project = "pmlmm"
author = "the pmlmm developers"
version = release = pmlmm.__version__
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "studies/results/*", "gallery/*.ipynb", "jupyter_execute"]
html_theme = "pydata_sphinx_theme"
html_title = "pmlmm"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
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
# pages run anew at every build, so what they show is what this version of pmlmm does
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True
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
    "write_computation_times": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "within_subsection_order": ExplicitOrder(
        [
            "first_fit.py",
            "trial_with_dropout.py",
            "growth_curves.py",
            "ranking_genes.py",
            "when_lmer_refuses.py",
            "reading_hyperparameters.py",
            "laplace_and_nuts.py",
            "omics_covariates.py",
            "crossed_factors.py",
        ]
    ),
}
