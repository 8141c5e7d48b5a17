"""Tables of a small fixed table, letter by letter: what changes here, a reader sees."""

from pathlib import Path

import golden
import pandas as pd
import pytest

NAMES = sorted(path.name for path in (golden.FOLDER / "tables").iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return golden.render(tmp_path_factory.mktemp("golden"))


def test_no_table_is_missing_or_left_over(made: dict[str, str]) -> None:
    assert sorted(made) == NAMES
    stems = {Path(name).stem for name in NAMES}
    assert {"headline", "papers", "protocols", "ablations", "ranks", "differences", "subgroups"} < stems
    kept = {path.name for path in (golden.FOLDER / "input" / "tables").iterdir()}
    for stem in stems:
        assert {f"{stem}.md", f"{stem}.tex", f"{stem}.csv"} <= {*NAMES, *kept}


@pytest.mark.parametrize("name", NAMES)
def test_the_text_is_as_git_keeps_it(made: dict[str, str], name: str) -> None:
    assert made[name] == (golden.FOLDER / "tables" / name).read_text(encoding="utf-8"), (
        "if this was meant: python tests/results/golden.py"
    )


def test_every_row_is_marked_and_every_title_says_simulated(made: dict[str, str]) -> None:
    for name, text in made.items():
        if name.endswith(".md"):
            lines = text.split("\n")
            assert all("SIMULATED DATA" in line for line in lines if line.startswith("#")), name
            heads = [line for line in lines if line.startswith(("| method", "| labels", "| variant"))]
            assert heads, name
            assert all(line.rstrip(" |").endswith("contamination") for line in heads), name
    rows = [line for line in made["papers.md"].split("\n") if line.startswith("| prior")]
    assert any("none, patients" in row or "patients" in row for row in rows)


def test_one_protocol_behind_each_primary_number(made: dict[str, str]) -> None:
    """Segmentation ran under two protocols; only one of them is primary, and no column holds both."""
    headline = [line for line in made["headline.md"].split("\n") if line.startswith("| method")]
    assert "strict_small" in headline[0]
    assert "mgca" not in headline[0]
    table = pd.read_csv(golden.FOLDER / "tables" / "protocols.csv")
    primary = table[(table["role"] == "primary") & (table["task"] == "segmentation")]
    assert set(primary["protocol"]) == {"strict_small"}
    own = table[table["own_metric"] & (table["protocol"] == "mgca")]
    assert set(own["metric"]) == {"dice_image_all"}
