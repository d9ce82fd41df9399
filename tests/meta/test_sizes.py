"""Functions and modules stay small enough to be read in one go."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

SOURCE = Path(__file__).resolve().parents[2] / "src" / "cpm"
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60
# The median function of code worth living in.
USUAL_LINES_OF_A_FUNCTION = 11


def _modules() -> Iterator[Path]:
    return (path for path in SOURCE.rglob("*.py") if "migrations" not in path.parts)


def _functions() -> Iterator[tuple[str, int]]:
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path.relative_to(SOURCE)}:{node.name}", lines


def test_no_module_is_long() -> None:
    lines = {str(path): len(path.read_text().splitlines()) for path in _modules()}
    assert {path: n for path, n in lines.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_no_function_is_long_and_most_are_short() -> None:
    functions = list(_functions())
    assert [each for each in functions if each[1] > MOST_LINES_OF_A_FUNCTION] == []
    assert median(lines for _, lines in functions) <= USUAL_LINES_OF_A_FUNCTION


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path) for path in _modules() if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
