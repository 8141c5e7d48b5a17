"""What can be seen: findings with side, zone, severity and course, and how a study comes to have them."""

from dataclasses import dataclass, replace

import numpy as np

COMMON = (
    "Cardiomegaly",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural_Effusion",
    "Lung_Lesion",
    "Fracture",
    "Support_Devices",
)
RARE = ("Enlarged_Cardiomediastinum", "Pleural_Other", "Lung_Opacity")
KINDS = COMMON + RARE
PREVALENCE = dict(zip(COMMON, (0.29, 0.22, 0.18, 0.20, 0.24, 0.19, 0.30, 0.15, 0.10, 0.22), strict=True))
PREVALENCE |= dict.fromkeys(RARE, 0.07)
# Only hospitals whose tables have CheXpert's labels show the rare kinds. CheXpert's films of one competition
# finding stay as they are, so the others carry more of them and all films together as many as MIMIC's.
RARE_SHARE = {"mimic_cxr": 0.10, "chexpert": 0.22}
RARE_IF_NORMAL, RARE_LATER = 0.3, 0.35  # of that share: films with nothing else; appearing at follow-up
CHRONIC = (
    "Cardiomegaly", "Lung_Lesion", "Fracture", "Support_Devices", "Enlarged_Cardiomediastinum",
    "Pleural_Other",
)  # fmt: skip
DEVICES = (
    "pacemaker",
    "port",
    "picc",
    "central line",
    "endotracheal tube",
    "nasogastric tube",
    "chest tube",
    "wires",
)
SINGLES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural_Effusion")


@dataclass(frozen=True)
class Finding:
    """One finding of one study.

    Attributes:
        kind: one of KINDS.
        side: right, left, bilateral, or empty.
        zone: upper, mid, lower, or empty.
        severity: 0 (barely visible) to 1 (gross).
        status: new, unchanged, improved, worse; empty in a first study.
        variant: the device, the bone that broke, plaque or thickening of the pleura, or empty.
        seed: fixes the geometry, so that a persisting finding stays where it was.
    """

    kind: str
    side: str
    zone: str
    severity: float
    status: str
    variant: str
    seed: int

    @property
    def grade(self) -> str:
        """Severity as a word: small, moderate or large."""
        return "small" if self.severity < 0.36 else "moderate" if self.severity < 0.68 else "large"


def draw_finding(rng: np.random.Generator, kind: str, low: float = 0.08) -> Finding:
    """Draw one finding; severities fill [low, 1], a little denser at the low end."""
    side, zone, variant = str(rng.choice(["right", "left"])), "", ""
    u = rng.random
    if kind in ("Edema", "Cardiomegaly"):
        side = "bilateral" if kind == "Edema" else ""
    elif kind == "Pneumonia":
        side = "bilateral" if u() < 0.25 else side
    elif kind in ("Pleural_Effusion", "Atelectasis"):
        side = "bilateral" if u() < 0.28 else side
    if kind in ("Consolidation", "Pneumonia", "Lung_Lesion"):
        zone = str(rng.choice(["upper", "mid", "lower"], p=[0.3, 0.3, 0.4]))
    elif kind == "Atelectasis":
        zone = "lower" if side == "bilateral" or u() < 0.7 else "mid"
    elif kind == "Fracture":
        zone = str(rng.choice(["upper", "mid", "lower"], p=[0.3, 0.4, 0.3]))
        variant = "clavicle" if u() < 0.2 else "rib"
    elif kind == "Enlarged_Cardiomediastinum":
        side = ""
    elif kind in ("Pleural_Other", "Lung_Opacity"):
        zone = str(rng.choice(["upper", "mid", "lower"], p=[0.4, 0.3, 0.3]))
        if kind == "Pleural_Other":
            side = "bilateral" if u() < 0.25 else side
            variant = "plaque" if u() < 0.5 else "thickening"
    elif kind == "Support_Devices":
        variant = str(rng.choice(DEVICES))
        side = "left" if variant == "pacemaker" and u() < 0.85 else side
    severity = float(low + (1 - low) * u() ** 1.1)
    return Finding(kind, side, zone, severity, "", variant, int(rng.integers(2**31)))


