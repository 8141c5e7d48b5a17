"""The model card of an exported bundle, in the form of the Hugging Face Hub."""

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from prior.encoders.bundle import Bundle, BundleInfo
from prior.encoders.image import ImageEncoder
from prior.export.inputs import trained_fit
from prior.export.onnx_graph import TOLERANCE, output_names
from prior.metrics.rows import (
    PRIMARY,
    SETTING_COLUMNS,
    TASK_TITLES,
    fraction_text,
    read_rows,
    setting_text,
)
from prior.results.view import metric_title, value_text

FOLDER = Path(__file__).parent
KEY = [*SETTING_COLUMNS, "contamination", "fraction", "metric"]


def model_card(bundle: Bundle, encoder: ImageEncoder, results: Path | None) -> str:
    """Return the text of `README.md`.

    Args:
        bundle: what is exported.
        encoder: its image encoder.
        results: `results.csv` to read measurements from; None leaves them out.
    """
    info = bundle.info
    measured = pd.DataFrame() if results is None else bundle_results(info, read_rows(results))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md.j2").render(
        front_matter=_front_matter(info),
        bundle=bundle.name,
        info=info,
        image=info.image,
        fit=trained_fit(info),
        outputs=_outputs(encoder),
        tolerance=f"{TOLERANCE:g}",
        start=_initial_weights(info),
        results=_table(measured),
        results_simulated=bool(measured["simulated"].any()) if len(measured) else False,
        interval=bool(measured["ci_low"].notna().any()) if len(measured) else False,
    )


def _front_matter(info: BundleInfo) -> str:
    tags = ["radiology", "chest-radiograph", info.method, "timm", "onnx"]
    tags += ["vision-language-pretraining", "transformers"] if info.text else []
    tags += ["simulated-data"] if info.simulated else []
    facts: dict[str, Any] = {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "license": "other",
        "license_name": "see-licence-notes",
        "tags": tags,
    }
    if info.text:
        facts["language"] = ["en"]
    return yaml.safe_dump(facts, sort_keys=False).strip()


def _outputs(encoder: ImageEncoder) -> list[tuple[str, str]]:
    size = encoder.config.input_size
    shapes = [
        f"[batch, {channels}, {size // stride}, {size // stride}], stride {stride}"
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    pooled = f"[batch, {encoder.last_channels}], spatial mean of the last map"
    return list(zip(output_names(encoder), [*shapes, pooled], strict=True))


def _initial_weights(info: BundleInfo) -> str:
    """Where training started, in words; empty for random weights."""
    source = info.data.get("image_encoder", "")
    if not source:
        return ""
    known = source.startswith("timm's ")
    return f"{source}, pre-trained weights" if known else f"given weights with sha256 {source}"


def bundle_results(info: BundleInfo, rows: pd.DataFrame) -> pd.DataFrame:
    """Choose and average the measurements of one bundle: every task's leading metric, all settings.

    Args:
        info: the bundle.
        rows: the long table.

    Returns:
        One row per setting and label fraction, with the mean over downstream seeds and folds as `value`,
        `n_seeds`, and `ci_low` and `ci_high` where the table has an interval of this very bundle (where a
        method has several pre-training seeds, intervals are of the method).
    """
    same = pd.Series(True, index=rows.index)
    facts = info.model_dump(include={"method", "variant", "pretraining_data", "pretrain_seed"})
    for name, value in (
        facts | {"n_pretrain_pairs": info.n_pretrain_pairs, "samples_seen": info.samples_seen}
    ).items():
        same &= rows[name] == value
    same &= (rows["metric"] == rows["task"].map(PRIMARY)) & (rows["finding"] == "") & (rows["subgroup"] == "")
    own = rows[same]
    cells = own[own["run"] != ""]
    means = cells.groupby(KEY, dropna=False, as_index=False).agg(
        value=("value", "mean"), n_seeds=("seed", "nunique"), simulated=("simulated", "any")
    )
    whole = own.loc[own["run"] == "", [*KEY, "ci_low", "ci_high"]]
    return means.merge(whole, on=KEY, how="left", validate="one_to_one")


def _table(measured: pd.DataFrame) -> str:
    """Return the measurements as a Markdown table; empty without any."""
    lines = [
        {
            "task": TASK_TITLES[row["task"]],
            "setting": setting_text(row) + (f" ({row['contamination']})" if row["contamination"] else ""),
            "labels": fraction_text(row["fraction"]),
            "metric": metric_title(row["metric"]),
            "value": value_text(row["value"], row["ci_low"], row["ci_high"]),
            "seeds": row["n_seeds"],
        }
        for row in ({str(k): v for k, v in row.items()} for row in measured.to_dict("records"))
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True) if lines else ""
