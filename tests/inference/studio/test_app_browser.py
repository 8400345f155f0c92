"""The app in a real headless browser: preview before anything is generated, sliders, a mistake, an animation by a tiny model.

    MEGACTOR_SCREENSHOT=docs/images/app.png python -m pytest -m slow tests/inference/studio/test_app_browser.py

also writes the page's picture.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference.moving_portrait import write_moving_portrait

pytest.importorskip("gradio", reason="the app needs gradio: install the [app] extra")
pytest.importorskip("selenium", reason="the browser is driven by selenium: install the [dev] extra")

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1500,1180",
)
WAIT_S = 120
N_FRAMES = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver (Debian: chromium chromium-driver)"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, str]:
    return write_moving_portrait(tmp_path_factory.mktemp("driver"), N_FRAMES)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A pipeline's folder: the smallest model, untrained."""
    from tests.inference.animation_parts import tiny_pipeline

    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(model):
    """The app as a user starts it."""
    command = [sys.executable, "-m", "inference", "app", "--port", "0", "--model", str(model), "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = next((line.split()[0] for line in process.stderr if line.startswith("http://")), None)
            assert url, "the app ended before it listened"
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(WAIT_S)
    yield driver
    driver.quit()


def wait_for(what, reason: str):
    """The first true value of `what()`; elements that the page has just replaced count as not yet there."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except (NoSuchElementException, StaleElementReferenceException):
            pass
        time.sleep(0.2)
    pytest.fail(f"after {WAIT_S} s still {reason}")


def find(browser, selector: str):
    return browser.find_element("css selector", selector)


def upload(browser, where: str, path: str) -> None:
    wait_for(lambda: find(browser, f"{where} input[type=file]"), f"no place to upload to at {where}").send_keys(path)


def preview_source(browser) -> str | None:
    return find(browser, "#preview img").get_attribute("src")


def load(url: str) -> np.ndarray:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return np.asarray(Image.open(io.BytesIO(reply.read())).convert("RGB"))


def set_slider(browser, where: str, value: str) -> None:
    from selenium.webdriver.common.keys import Keys

    box = find(browser, f"{where} input[type=number]")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(value, Keys.TAB)


def test_the_app_from_upload_to_animation(browser, address, files, tmp_path):
    portrait, driver = files
    browser.get(address)
    upload(browser, "#portrait", portrait)
    upload(browser, "#driver", driver)
    first_source = wait_for(lambda: preview_source(browser), "no preview")
    assert "20 frames at 25 a second" in find(browser, "#notes").text
    first = load(first_source)
    assert first.shape == (256, 1024, 3)
    assert 0.02 < (first[:, 768:].max(axis=-1) > 40).mean() < 0.4  # patches on black

    set_slider(browser, "#frame", "19")
    last_source = wait_for(lambda: preview_source(browser) != first_source and preview_source(browser), "the first frame")
    last = load(last_source)
    set_slider(browser, "#roll", "0")
    still_source = wait_for(lambda: preview_source(browser) != last_source and preview_source(browser), "the frame with its roll")
    still = load(still_source)
    assert np.abs(last[:, 256:512].astype(int) - still[:, 256:512]).mean() < 2  # the driver itself is as it was
    assert np.abs(last[:, 512:768].astype(int) - still[:, 512:768]).mean() > 5  # warped it is not

    if target := os.environ.get("MEGACTOR_SCREENSHOT"):
        time.sleep(1)
        browser.save_screenshot(target)

    find(browser, "#animate").click()
    video = wait_for(lambda: find(browser, "#result video").get_attribute("src"), f"no result: {find(browser, '#told').text}")
    assert "20 frames, 0.80 s" in wait_for(lambda: find(browser, "#told").text, "no report")
    (tmp_path / "result.mp4").write_bytes(urllib.request.urlopen(video, timeout=30).read())
    from curation.media import MediaReader

    with MediaReader() as reader:
        info = reader.probe(str(tmp_path / "result.mp4"))
    assert (info.n_frames, info.fps, info.video_codec) == (20, 25.0, "h264")

    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "favicon" not in entry["message"]]
    assert not severe


def test_a_portrait_without_a_face_is_one_line_on_the_page(browser, address, files, tmp_path):
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "grey.png")
    browser.get(address)
    upload(browser, "#portrait", str(tmp_path / "grey.png"))
    upload(browser, "#driver", files[1])
    wait_for(lambda: "no face found" in find(browser, "#notes").text, "no word about the portrait without a face")


def test_nothing_but_the_app_is_asked_for_anything(browser, address):
    """The page loads no fonts, scripts or counters from anywhere else."""
    browser.get(address)
    wait_for(lambda: find(browser, "#animate"), "no page")
    sources = browser.execute_script("return performance.getEntriesByType('resource').map(r => r.name)")
    assert [s for s in sources if not s.startswith((address, "data:", "blob:"))] == []
