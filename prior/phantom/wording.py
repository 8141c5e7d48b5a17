"""From a finding to words: slots of the grammar and the habits of a reader."""

import re
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from prior.phantom.findings import Finding
from prior.phantom.grammar import expand, language

READERS = 14
Slots = dict[str, Callable[[], str]]
LOBES = {
    ("right", "upper"): "(right upper lobe|RUL|right apex|right upper lung|right upper zone)",
    (
        "right",
        "mid",
    ): "(right mid lung|right middle lobe|RML|right midlung|right midzone|right perihilar region)",
    ("right", "lower"): "(right lower lobe|right lung base|RLL|right base|right lower lung)",
    ("left", "upper"): "(left upper lobe|LUL|left apex|left upper lung|left upper zone)",
    ("left", "mid"): "(left mid lung|lingula|left midlung|left perihilar region|left midzone)",
    (
        "left",
        "lower",
    ): "(left lower lobe|left lung base|LLL|left base|left retrocardiac region|left lower lung)",
    ("bilateral", "upper"): "(bilateral upper lobes|both upper lungs|bilateral apices)",
    ("bilateral", "mid"): "(bilateral perihilar regions|both mid lungs|bilateral midlungs)",
    ("bilateral", "lower"): "(bilateral lower lobes|both lung bases|bilateral bases)",
}
BASES = {
    ("right", "lower"): "(right basilar|right basal|right lower lobe|right base)",
    ("left", "lower"): "(left basilar|left basal|left lower lobe|retrocardiac|left base)",
    ("bilateral", "lower"): "(bibasilar|bibasal|bilateral basilar|bilateral lower lobe)",
    ("right", "mid"): "(right midlung|right mid lung|right perihilar)",
    ("left", "mid"): "(left midlung|lingular|left mid lung)",
}
BASE_PLACES = {
    ("right", "lower"): "(right base|right lung base)",
    ("left", "lower"): "(left base|left lung base)",
    ("bilateral", "lower"): "(bases|lung bases)",
    ("right", "mid"): "(right mid lung|right midlung)",
    ("left", "mid"): "(left mid lung|left midlung)",
}
DEVICES = {
    "pacemaker": (
        "{side} (chest wall |pectoral |)(pacemaker|dual-lead pacemaker|pacer|ICD|AICD|dual-chamber pacer)",
        "(with leads|leads terminate) in the (right atrium and right ventricle|expected positions)",
    ),
    "port": (
        "{side} (chest wall |)(Port-A-Cath|port|Mediport|infusion port)",
        "(terminates|ends|tip) in the (mid|lower|upper|distal) SVC",
    ),
    "picc": (
        "{side} (PICC|PICC line|peripherally inserted catheter)",
        "(with tip|terminates|ends) (in|at|near) the (cavoatrial junction|SVC|lower SVC|mid SVC)",
    ),
    "central line": (
        "{side} (IJ|internal jugular|subclavian|central venous) (catheter|line)",
        "(with tip|terminates|ends) (in|at|overlying) the (SVC|cavoatrial junction|right atrium)",
    ),
    "endotracheal tube": (
        "(endotracheal tube|ET tube|ETT)",
        "(with tip|ends|terminates) {cm} cm above the carina",
    ),
    "nasogastric tube": (
        "(nasogastric|enteric|NG|orogastric|feeding) tube",
        "(courses below the diaphragm|with tip in the stomach|side port below the gastroesophageal junction)",
    ),
    "chest tube": (
        "{side} (chest tube|pleural catheter|pigtail catheter|thoracostomy tube)",
        "(with tip|projects) (at|over|near) the {side} (apex|hilum|upper lung)",
    ),
    "wires": ("(median sternotomy wires|sternal wires|sternotomy sutures)", "(are|appear) (intact|aligned)"),
}
RIBS = {"upper": (4, 5), "mid": (5, 7), "lower": (7, 9)}
ORDINALS = {
    4: "fourth|4th",
    5: "fifth|5th",
    6: "sixth|6th",
    7: "seventh|7th",
    8: "eighth|8th",
    9: "ninth|9th",
}
DISPLACEMENTS = {
    "small": "(nondisplaced|minimally displaced|subtle)",
    "moderate": "(mildly displaced|healing|)",
    "large": "(displaced|comminuted|acute displaced)",
}
PLEURAL = {
    "thickening": "pleural (thickening|scarring|thickening and scarring)",
    "plaque": "(calcified pleural plaque|pleural plaque|pleural calcification)",
}
HEIGHTS = {"upper": "apical", "mid": "(lateral|midlung)", "lower": "(basal|basilar)"}
ADVERBS = {
    "small": "(mildly|slightly|minimally)",
    "moderate": "(moderately|)",
    "large": "(markedly|severely|massively)",
}


