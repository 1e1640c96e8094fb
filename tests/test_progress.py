"""Lines for whoever waits."""

import io
import sys

import pytest

import pmlmm
from pmlmm import progress
from pmlmm.errors import OptionError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def at_a_terminal(monkeypatch):
    """Not a fixture: pytest has a stderr of its own for every phase of a test."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    return sys.stderr


def test_a_line_after_a_while_that_is_gone_at_the_end(monkeypatch):
    terminal = at_a_terminal(monkeypatch)
    clock = iter([0.0, 1.0, 2.5, 2.5, 2.6, 3.0, 3.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.reporting(None, "fit") as line:
        for text in ("early", "late", "too soon", "next"):
            line(text)
    assert terminal.getvalue() == "\r\x1b[2Klate\r\x1b[2Knext\r\x1b[2K"


def test_a_quick_fit_and_a_pipe_are_silent(sleepstudy, monkeypatch):
    terminal = at_a_terminal(monkeypatch)
    model = pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy)
    monkeypatch.setattr(progress, "_PATIENCE", 1000.0)
    model.fit(integrate=False)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    model.fit(integrate=False, progress=False)
    assert terminal.getvalue() == ""
    model.fit(integrate=False)
    assert "Laplace evidence: " in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    model.fit(integrate=False)
    assert sys.stderr.getvalue() == ""


def test_a_notebook_rewrites_one_output(monkeypatch):
    IPython = pytest.importorskip("IPython")
    shown = []

    class Handle:
        def update(self, text, raw):
            shown.append(text["text/plain"])

    def display(text, raw, display_id):
        shown.append(text["text/plain"])
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setitem(sys.modules, "ipykernel", IPython)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_BETWEEN", 0.0)
    with progress.reporting(True, "fit") as line:
        line("a")
        line("b")
    assert shown == ["a", "b", ""]


def test_what_is_no_progress(sleepstudy):
    with pytest.raises(OptionError, match=r"fit\(progress='yes'\): a function of a line"):
        pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy).fit(progress="yes")


# as few draws as here
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution:UserWarning")
def test_what_may_take_long_says_how_far_it_is(sleep_fit):
    said: list[str] = []
    sleep_fit.integrate(draws=200, progress=said.append)
    assert said[0] == "integrating the hyperparameters out, round 1"
    sleep_fit.profile("b[Subject]", points=3, progress=said.append)
    assert said[-1] == "profile: 3 of 3 points"
    sleep_fit.logo(draws=25, progress=said.append)
    assert said[-1] == "leaving groups out: 99 of 100 draws"
