"""README, docs and examples run as they are written."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from tests.processes import run_here

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = [page for page in PAGES if "```{code-cell}" in page.read_text()]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# a block of the README, and the output that it shows; a cell of the site, which shows its output when it is built
BLOCK = r"```python\n(.*?)```(?:\n\n<!-- output -->\n```text\n(.*?)```)?"
CELL = r"```\{code-cell\}\n(?::.*\n)*(.*?)```"


@pytest.fixture
def run_block(monkeypatch, tmp_path):
    """Runs Python of a page in one namespace and a folder of its own, without a screen, and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace: dict = {}

    def run(block, page):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block, str(page), "exec"), namespace)
        return printed.getvalue()

    yield run
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def test_the_readme_runs_and_prints_what_it_shows(run_block):
    page = ROOT / "README.md"
    for block, shown in re.findall(BLOCK, page.read_text(), flags=re.DOTALL):
        printed = run_block(block, page)
        assert not shown or printed == shown


# az.loo and logo warn of one influential subject of sleepstudy, as the page says
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED, ids=lambda p: p.name)
def test_cells_of_the_site_run_in_order(page, run_block):
    for cell in re.findall(CELL, page.read_text(), flags=re.DOTALL):
        run_block(cell, page)


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda p: p.name)
def test_python_on_the_site_is_executed_and_shows_values(page):
    text = page.read_text()
    assert "```python" not in text, "a block that would show no output: make it a {code-cell}"
    assert ("{code-cell}" in text) == text.startswith("---\nfile_format: mystnb\n")
    assert not re.search(r"^\s*assert |\.testing\.assert", text, flags=re.MULTILINE), "show the value instead"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name)
def test_examples_run(example):
    assert run_here(example)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_files_exist(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if not target.startswith("http"):
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def anchors(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_names_the_command_that_exists():
    text = (ROOT / "README.md").read_text()
    assert 'pmlmm fit sleepstudy "Reaction ~ Days + (Days | Subject)"' in text
    assert "uv run pytest" in text
    assert (ROOT / ".ci" / "run").read_text().count("uv run pytest") == 1
