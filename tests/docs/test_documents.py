"""README, docs and examples run as they are written."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.processes import run_here

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES_WITH_CODE = [page for page in PAGES if "```python" in page.read_text()]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# a block of Python, and the output that the page shows for it
BLOCK = r"```python\n(.*?)```(?:\n\n<!-- output -->\n```text\n(.*?)```)?"


# az.loo and logo warn of one influential subject of sleepstudy, as the page says
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution:UserWarning")
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda p: p.name)
def test_python_blocks_run_in_order(page):
    namespace: dict = {}
    for block, shown in re.findall(BLOCK, page.read_text(), flags=re.DOTALL):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(page), "exec"), namespace)
        assert not shown or printed.getvalue() == shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name)
def test_examples_run(example):
    assert run_here(example)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_files_exist(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_names_the_command_that_exists():
    text = (ROOT / "README.md").read_text()
    assert 'pmlmm fit sleepstudy "Reaction ~ Days + (Days | Subject)"' in text
    assert "uv run pytest" in text
    assert (ROOT / ".ci" / "run").read_text().count("uv run pytest") == 1
