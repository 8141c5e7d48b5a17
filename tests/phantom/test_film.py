from collections.abc import Sequence

import numpy as np
import pytest

from prior.phantom.anatomy import draw_body, draw_pose
from prior.phantom.devices import add_foreign_objects
from prior.phantom.film import Film, take_film
from prior.phantom.findings import DEVICES, KINDS, Finding, draw_finding
from prior.phantom.radiograph import SCANNERS
from prior.phantom.thorax import build_scene

SIZE = 96


def film(
    findings: Sequence[Finding], size: int = SIZE, view: str = "PA", foreign: int = 0, seed: int = 3
) -> Film:
    rng = np.random.default_rng(seed)
    body = draw_body(rng, "M", 55)
    return take_film(body, draw_pose(rng, view), list(findings), SCANNERS["mimic_cxr"], size, rng, foreign)


def finding(
    kind: str, side: str = "left", zone: str = "lower", severity: float = 0.8, variant: str = ""
) -> Finding:
    return Finding(kind, side, zone, severity, "", variant, seed=11)


def test_equal_states_give_equal_films() -> None:
    assert np.array_equal(film([]).image, film([]).image)
    assert not np.array_equal(film([]).image, film([], seed=4).image)


def test_film_has_the_grey_order_of_a_chest() -> None:
    image = film([]).image.astype(float) / 255
    lung, middle, belly, air = image[40:55, 22:30], image[50:60, 50:56], image[85:, 35:60], image[:8, :8]
    assert air.mean() < lung.mean() < middle.mean()
    assert lung.mean() + 0.15 < belly.mean()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "Support_Devices"])
def test_every_finding_changes_the_film_where_its_mask_is(kind: str) -> None:
    variant = {"Fracture": "rib", "Pleural_Other": "plaque"}.get(kind, "")
    shown = film([finding(kind, side="bilateral" if kind == "Edema" else "left", variant=variant)])
    change = np.abs(shown.image.astype(float) - film([]).image)
    mask = np.logical_or.reduce([r.mask for r in shown.regions])
    assert mask.any()
    assert change[mask].mean() > 1.5 * change[~mask].mean()


@pytest.mark.parametrize("variant", DEVICES)
def test_every_device_is_brighter_than_without(variant: str) -> None:
    shown = film([finding("Support_Devices", variant=variant)])
    mask = shown.regions[0].mask
    assert shown.image[mask].mean() > film([]).image[mask].mean() + 8


@pytest.mark.parametrize("kind", ["Consolidation", "Pneumothorax", "Pleural_Effusion", "Lung_Lesion"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_patients_left_is_on_the_right_of_the_image(kind: str, side: str) -> None:
    columns = np.flatnonzero(film([finding(kind, side=side)]).regions[0].mask.any(0))
    assert (columns.mean() > SIZE / 2) == (side == "left")


def test_zones_are_ordered_from_top_to_bottom() -> None:
    rows = [
        np.flatnonzero(film([finding("Lung_Lesion", zone=zone)]).regions[0].mask.any(1)).mean()
        for zone in ("upper", "mid", "lower")
    ]
    assert rows[0] < rows[1] < rows[2]


@pytest.mark.parametrize("kind", ["Pneumothorax", "Pleural_Effusion", "Consolidation", "Cardiomegaly"])
def test_area_grows_with_severity(kind: str) -> None:
    areas = [film([finding(kind, severity=s)]).regions[0].mask.sum() for s in (0.2, 0.6, 1.0)]
    assert areas[0] < areas[1] < areas[2]


def test_masks_scale_with_the_image() -> None:
    small, large = (film([finding("Pneumothorax")], size=s).regions[0].mask for s in (96, 192))
    coarse = large.reshape(96, 2, 96, 2).mean((1, 3)) > 0.5
    assert (small & coarse).sum() / (small | coarse).sum() > 0.9


def test_severities_cover_their_range() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_finding(rng, "Edema").severity for _ in range(500)])
    assert drawn.min() < 0.15
    assert drawn.max() > 0.95
    assert (drawn < 0.35).mean() > 0.2


def test_foreign_objects_are_bright_inside_their_annotation() -> None:
    rng = np.random.default_rng(5)
    scene = build_scene(draw_body(rng, "F", 40), draw_pose(rng, "PA"), SIZE, rng, 0.45, {})
    for item in add_foreign_objects(scene, 12):
        assert item.points.min() >= 0
        assert item.points.max() < SIZE
        low, high = item.points.min(0), item.points.max(0) + 1
        assert scene.metal[low[1] : high[1], low[0] : high[0]].max() > 0.3
