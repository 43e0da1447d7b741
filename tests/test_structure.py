"""The layout keeps its promises: imports flow one way, files stay small, every test asserts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "auditor").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

CORE = {
    "answered",
    "errors",
    "types",
    "canon",
    "data",
    "case",
    "mapped",
    "merkle",
    "on_disk",
    "outputs",
    "panel",
    "pairing",
    "stored",
    "texts",
    "answers",
    "exchanges",
    "served_limits",
    "failed",
    "held",
    "progress",
    "spellings",
    "withheld",
    "watched",
}
# package -> packages of ours it may import (DESIGN, section 3); core is allowed everywhere.
ALLOWED = {
    "core": set(),
    "models": set(),
    "kernels": set(),
    "collect": {"models", "kernels"},
    "measures": {"kernels"},
    "judge": set(),
    "distill": {"models", "kernels"},
    "controls": {
        "models",
        "kernels",
        "collect",
        "measures",
        "judge",
        "distill",
        "measuring",
        "plan",
    },
    "report": set(),
    "registry": {"kernels", "models"},
    "bundle": {"measures", "judge", "report", "deviations", "frozen"},
    # The two modules that chain the stages, and the demonstration.
    "plan": {"case_watch", "collect", "judge", "models"},
    "measuring": {"measures", "judge"},
    "audit": {
        "collect",
        "measuring",
        "judge",
        "report",
        "models",
        "plan",
        "case_marks",
        "case_watch",
        "deviations",
    },
    "sealing": {"bundle", "collect", "models", "report"},
    # The plan as people write it, its lock, what departs from it, and the marks that it names.
    "plan_file": {"distill", "measures", "models", "plan", "plan_parts"},
    "plan_parts": {"distill"},
    "plan_lock": {"judge", "plan", "plan_file", "case_marks", "deviations", "frozen"},
    "frozen": set(),
    "deviations": set(),
    "case_marks": {"collect", "judge", "models", "mark_tests", "plan_file"},
    "case_watch": {"enrolment", "models"},
    "demo": {"audit", "bundle", "plan", "controls", "distill", "models", "report", "sealing"},
    "mark_tests": {"distill", "kernels", "models"},
    "measured_lineage": {"audit", "distill", "models", "plan"},
    "reproduction": {"collect"},
    "enrolment": {"collect", "judge", "models"},
    "watch_deployments": {"enrolment", "models"},
    "watch_rates": {
        "collect",
        "enrolment",
        "judge",
        "kernels",
        "models",
        "watch_baseline",
        "watch_deployments",
    },
    "fingerprint_rates": {"controls", "fingerprint", "judge", "models"},
    "watch_baseline": {"bundle", "enrolment", "judge"},
    "watch_log": set(),
    "watching": {"collect", "enrolment", "judge", "models", "watch_baseline", "watch_log"},
    "exercise": {"controls", "distill", "judge", "models"},
    "error_table": {"judge", "kernels"},
    "inherited_errors": {"collect", "distill", "error_table", "models"},
    "fingerprint": {"bundle", "collect", "judge", "kernels", "measures", "models"},
    "doctor": {"collect"},
    "bench": {"kernels", "models", "distill"},
    "cli": {"*"},
    "__main__": {"cli"},
}


# One module more than the table: recipes may name a probe suite as their prompts.
EXCEPTIONS = {("distill", "auditor.collect.suite")}


def package_of(name: str) -> str:
    first = name.removeprefix("auditor.").split(".")[0]
    return "core" if first in CORE or name == "auditor" else first


def imported_modules(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.append((node.lineno, module))
            if module == "auditor":
                found += [(node.lineno, f"auditor.{alias.name}") for alias in node.names]
    return found


def violations(source: str, owner: str) -> list[str]:
    """Return the forbidden imports of a source file, function-level ones too."""
    allowed = ALLOWED[owner]
    found = []
    for line, module in imported_modules(ast.parse(source)):
        if module.startswith("."):
            found.append(f"{line}: relative import")
        elif module.split(".")[0] == "auditor" and module != "auditor":
            target = package_of(module)
            if (owner, module) in EXCEPTIONS:
                continue
            if target not in {"core", owner} and "*" not in allowed and target not in allowed:
                found.append(f"{line}: {owner} may not import {module}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_follow_the_layout(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert violations(path.read_text(), package_of(module)) == []


@pytest.mark.parametrize(
    ("source", "owner"),
    [
        ("from auditor.models.specifier import open_model", "measures"),
        ("def f():\n    import auditor.collect.run", "report"),
        ("from .types import Probe", "core"),
        ("from auditor import models", "judge"),
    ],
)
def test_the_import_rule_sees_a_violation(source, owner):
    assert len(violations(source, owner)) == 1


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


def long_functions(source: str) -> list[str]:
    """Return functions with more than 40 lines of code, docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if length > 40:
                found.append(f"{node.name}: {length} lines")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_function_is_longer_than_40_lines(path):
    assert long_functions(path.read_text()) == []


def checks_something(function: ast.FunctionDef) -> bool:
    """Return whether a test can fail: an assert, pytest.raises/warns/fail, or assert_... call."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in {"raises", "warns", "fail"} or name.startswith("assert_"):
                return True
    return False


def test_functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


test_functions.__test__ = False  # a helper whose name pytest would collect


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_test_asserts(path):
    silent = [f.name for f in test_functions(path) if not checks_something(f)]
    assert [name for name in silent if name != "test_functions"] == []


def test_the_assert_rule_sees_approx_without_assert():
    tree = ast.parse("def test_x():\n    pytest.approx(1.0, f())\n")
    assert not checks_something(tree.body[0])


def test_data_folders_hold_no_python_but_replay():
    # replay.py is data: it goes into every case and runs there without the package. One file that
    # a stranger reads from start to end, so its length is not limited.
    found = [p for name in ("probes", "reports") for p in (ROOT / name).rglob("*.py")]
    assert found == [ROOT / "reports" / "replay" / "replay.py"]


def test_replay_imports_the_standard_library_and_numpy_only():
    source = (ROOT / "reports" / "replay" / "replay.py").read_text()
    names = {module.split(".")[0] for _, module in imported_modules(ast.parse(source))}
    assert names - sys.stdlib_module_names == {"numpy"}


def test_test_files_have_unique_names():
    # Test folders are no packages, so pytest needs distinct base names.
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_help_loads_no_heavy_library():
    code = (
        "import sys; from auditor.cli.main import run; run(['--help']); "
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'matplotlib', 'numpy'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_assert_outside_tests():
    # `python -O` removes them, so they may not guard anything.
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert found == []
