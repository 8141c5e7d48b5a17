import textwrap
from pathlib import Path

import pytest

from prior import digest
from prior.results.page import LIBRARY


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "prior"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "a.py").write_text("def run():\n    from prior.b import step\n    return step()\n")
    (root / "b.py").write_text("def step():\n    return 1\n")
    (root / "other.py").write_text("x = 1\n")
    (root / "registry.py").write_text('METHODS: dict = {"a": "prior.a"}\nlimit = 3\n')
    monkeypatch.setattr(digest, "PACKAGE", root)
    digest._parsed.cache_clear()
    yield root
    digest._parsed.cache_clear()


def changed(path: Path, text: str, module: str) -> bool:
    before = digest.code_digest(module)
    path.write_text(textwrap.dedent(text))
    digest._parsed.cache_clear()
    return digest.code_digest(module) != before


def test_comments_and_docstrings_do_not_count(package: Path) -> None:
    assert not changed(
        package / "b.py", '"""Doc."""\n\ndef step():\n    """Doc."""\n    # why\n    return 1\n', "prior.a"
    )


def test_a_lazily_imported_module_counts(package: Path) -> None:
    assert changed(package / "b.py", "def step():\n    return 2\n", "prior.a")


def test_an_unrelated_module_does_not_count(package: Path) -> None:
    assert not changed(package / "other.py", "x = 2\n", "prior.a")


def test_a_registry_entry_does_not_count_but_the_rest_of_the_file_does(package: Path) -> None:
    path = package / "registry.py"
    assert not changed(
        path, 'METHODS: dict = {"a": "prior.a", "b": "prior.b"}\nlimit = 3\n', "prior.registry"
    )
    assert changed(path, 'METHODS: dict = {"a": "prior.a"}\nlimit = 4\n', "prior.registry")


def test_unknown_module(package: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"prior\.missing"):
        digest.code_digest("prior.missing")


def test_a_template_counts_for_the_module_that_reads_it(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "ASSETS", {"prior.b": "*.j2"})
    asset = package / "b.html.j2"
    asset.write_text("one")
    assert changed(asset, "two", "prior.a")
    assert not changed(asset, "three", "prior.other")


def test_every_file_that_is_no_module_has_a_reader() -> None:
    claimed = {path for pattern in digest.ASSETS.values() for path in digest.PACKAGE.glob(pattern)}
    files = [path for path in digest.PACKAGE.rglob("*") if path.is_file()]
    found = {path for path in files if path.suffix not in {".py", ".pyc"}}
    # Read by commands that are no jobs; the page names its vendored library by a folder with the version.
    no_job = {digest.PACKAGE / name for name in ("results/published.yaml", "export/model_card.md.j2")}
    others = {path for path in found - claimed - no_job if path.parent.name != "protocols"}
    assert {path.parent.name for path in others} == {Path(LIBRARY).parent.name}
    assert not {path for path in claimed if path.suffix == ".py"}
