"""How the house is laid out: modules a folder, lengths of files and functions, docstrings, tests.

    python benchmarks/layout.py [FOLDER] [--against OTHER]
    python benchmarks/layout.py   # the smallest

FOLDER: a checkout, this one by default. OTHER: another, for a table of before and after. Exits with 1
where a folder of FOLDER holds over 18 modules; colorization/networks, one file a network, may.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("flows", "tasks", "colorization", "storage", "chromaflow")
MOST, MANY = 18, "colorization/networks"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What was counted of one checkout."""

    folders: Counter[str]
    """Folder → its modules, without `__init__`."""
    file_lines: list[int]
    function_lines: list[int]
    """Without docstrings and decorators."""
    documented: float
    """Share of public modules, classes, functions and methods with a docstring."""
    test_lines: int

    def rows(self) -> dict[str, str]:
        """What the table shows, by its heading."""
        lengths = sorted(self.function_lines)
        return {
            "modules": str(sum(self.folders.values())),
            "folders": str(len(self.folders)),
            "modules in the fullest folder": "{1} ({0})".format(*self.fullest()),
            "lines": f"{sum(self.file_lines):,}",
            "file, median": f"{statistics.median(self.file_lines):.0f}",
            "file, longest": str(max(self.file_lines)),
            "function, median": f"{statistics.median(lengths):.0f}",
            "function, 90%": str(lengths[int(0.9 * len(lengths))]),
            "docstrings": f"{self.documented:.0%}",
            "test : code": f"{self.test_lines / sum(self.file_lines):.2f}",
        }

    def fullest(self) -> tuple[str, int]:
        """The folder with most modules, networks aside."""
        return max(((n, c) for n, c in self.folders.items() if n != MANY), key=lambda row: row[1])


def measure(root: Path) -> Layout:
    """Count a checkout."""
    files = [path for name in PACKAGES for path in sorted((root / name).rglob("*.py"))]
    trees = [ast.parse(path.read_bytes()) for path in files]
    public = [told for tree in trees for told in _public(tree)]
    modules = [path for path in files if path.name != "__init__.py"]
    return Layout(
        folders=Counter(path.parent.relative_to(root).as_posix() for path in modules),
        file_lines=[_num_lines(path) for path in modules],
        function_lines=[_length(f) for tree in trees for f in ast.walk(tree) if _is_function(f)],
        documented=sum(public) / len(public),
        test_lines=sum(_num_lines(path) for path in (root / "tests").rglob("*.py")),
    )


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _num_lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _length(function: ast.AST) -> int:
    assert isinstance(function, Function)
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 1
    return (body[-1].end_lineno or 0) - body[0].lineno + 2


def _public(tree: ast.Module) -> list[bool]:
    """Whether each public thing of a module has a docstring."""
    told = [bool(ast.get_docstring(tree))]
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            told.append(bool(ast.get_docstring(node)))
            if isinstance(node, ast.ClassDef):
                methods = (m for m in node.body if isinstance(m, Function))
                told += [bool(ast.get_docstring(m)) for m in methods if not m.name.startswith("_")]
    return told


def main() -> int:
    """Print the table; 1 if a folder is too full."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--against", type=Path, help="another checkout, the one before")
    options = parser.parse_args()
    layout = measure(options.folder)
    columns = [measure(options.against).rows()] if options.against else []
    columns.append(layout.rows())
    print("| | " + " | ".join(["before", "after"] if options.against else ["now"]) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for heading in columns[0]:
        print(f"| {heading} | " + " | ".join(column[heading] for column in columns) + " |")
    print("\n" + "\n".join(f"{count:3} {name}" for name, count in sorted(layout.folders.items())))
    name, count = layout.fullest()
    print(f"{name} has {count} modules, {MOST} allowed")
    return int(count > MOST)


if __name__ == "__main__":
    sys.exit(main())
