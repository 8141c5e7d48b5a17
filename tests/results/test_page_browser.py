"""The page in a real browser: sort, filter, open a run, keyboard, colours, a phone; a silent console."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_published import as_real, figure

from prior.metrics.rows import read_rows
from prior.results import beside
from prior.results.page import page as write_page
from prior.results.view import load_view, value_text

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium: apt-get install chromium")
PHONE = 390


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER)
        yield started
        started.close()


@pytest.fixture
def page(browser: sync_api.Browser, shown: Path) -> Iterator[sync_api.Page]:
    """The page as it opens; whatever the console says, or the page asks of a network, fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    opened.goto((shown / "index.html").as_uri())
    yield opened
    opened.close()
    assert said == []


def board(page: sync_api.Page, column: int) -> list[str]:
    """Texts of one column of the leaderboard, as far as it is shown."""
    return page.locator(f"#board tbody tr > :nth-child({column})").all_inner_texts()


def values(page: sync_api.Page) -> list[float]:
    return [float(text.split()[0].rstrip("†")) for text in board(page, 2) if text[0].isdigit()]


def in_order(read: Callable[[], list[Any]], reverse: bool = False) -> None:
    """Wait until what is shown is in order: a table is drawn some time after the key or the click."""
    deadline = time.monotonic() + 10
    while (found := read()) != sorted(found, reverse=reverse):
        assert time.monotonic() < deadline, found


