import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from prior import params
from prior.errors import InputError

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((PROJECT / "params.yaml").read_text()))


def test_default_is_valid(config: dict[str, Any]) -> None:
    assert params.validate(config).experiment == "default"


@pytest.mark.parametrize(
    "overlay", sorted((PROJECT / "workflow/experiments").glob("*.yaml")), ids=lambda p: p.stem
)
def test_overlays_are_valid_and_named_after_their_file(overlay: Path) -> None:
    loaded = params.load(PROJECT / "params.yaml", overlay)
    assert loaded.experiment == overlay.stem


def test_schema_file_is_current() -> None:
    stored = yaml.safe_load((PROJECT / "workflow/schemas/params.schema.yaml").read_text())
    assert stored == params.schema()


WRONG = [
    (lambda c: c["methods"].append("clipp"), "unknown method `clipp`, method_settings has random"),
    (
        lambda c: c["evaluations"][0].update(fractions=[0]),
        "evaluations.0.fractions.0: Input should be greater than 0",
    ),
    (lambda c: c["evaluations"][0].update(task="clasification"), "`clasification` is none of"),
    (lambda c: c["evaluations"].append(c["evaluations"][0]), "is listed twice"),
    (lambda c: c["datasets"]["rsna"].update(reader="kaggle"), "datasets.rsna.reader: `kaggle` is none of"),
    (lambda c: c["datasets"]["rsna"].pop("images"), "datasets.rsna"),
    (lambda c: c["datasets"]["rsna"].update(max_unreadable=-1), "datasets.rsna.max_unreadable: Input"),
    (lambda c: c["pretraining"].update(dataset="mimic"), "pretraining.dataset: `mimic` is not in datasets"),
    (lambda c: c["image"].update(sise=96), "image.sise: Extra inputs are not permitted"),
    (lambda c: c.pop("text"), "text: Field required"),
    (
        lambda c: c["method_settings"]["prior"].update(variant="relased"),
        "method_settings.prior.variant: method prior has no variant `relased`, choose one of described,",
    ),
    (
        lambda c: (
            c["method_settings"].update(other={"method": "prior", "variant": "described"})
            or c["methods"].append("other")
        ),
        "methods: `prior` and `other` both make bundle prior-described",
    ),
    (
        lambda c: c["method_settings"]["prior"].update(reports="none"),
        "method_settings.prior.reports: Input should be 'written' or 'labels'",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_settings_name_their_key(config: dict[str, Any], change: Any, message: str) -> None:
    change(config)
    with pytest.raises(InputError) as error:
        params.validate(config)
    assert message in str(error.value)


def test_everything_wrong_is_told_at_once(config: dict[str, Any]) -> None:
    config["image"]["size"] = 1
    config["text"]["max_tokens"] = "many"
    with pytest.raises(InputError) as error:
        params.validate(config)
    assert "image.size" in str(error.value)
    assert "text.max_tokens" in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        params.load(tmp_path / "params.yaml")