class Reader:
    """A radiologist: an order of preference for every list of phrases, and draws for one report."""

    def __init__(self, number: int, rng: np.random.Generator) -> None:
        self.number = number
        self.rng = rng

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        return bool(self.rng.random() < probability)

    def pick(self, count: int) -> int:
        """An index below `count`, early ones likelier."""
        return int(count * self.rng.random() ** 1.15)

    def favourite(self, phrases: Sequence[str], key: str, strength: float = 1.0) -> str:
        """A phrase by this reader's own ranking (Zipf with exponent `strength`)."""
        order, cumulative = _ranking(self.number, key, len(phrases), strength)
        return phrases[order[int(np.searchsorted(cumulative, self.rng.random()))]]

    def say(self, template: str, slots: Slots | None = None) -> str:
        """Write a template as a sentence: first letter upper case, articles right."""
        text = expand(template, slots or {}, self.pick)
        text = re.sub(r"\b([Aa]) (?=[aeiou]|[AEFHILMNORSX][A-Z])", r"\1n ", text)
        text = re.sub(r" +([.,])", r"\1", text)
        return text[:1].upper() + text[1:]


@lru_cache(maxsize=4096)
def _ranking(number: int, key: str, count: int, strength: float) -> tuple[list[int], np.ndarray]:
    rng = np.random.default_rng([number, zlib.crc32(key.encode())])
    weights = 1.0 / np.arange(1, count + 1) ** strength
    # House style: readers of one hospital share their first choices, each with own later ones.
    order = np.argsort(np.arange(count) * 0.5 + rng.uniform(0, max(3.0, 0.7 * count), count))
    return [int(i) for i in order], np.cumsum(weights) / weights.sum()


def slots_of(finding: Finding, reader: Reader) -> Slots:
    """Slot functions for one finding."""
    words = language()["findings"]["words"]
    rng = np.random.default_rng(finding.seed)
    mm = int(6 + 34 * finding.severity)
    place = (finding.side, finding.zone)
    device, tip = DEVICES.get(finding.variant, ("", ""))
    tip_cm = rng.uniform(2, 7)
    layered = finding.side == "bilateral" and finding.kind != "Pleural_Other"

    def sized(table: str, prefix: str) -> Callable[[], str]:
        return lambda: reader.favourite(words[table], prefix + table)

    return {
        "side": lambda: "(bilateral|layering bilateral)" if layered else finding.side,
        "zone": lambda: finding.zone,
        "lobe": lambda: LOBES.get(place, finding.side),
        "atlobe": lambda: BASES.get(place, finding.side),
        "atbase": lambda: BASE_PLACES.get(place, "bases"),
        "sev": sized(finding.grade, "sev"),
        "sevly": lambda: ADVERBS[finding.grade],
        "sev2": lambda: DISPLACEMENTS[finding.grade],
        "change": sized(finding.status or "unchanged", "change"),
        "since": lambda: reader.favourite(words["since"], "since"),
        "mm": lambda: str(mm),
        "cm": lambda: f"{(tip_cm if device else mm / 10):.1f}",
        "cm2": lambda: f"{mm / 12:.1f}",
        "ctr": lambda: str(int(53 + 17 * finding.severity)),
        "rib": lambda: _rib(finding, rng),
        "device": lambda: device,
        "tip": lambda: tip,
        "pleural": lambda: PLEURAL.get(finding.variant, ""),
        "height": lambda: HEIGHTS.get(finding.zone, ""),
    }  # fmt: skip


def _rib(finding: Finding, rng: np.random.Generator) -> str:
    if finding.variant == "clavicle":
        return f"{finding.side} (clavicle|mid clavicle|clavicular shaft)"
    low, high = RIBS.get(finding.zone, (5, 7))
    number = low + finding.seed % (high - low + 1)
    return f"{finding.side} (posterior |lateral |posterolateral |)({ORDINALS[number]}) rib"