def active(page: sync_api.Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.className"))


def test_every_tab_opens_with_its_tables(page: sync_api.Page) -> None:
    tabs = page.get_by_role("tab")
    names = tabs.all_inner_texts()
    assert names[:2] == ["Overview", "Leaderboard"]
    for name in names:
        page.get_by_role("tab", name=name, exact=True).click()
        assert page.locator("section:visible").count() == 1
        assert page.locator("section:visible h2").inner_text().startswith("SIMULATED DATA")
        assert page.locator("section:visible table").count() >= 1


def test_the_leaderboard_starts_with_primary_endpoints_filters_and_searches(
    page: sync_api.Page, shown: Path
) -> None:
    page.get_by_role("tab", name="Leaderboard").click()
    view = load_view(shown / "results.csv")
    view = view[(view["finding"] == "") & (view["metric"] != "n_unfit")]
    assert len(board(page, 1)) == (view["role"] == "primary").sum()
    page.locator("select[name='task']").select_option("Segmentation")
    chosen = view[(view["role"] == "primary") & (view["task"] == "segmentation")]
    assert sorted(board(page, 1)) == sorted(chosen["label"])
    texts = [value_text(*numbers) for numbers in chosen[["value", "ci_low", "ci_high"]].to_numpy()]
    assert sorted(" ".join(text.replace("†", "").split()) for text in board(page, 2)) == sorted(texts)
    offered = page.locator("select[name='metric'] option").all_inner_texts()
    assert offered == ["all", "Dice, pooled pixels"]
    page.get_by_role("searchbox").fill("convirt")
    assert board(page, 1) == ["convirt"]
    page.get_by_role("searchbox").fill("nothing like this")
    assert page.locator("#board td.dt-empty").count() == 1
    page.get_by_role("button", name="clear filters").click()
    assert page.locator("#board .dt-info").inner_text() == f"1 to 25 of {len(view)} rows"


def test_sorting_by_click_and_by_keyboard(page: sync_api.Page) -> None:
    page.get_by_role("tab", name="Leaderboard").click()
    page.locator("select[name='task']").select_option("Classification")
    heading = page.locator("#board thead th").nth(1)
    heading.click()
    sync_api.expect(heading).to_have_attribute("aria-sort", "descending")
    in_order(lambda: values(page), reverse=True)
    heading.locator(".dt-column-order").press("Enter")
    sync_api.expect(heading).to_have_attribute("aria-sort", "ascending")
    in_order(lambda: values(page))
    page.get_by_role("tab", name="Segmentation").click()
    table = page.locator("section:visible table").first
    table.locator("thead th").first.click()
    in_order(table.locator("tbody th").all_inner_texts)


def test_a_value_opens_its_runs_and_the_dialog_keeps_the_focus(page: sync_api.Page, shown: Path) -> None:
    button = page.locator("section:visible button.open", has_text="0.").last
    number = button.inner_text().split()[0].rstrip("†")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h2").inner_text().startswith("SIMULATED DATA · ")
    assert number in dialog.locator("dd").first.inner_text()
    seeds = dialog.locator("h3", has_text="Seeds").locator("xpath=following-sibling::div[1]")
    column = seeds.locator("thead th").all_inner_texts().index("value")
    shown_values = seeds.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
    table = read_rows(shown / "results.csv")
    assert len(shown_values) == 2
    assert {float(text) for text in shown_values} <= set(table.loc[table["seed"].notna(), "value"])
    assert "12.5 s, commit abc, 2 cores" in dialog.inner_text()
    for _ in range(8):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert "open" in active(page)


def test_a_cell_and_its_dialog_say_what_pretraining_saw_and_what_papers_print(
    browser: sync_api.Browser, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = {"task": "segmentation", "dataset": "siim", "setting": "frozen", "metric": "dice_pooled"}
    monkeypatch.setattr(beside, "load_published", lambda: (figure(**cell, printed="61.3"),))
    results = as_real(shown, tmp_path)
    seen = "patients: 3 of 60 test patients in pre-training"
    table = read_rows(results / "results.csv")
    table.loc[table["method"] == "convirt", "contamination"] = seen
    table.to_csv(results / "results.csv", index=False)
    write_page(results)
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto((results / "index.html").as_uri())
    opened.get_by_role("tab", name="Segmentation").click()
    cells = opened.locator("section:visible td", has=opened.locator(".published"))
    assert cells.count() == 1
    assert cells.locator(".published").inner_text() == "0.613 P"
    cells.locator("button.open", has_text="‡").click()
    facts = dict(
        zip(
            opened.locator("dialog dt").all_inner_texts(),
            opened.locator("dialog dd").all_inner_texts(),
            strict=True,
        )
    )
    assert facts["contamination"] == f"‡ {seen}"
    assert facts["published"] == "0.613 P"
    opened.keyboard.press("Escape")
    opened.get_by_role("tab", name="Leaderboard").click()
    marked = opened.locator("#board tbody tr", has_text="‡")
    assert set(marked.locator("td, th").first.all_inner_texts()) == {"convirt"}
    opened.close()


def test_a_walk_by_keyboard(page: sync_api.Page) -> None:
    page.keyboard.press("Tab")
    assert active(page) == "theme"
    page.keyboard.press("Tab")
    assert active(page) == "tab-overview"
    for key, tab in (
        ("ArrowRight", "leaderboard"),
        ("ArrowLeft", "overview"),
        ("ArrowLeft", "provenance"),
        ("ArrowRight", "overview"),
        ("End", "provenance"),
        ("Home", "overview"),
    ):
        page.keyboard.press(key)
        assert active(page) == f"tab-{tab}"
        assert page.locator("section:visible").get_attribute("id") == tab
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(page: sync_api.Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(253, 253, 252)", "rgb(22, 23, 26)"
    assert page.evaluate(ground) == (dark if scheme == "dark" else light)
    found = []
    for _ in range(3):
        page.locator("#theme").click()
        found.append(page.evaluate(ground))
    assert found == [dark, light, dark if scheme == "dark" else light]


def test_a_phone_never_scrolls_the_page_sideways(page: sync_api.Page) -> None:
    page.set_viewport_size({"width": PHONE, "height": 800})
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, tab.inner_text()
    page.get_by_role("tab", name="Overview").click()
    page.locator("section:visible button.open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    box = page.locator("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE
