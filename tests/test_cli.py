import json
import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = [
    "prior.cli",
    "prior.params",
    "prior.graph",
    "prior.phantom.simulate",
    "prior.data.prepare",
    "prior.reports.sentences",
    "prior.reports.tokens",
    "prior.metrics.score",
    "prior.results.collect",
    "prior.results.page",
    "prior.results.change_report",
]


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", LIGHT)
def test_stages_without_tensors_start_without_torch(module: str) -> None:
    assert python(f"import sys, {module}; print('torch' in sys.modules)").strip() == "False"


def test_help_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from prior.cli import app\n"
        "assert 'simulate' in CliRunner().invoke(app, ['--help']).output\n"
        "print([name for name in ('torch', 'pandas', 'numpy') if name in sys.modules])"
    )
    assert python(code).strip() == "[]"


def test_wrong_input_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    settings = {"reader": "rsna", "root": str(tmp_path / "missing"), "size": 32, "fit": "pad"}
    settings |= {"presets": ["strict"], "simulated": False, "max_unreadable": 0}
    command = ["prepare", "--settings", json.dumps(settings), "--out", str(tmp_path / "out/manifest.json")]
    done = subprocess.run(
        [sys.executable, "-c", "from prior.cli import main; main()", *command], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "missing") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