def draw_findings(rng: np.random.Generator, dataset: str, age: int) -> list[Finding]:
    """Draw the findings of an independent study of `dataset`; each dataset has its own case mix."""
    if dataset == "chexpert" and rng.random() < 0.62:
        return [draw_finding(rng, str(rng.choice(SINGLES)), low=0.15)]
    normal = {"mimic_cxr": 0.36, "chexpert": 0.3, "object_cxr": 0.75}.get(dataset, 0.40)
    kinds: list[str] = []
    if rng.random() >= normal:
        boost = 1 + 0.004 * (age - 55)
        kinds = [k for k in COMMON if rng.random() < PREVALENCE[k] * (boost if k == "Cardiomegaly" else 1.0)]
        if "Cardiomegaly" in kinds and "Edema" not in kinds and rng.random() < 0.12:
            kinds.append("Edema")
    kinds = _case_mix(rng, dataset, kinds)
    low = {"rsna": 0.25, "siim": 0.25}.get(dataset, 0.08)
    return [draw_finding(rng, kind, low) for kind in kinds if not _absorbed(kind, kinds)]


def _case_mix(rng: np.random.Generator, dataset: str, kinds: list[str]) -> list[str]:
    """RSNA was collected for opacities, SIIM for pneumothorax: set their share apart from the rest."""
    targets = {"rsna": ("Pneumonia", "Consolidation"), "siim": ("Pneumothorax",)}.get(dataset)
    if targets is None:
        return kinds
    rest = [k for k in kinds if k not in targets]
    if rng.random() < 0.28:
        rest.insert(0, str(rng.choice(targets)))
    return rest


def _absorbed(kind: str, kinds: list[str]) -> bool:
    """A film with lobar consolidation is not given a separate patchy pneumonia: one shadow, one finding."""
    return kind == "Pneumonia" and "Consolidation" in kinds


def follow_up(rng: np.random.Generator, before: list[Finding], fresh: list[Finding]) -> list[Finding]:
    """Evolve the findings of a patient's previous study.

    Args:
        rng: draws of this study.
        before: findings of the previous study.
        fresh: an independent draw; a third of what it adds appears as new.
    """
    now: list[Finding] = []
    for finding in before:
        if rng.random() < (0.96 if finding.kind in CHRONIC else 0.66):
            now.append(_changed(rng, finding))
    present = {f.kind for f in now}
    blocked = {"Pneumonia", "Consolidation"} if present & {"Pneumonia", "Consolidation"} else set()
    for finding in fresh:
        if finding.kind not in present | blocked and rng.random() < 0.34:
            now.append(replace(finding, status="new"))
    return now


def rare_findings(
    rng: np.random.Generator, dataset: str, others: list[Finding], before: list[Finding], order: int
) -> list[Finding]:
    """Draw the rare findings of a study from their own stream, so that they shift no draw of the others.

    Args:
        rng: draws of the rare findings of this study.
        dataset: hospital.
        others: the common findings of this study.
        before: rare findings of the patient's previous study.
        order: number of the study.
    """
    kinds = {f.kind for f in others}
    if dataset not in RARE_SHARE or (dataset == "chexpert" and len(kinds) == 1 and kinds <= set(SINGLES)):
        return []
    now = [_changed(rng, f) for f in before if rng.random() < (0.96 if f.kind in CHRONIC else 0.66)]
    share = RARE_SHARE[dataset] * (1.0 if others else RARE_IF_NORMAL) * (RARE_LATER if order else 1.0)
    for kind in [k for k in RARE if k not in {f.kind for f in now}]:
        if rng.random() < share:
            now.append(replace(draw_finding(rng, kind, low=0.3), status="new" if order else ""))
    opaque = kinds & {"Pneumonia", "Consolidation"}
    return [f for f in now if not (f.kind == "Lung_Opacity" and opaque)]


def _changed(rng: np.random.Generator, finding: Finding) -> Finding:
    if finding.kind in CHRONIC or rng.random() < 0.4:
        return replace(finding, status="unchanged")
    factor = float(rng.uniform(0.45, 0.75) if rng.random() < 0.55 else rng.uniform(1.3, 1.8))
    severity = float(np.clip(finding.severity * factor, 0.08, 1))
    if abs(severity - finding.severity) < 0.05:
        return replace(finding, status="unchanged")
    return replace(finding, severity=severity, status="improved" if severity < finding.severity else "worse")
