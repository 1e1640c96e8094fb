"""What notebooks and browsers show: whole, without anything from elsewhere, no text of the user taken for markup."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import OptionError

VOID = {"meta", "link", "img", "br"}


class Checked(HTMLParser):
    """Every tag is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(2)
    labels = ["<script>alert(1)</script>", "a & b", '"quoted"', "d"]
    data = pd.DataFrame({"g": np.repeat([f"{a}{k}" for k in range(5) for a in labels], 4)})
    data["x"] = np.tile([0.0, 1.0, 2.0, 3.0], 20)
    data["kind"] = rng.choice(["a", "<i>"], 80)
    data["y"] = 2.0 + data["x"] + np.repeat(rng.normal(size=20), 4) + rng.normal(size=80)
    return pmlmm.Model("y ~ x + kind + (1 + x | g)", data).fit(integrate=False)


def test_representations(fit):
    for thing in (fit, fit.model):
        page = Checked(thing._repr_html_())
        assert not {"script", "b", "i"} & set(page.tags)
        text = " ".join(page.words)
        assert "y ~ x + kind + (1 + x | g)" in text
        assert "80 rows, 20 groups of g" in text
    assert "kind[T.&lt;i&gt;]" in fit._repr_html_() or "kind[T.a]" in fit._repr_html_()
    assert f"{float(fit.mean['beta'][1]):.4g}" in fit._repr_html_()


@pytest.mark.slow
def test_of_a_comparison(fit):
    comparison = pmlmm.compare(fit, fit.sample(100, chains=2, tune=50, progress=False))
    page = Checked(comparison._repr_html_())
    assert " ".join(comparison.verdict.split()) in " ".join(" ".join(page.words).split())


@pytest.mark.slow
def test_a_report_by_itself(fit, tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    fit.report(tmp_path / "fit.html")
    assert pyplot.get_fignums() == before
    text = (tmp_path / "fit.html").read_text(encoding="utf-8")
    page = Checked(text)
    assert not {"script", "i"} & set(page.tags)
    assert all(source.startswith("data:") for source in page.sources)
    assert page.tags.count("img") == 6
    for words in (
        "Estimates",
        "Pictures",
        "Priors",
        "Evidence and diagnostics",
        "Pareto k-hat",
        "Checks of the residuals",
    ):
        assert words in page.words or any(words in said for said in page.words)


def test_a_report_of_a_model_without_groups(tmp_path, sleepstudy):
    pmlmm.Model("Reaction ~ 1", sleepstudy).fit().report(tmp_path / "fit.html")
    Checked((tmp_path / "fit.html").read_text(encoding="utf-8"))


def test_other_names_of_files(fit):
    with pytest.raises(OptionError, match=r"'fit\.pdf': what is written is HTML; .* such as fit\.html"):
        fit.report("fit.pdf")


def test_what_print_says_of_response_and_priors_a_page_says_too(tmp_path, sleepstudy):
    model = pmlmm.Model("slow ~ Days + (1 | Subject)", sleepstudy.assign(slow=sleepstudy["Reaction"] > 300))
    fit = model.fit()
    fit.report(tmp_path / "slow.html")
    words = "fitted as Gaussian (a linear probability model)"
    page = (tmp_path / "slow.html").read_text()
    assert all(words in text for text in (model._repr_html_(), fit._repr_html_(), page))
    assert "eta - q + 1 ~ LogNormal(log 3, 1.5)" in page
