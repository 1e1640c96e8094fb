"""How the rooms of pmlmm hang together, read from the source: what may import what, and what stays private."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pmlmm

PACKAGE = Path(pmlmm.__file__).parent

# From the bottom up. A room imports only what stands above it in this list; rooms on one line do not import each other.
ORDER = (
    ("errors",),
    ("options", "files", "memory", "progress"),
    ("kernels",),
    ("design",),
    ("datasets",),
    ("priors",),
    ("crossproducts",),
    ("problem",),
    ("graph", "inference"),
    ("posterior",),
    ("report",),  # below checks: a comparison draws itself
    ("checks",),
    ("saving",),
    ("fit",),
    ("marginaleffects",),
    ("model",),
    ("simulate", "sklearn"),
    ("terminal",),
    ("cli_options",),
    ("cli",),
)
# Places where the code does not keep to the rules yet, each with its reason. Only ever shorter.
EXCEPTIONS: dict[str, set[str]] = {
    "rooms": set(),
    "private names": set(),
    "private attributes": set(),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text())


@cache
def imports(module: str) -> tuple[tuple[str, str], ...]:
    """(module of ours, name or "") of every import, deferred ones and those for types included."""
    found = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "pmlmm"]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "pmlmm":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append((whole, "") if whole in PATHS else (node.module, alias.name))
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} imports relatively"
    return tuple(found)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_there_is_no_circle():
    """An import within a function, or for the type checker alone, counts too."""
    below = {module: {target for target, _ in imports(module)} - {module} for module in PATHS}
    done: set[str] = set()

    def visit(module, above):
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for target in sorted(below[module]):
                visit(target, [*above, module])
            done.add(module)

    for module in PATHS:
        visit(module, [])


def test_every_room_has_its_place():
    assert {room(module) for module in PATHS} - {""} == {name for names in ORDER for name in names}


def test_rooms_import_only_what_stands_below_them():
    place = {name: at for at, names in enumerate(ORDER) for name in names}
    wrong = {
        f"{module} -> {target}"
        for module in PATHS
        for target, _ in imports(module)
        if module != "pmlmm" and (own := room(module)) != (other := room(target))
        if not other or place[other] >= place[own]
    }
    assert wrong == EXCEPTIONS["rooms"]


PUBLIC = {"_fields", "_replace", "_asdict"}  # of a NamedTuple, as its documentation says


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def test_no_private_name_is_imported():
    wrong = {
        f"{module}: {target}.{name}" for module in PATHS for target, name in imports(module) if private(name or target)
    }
    assert wrong == EXCEPTIONS["private names"]


def own_names(module: str) -> set[str]:
    """Private names that the module itself defines, as functions, variables or attributes of its classes."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def test_no_private_attribute_of_another_module_is_used():
    """``x._name`` where x is neither self nor cls, and the module itself defines no such name."""
    wrong = {
        f"{module}: {ast.unparse(node)}"
        for module in PATHS
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own_names(module)
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }
    assert wrong == EXCEPTIONS["private attributes"]


@pytest.mark.parametrize("module", PATHS)
def test_every_module_says_in_a_sentence_what_it_is(module):
    text = ast.get_docstring(tree(module)) or ""
    assert re.match(r"[A-Z`].*[.:]$", text.split("\n")[0]), text


LIGHT = ("design", "priors", "crossproducts", "kernels", "inference", "posterior")


def test_numbers_need_neither_pytensor_nor_pymc():
    """All of fitting up to the posterior does without them; they take seconds to load."""
    names = [name for name in PATHS if room(name) in LIGHT]
    code = "\n".join(f"import {name}" for name in names)
    code += "\nimport sys\nprint(*{'pytensor', 'pymc'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr
