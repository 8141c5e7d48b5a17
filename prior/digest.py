"""What code a job depends on, as a hash that comments, docstrings and unrelated modules do not change."""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
REGISTRIES = {"READERS", "METHODS", "WITHOUT_TEXT", "VARIANTS", "TASKS", "DENSE_TASKS", "SIMULATORS"}
# Files that are no modules, by the module that reads them; a protocol's knobs are settings of its jobs.
ASSETS = {
    "prior.phantom.grammar": "phantom/language/*.yaml",
    "prior.tasks.prompts": "tasks/prompts/*.yaml",
    "prior.reports.labeller": "reports/*.yaml",
    "prior.results.page": "results/page.[chj]*",
}


def code_digest(*modules: str) -> str:
    """Hash the syntax trees of `modules` and of every `prior` module that they import, directly or not.

    The `ASSETS` of these modules (templates, word lists) are hashed as they are.

    Registries (name → module path) are left out, so that a new method does not make old results stale;
    callers name the registered module that a job uses.

    Args:
        modules: dotted names such as `prior.methods.convirt`.

    Returns:
        16 hexadecimal digits.

    Raises:
        FileNotFoundError: a name is no module of the package.
    """
    seen: dict[str, str] = {}
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen:
            seen[module], imported = _parsed(module)
            queue.extend(imported)
    text = "\n".join(f"{module} {seen[module]}" for module in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(module: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*module.split("."))
    if base.with_suffix(".py").exists():
        return base.with_suffix(".py")
    return base / "__init__.py" if (base / "__init__.py").exists() else None


@cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    path = _file(module)
    if path is None:
        raise FileNotFoundError(f"no module {module}")
    tree = _Stripped().visit(ast.parse(path.read_text(encoding="utf-8")))
    digest = hashlib.sha256(ast.dump(tree).encode())
    for asset in sorted(PACKAGE.glob(ASSETS[module])) if module in ASSETS else []:
        digest.update(asset.read_bytes())
    return digest.hexdigest(), tuple(_imports(tree))


def _imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] == "prior" and _file(name) is not None}


class _Stripped(ast.NodeTransformer):
    """Drop docstrings and registry assignments."""

    def _without_docstring(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        body = getattr(node, "body", [])
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        named = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return None if named & REGISTRIES else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if isinstance(node.target, ast.Name) and node.target.id in REGISTRIES else node
