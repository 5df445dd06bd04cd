"""The served page in a browser without a network: what a visitor clicks, types, sees and downloads."""

import json
import time
from dataclasses import replace

import pytest
from chromium import FLAGS, Chromium, find_chromium
from PIL import Image
from shared_runs import detector_run
from small_models import Finder

from spinet.app.models import Models
from spinet.app.serve import build_page, serve
from spinet.engine.config import ModelConfig
from spinet.predict.predictor import Predictor

pytest.importorskip("gradio", reason="the page needs the extra app")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine"),
]
PATIENCE = 120
TEXT = "document.querySelector('{}')?.innerText ?? ''"
# WCAG's contrast of an element's text with what lies behind it.
CONTRAST = """(element => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = colour => { const [r, g, b] = colour.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let behind = element, colour;
  do { colour = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
  while (behind && colour.length === 4 && colour[3] === 0);
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(colour)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05); })"""


@pytest.fixture(scope="module")
def served(tmp_path_factory, digits):
    """The address of a page with a run that has masks, and the finder in it, which counts how often it runs."""
    run = detector_run(tmp_path_factory.mktemp("page") / "run", digits)
    models = Models([run], "cpu")
    info = replace(models["run"].info, model=ModelConfig(head="mask-rcnn", arch="tiny"))
    model = Finder(masks=True)
    models._opened["run"] = replace(models["run"], predictor=Predictor(model, info))
    record = models.val("run").record
    page = build_page(models, [digits / record.images[int(record.truth.owners[0])]])
    for port in range(47900, 47940):
        try:
            address = serve(page, port=port)
            break
        except Exception:
            continue
    yield address, model
    page.close(verbose=False)


@pytest.fixture(scope="module")
def browser(served, tmp_path_factory):
    """A browser that has a camera, and whose page shows the predictions for an example of val."""
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    patch = pytest.MonkeyPatch()
    patch.setattr("chromium.FLAGS", FLAGS + camera)
    with Chromium(tmp_path_factory.mktemp("profile") / "profile") as browser:
        browser.resize(1280, 900)
        browser.open(served[0])
        browser.wait_for("!!document.querySelector('#examples .gallery-item[aria-label]')", PATIENCE)
        browser.click("document.querySelector('#examples .gallery-item')")
        browser.wait_for("document.querySelectorAll('#table-0 tbody tr').length === 2", PATIENCE)
        yield browser
    patch.undo()


def text(browser, selector):
    return browser.run(TEXT.format(selector))


def set_slider(browser, selector, value):
    script = (
        f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input', {{bubbles: true}}));"
        f" e.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
        f"(document.querySelector('{selector} input[type=range]'))"
    )
    browser.run(script)


def open_tab(browser, name):
    browser.click(
        f"[...document.querySelectorAll('[role=tab]')].find(e => e.innerText.trim() === '{name}' && e.clientWidth > 0)"
    )


def test_an_example_of_val_is_shown_beside_its_annotations(browser):
    browser.wait_for("document.querySelector('#truth img')?.naturalWidth > 0")

    assert browser.run("document.querySelector('#truth img').alt").endswith("with its annotations")
    assert "Ground truth" in browser.run("document.body.innerText")


def test_moving_the_threshold_shows_its_precision_and_runs_no_network(browser, served):
    asked = served[1].asked

    set_slider(browser, "#score", 0.6)

    browser.wait_for(f"({TEXT.format('#operating')}).includes('from score 0.60: precision 1.00')", PATIENCE)
    browser.wait_for("document.querySelectorAll('#table-0 tbody tr').length === 1", PATIENCE)
    assert served[1].asked == asked


def test_the_button_sets_the_threshold_of_best_f1(browser):
    browser.click("document.querySelector('#auto')")

    said = text(browser, "#auto")
    browser.wait_for(f"document.querySelector('#score input[type=number]').value === String(+'{said.split()[-1]}')")


def test_opacity_draws_again_and_runs_no_network(browser, served):
    set_slider(browser, "#score", 0.3)
    browser.wait_for("document.querySelectorAll('#table-0 tbody tr').length === 2", PATIENCE)
    before, asked = browser.run("document.querySelector('#picture-0 img').src"), served[1].asked

    set_slider(browser, "#opacity", 1)

    browser.wait_for(f"document.querySelector('#picture-0 img').src.length !== {len(before)}", PATIENCE)
    assert served[1].asked == asked


def test_classes_are_chosen_with_the_keyboard(browser):
    browser.run("document.querySelector('#classes input').focus()")
    names = browser.run("document.querySelector('#table-0 tbody').innerText").split()[::6]
    browser.send("Input.insertText", text=names[0])
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)

    browser.wait_for("document.querySelectorAll('#table-0 tbody tr').length === 1", PATIENCE)
    browser.click("document.querySelector('#classes [aria-label*=lear], #classes .remove-all')")
    browser.wait_for("document.querySelectorAll('#table-0 tbody tr').length === 2", PATIENCE)


