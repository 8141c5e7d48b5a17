from pathlib import Path

import pytest
from typer.testing import CliRunner

from prior.cli import app
from prior.errors import InputError
from prior.protocols import load_protocol
from prior.protocols.show import families, settings, show


def test_every_knob_is_shown_with_its_value_and_source() -> None:
    text = show("strict_small", "segmentation", "frozen")
    knobs = load_protocol("strict_small", "segmentation", "frozen").knobs
    shown = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert shown == list(knobs)
    assert "| decoder_channels " in text
    assert "coarsest block first" in text


def test_the_page_on_protocols_names_every_knob() -> None:
    page = (Path(__file__).parents[1] / "docs" / "protocols.md").read_text(encoding="utf-8")
    table = page.split("## The knobs")[1].split("\n## ")[0].split("Every knob is executed")[0]
    places = [(family, *place) for family in families() for place in settings(family)]
    stated = {knob for place in places for knob in load_protocol(*place).knobs}
    assert sorted(knob for knob in stated if f"`{knob}`" not in table) == []


def test_strict_has_every_setting_of_its_laptop_size() -> None:
    assert set(settings("strict_small")) <= set(settings("strict"))


def test_a_task_shows_all_its_settings() -> None:
    text = show("strict_small", "classification")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## strict_small: classification, {name}" for name in ("linear", "metadata", "finetune")
    ]


def test_every_listed_setting_can_be_shown() -> None:
    listed = CliRunner().invoke(app, ["protocol", "list"]).output.splitlines()
    assert "strict_small detection finetune" in listed
    assert listed == [" ".join((f, *names)) for f in families() for names in settings(f)]
    for line in listed:
        assert show(*line.split(" "))


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("lovtt", "segmentation"), "strict_small"),
        (("strict_small", "segmentaton"), "segmentation"),
        (("strict_small", "segmentation", "froze"), "frozen"),
    ],
)
def test_a_wrong_name_is_answered_with_what_there_is(arguments: tuple[str, ...], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        show(*arguments)
