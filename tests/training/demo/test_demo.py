"""The demonstration: steps that are done are skipped, and the page in a real headless browser.

    MEGACTOR_DEMO=outputs/demo MEGACTOR_SCREENSHOT=docs/images/demo.png python -m pytest -m slow tests/training/demo/test_demo.py

checks the page of a demonstration that was run before, and writes its picture; without MEGACTOR_DEMO a quick one is run first.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manifests import UserError
from training.demo import MODALITIES
from training.demo.run import Step, plan, run_steps

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1300,1150",
)


def zipped(folder: Path, name: str, source: Path) -> Step:
    return Step(name, f"Pack {name}", ("zipfile", "-c", str(folder / f"{name}.zip"), str(source)), folder / f"{name}.zip")


def test_steps_are_skipped_when_done_and_run_again_after_a_change(tmp_path: Path) -> None:
    source = tmp_path / "x.txt"
    source.write_text("x")
    steps = [zipped(tmp_path, name, source) for name in "abc"]

    def ran(which: list[Step]) -> list[str]:
        lines: list[str] = []
        assert [stamp["name"] for stamp in run_steps(which, tmp_path, lines.append)] == list("abc")
        return [name for name, line in zip("abc", lines, strict=True) if "done before" not in line]

    assert ran(steps) == ["a", "b", "c"]
    assert ran(steps) == []
    (tmp_path / "b.zip").unlink()
    assert ran(steps) == ["b"]
    (tmp_path / "steps" / "c.json").write_text("{half")
    assert ran(steps) == ["c"]
    other = tmp_path / "y.txt"
    other.write_text("y")
    assert ran([steps[0], zipped(tmp_path, "b", other), steps[2]]) == ["b", "c"]  # what follows a changed step is made anew
    with pytest.raises(UserError, match=r"pack a ended with exit code \d+; the same command continues"):
        run_steps([Step("a", "Pack a", ("zipfile", "-l", str(tmp_path / "none.zip")), steps[0].makes)], tmp_path, lambda line: None)


def test_the_plan_is_whole(tmp_path: Path) -> None:
    for quick in (False, True):
        steps = plan(tmp_path, quick)
        assert [step.name for step in steps] == [
            *("curate", "train-1", "train-2", "train-3", "pairs"),
            *(f"animate-{modality}" for modality in MODALITIES),
            "evaluate",
        ]
        assert len({step.makes for step in steps}) == len(steps)
        assert all(step.makes.is_relative_to(tmp_path) for step in steps)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if folder := os.environ.get("MEGACTOR_DEMO"):
        return Path(folder).absolute()
    out = tmp_path_factory.mktemp("demo")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "training.demo", "--quick", "--out", str(out)], cwd=ROOT, env=environment, check=True, timeout=1700
    )
    return out


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver (Debian: chromium chromium-driver)")
def test_the_page_in_a_browser(demo: Path, tmp_path: Path) -> None:
    pytest.importorskip("selenium", reason="the browser is driven by selenium: install the [dev] extra")
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.get((demo / "index.html").as_uri())
        videos = browser.find_elements("css selector", "video")
        pairs = len(browser.find_elements("css selector", ".strip"))
        assert pairs >= 1
        assert len(videos) == pairs * (1 + len(MODALITIES))
        WebDriverWait(browser, 60).until(
            lambda b: b.execute_script("return [...document.querySelectorAll('video')].every(v => v.readyState >= 2)")
        )
        sizes = browser.execute_script("return [...document.querySelectorAll('video')].map(v => [v.videoWidth, v.duration])")
        assert all(width >= 128 and duration >= 0.9 for width, duration in sizes)
        assert browser.execute_script("return [...document.querySelectorAll('img')].every(i => i.naturalWidth > 0)")
        names = {row.find_element("css selector", "td").text for row in browser.find_elements("css selector", "tr:has(td)")}
        assert {"ground truth", "re-encoded real", "static frame", "stage 3"} <= names
        for modality in MODALITIES:
            assert f"ours {modality}" in names
        if target := os.environ.get("MEGACTOR_SCREENSHOT"):
            browser.execute_script(
                "for (const v of document.querySelectorAll('video')) { v.pause(); v.controls = false; v.currentTime = 0.8 }"
            )
            WebDriverWait(browser, 30).until(
                lambda b: b.execute_script("return [...document.querySelectorAll('video')].every(v => !v.seeking)")
            )
            browser.save_screenshot(target)
        links = [a.get_attribute("href") for a in browser.find_elements("css selector", "a")]
        assert len(links) >= 5
        for link in links:
            browser.get(link)
            assert browser.title
            assert "Traceback" not in browser.page_source
        severe = [
            entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "favicon" not in entry["message"]
        ]
        assert not severe
    finally:
        browser.quit()