def test_a_small_image_fills_its_frame_and_zooms(browser):
    width = "Math.round(document.querySelector('#picture-0 img').getBoundingClientRect().width)"
    frame = browser.run("document.querySelector('#picture-0 .frame').clientWidth")
    original = browser.run("+getComputedStyle(document.querySelector('#picture-0 img')).getPropertyValue('--w')")
    assert browser.run(width) > 0.8 * min(frame, 600)

    for name, factor in (("4x", 4), ("full size", 1)):
        browser.click(f"[...document.querySelectorAll('label')].find(e => e.innerText.trim() === '{name}')")
        browser.wait_for(f"{width} === {factor * original}")
    browser.click("[...document.querySelectorAll('label')].find(e => e.innerText.trim() === 'fit')")


def test_the_camera_takes_an_image_that_is_predicted(browser, served):
    asked = served[1].asked
    browser.click("[...document.querySelectorAll('button')].find(e => e.innerText.trim().startsWith('Camera'))")
    browser.wait_for("!!document.querySelector('#camera [title] button')")
    browser.click("document.querySelector('#camera [title] button')")
    browser.wait_for("document.querySelector('#camera video')?.videoWidth > 0")
    browser.click("document.querySelector('#camera .capture-button')")

    browser.wait_for("document.querySelector('#picture-0 img').alt.includes('image')", PATIENCE)
    assert served[1].asked == asked + 1


def test_a_batch_is_predicted_and_downloaded(browser, tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    (tmp_path / "empty.png").write_bytes(b"")
    open_tab(browser, "Batch")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    node = browser.send("DOM.querySelector", nodeId=root, selector="#batch input[type=file]")["nodeId"]
    browser.send("DOM.setFileInputFiles", files=[str(tmp_path / "a.png"), str(tmp_path / "empty.png")], nodeId=node)
    browser.wait_for("document.querySelector('#batch').innerText.replace(/\\s/g, '').includes('empty.png')", PATIENCE)
    browser.click("document.querySelector('#batch-start')")

    browser.wait_for(f"({TEXT.format('#batch-found')}).includes('could not read the image empty.png')", PATIENCE)
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.wait_for("!!document.querySelector('#download-coco')", PATIENCE)
    browser.click("document.querySelector('#download-coco')")
    file, end = tmp_path / "detections-coco.json", time.monotonic() + PATIENCE
    while not file.is_file() and time.monotonic() < end:
        time.sleep(0.2)
    content = json.loads(file.read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png"]
    assert len(content["annotations"]) == 2


def test_the_report_opens_in_a_frame_that_runs_nothing(browser):
    open_tab(browser, "Report")

    browser.wait_for("!!document.querySelector('iframe.report')", PATIENCE)
    assert browser.run("document.querySelector('iframe.report').sandbox.length") == 0
    assert "COCO metrics" in browser.run("document.querySelector('iframe.report').srcdoc")


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_and_the_page_fits_a_narrow_screen(browser, dark):
    open_tab(browser, "Image")
    browser.resize(390, 844, dark)
    browser.wait_for(f"document.querySelector('.dark') {'!==' if dark else '==='} null")
    browser.wait_for("document.documentElement.scrollWidth === 390")

    for selector in (".note", "#operating .note", "#operating .keys", "#auto", "#table-0 th", "#table-0 td", "h1"):
        # Colours change gradually when the theme does.
        browser.wait_for(f"{CONTRAST}(document.querySelector('{selector}')) >= 4.5", 10)
    browser.resize(1280, 900)


def test_every_control_has_a_name_and_shows_its_focus(browser):
    unnamed = browser.run(
        "[...document.querySelectorAll('button, input, a[href], textarea')].filter(e => e.getClientRects().length)"
        ".filter(e => !(e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || e.title)"
        " && e.type !== 'file').map(e => e.outerHTML.slice(0, 200))"
    )
    assert unnamed == []
    for _ in range(8):
        for kind in ("keyDown", "keyUp"):
            browser.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        style = browser.run(
            "(e => [e, e.closest('label'), e.parentElement].filter(Boolean).map(getComputedStyle)"
            ".some(s => s.outlineStyle !== 'none' || s.boxShadow !== 'none'))(document.activeElement)"
        )
        assert style, browser.run("document.activeElement.outerHTML.slice(0, 200)")


def test_nothing_was_asked_of_other_machines_and_nothing_failed(browser, served):
    assert browser.asked_outside(served[0]) == []
    assert browser.failures() == []
