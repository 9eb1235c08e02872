"""The page in Chromium: it opens, searches and steps, is accessible, and runs and asks for nothing that names want."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import hostile_program

import nervure as nv
from nervure.frontend import nn, optim
from nervure.ir.program import Program
from nervure.view import page
from nervure.zoo import CharRNN, LeNet5

pytestmark = pytest.mark.long

CHROMIUM = "/usr/bin/chromium"
TABS = ("graph", "code", "diff", "memory", "time")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no {CHROMIUM}: install Debian's chromium")
    with api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Opened:
    """A page in a tab, with all that it said and asked for."""

    def __init__(self, browser: Any, file: Path, dark: bool = False) -> None:
        self.tab = browser.new_page(
            viewport={"width": 1400, "height": 900}, color_scheme="dark" if dark else "light"
        )
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.tab.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.tab.on(
            "dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.add_init_script(
            "window.broken = []; addEventListener('securitypolicyviolation', e => broken.push(e.violatedDirective))"
        )
        self.tab.goto(file.as_uri())
        self.file = file

    def quiet(self) -> None:
        """Nothing was said, nothing but the file was asked for, nothing tried to break the policy."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith("data:,")] == [self.file.as_uri()]
        assert self.tab.evaluate("window.broken") == []

    def lines(self, selector: str) -> list[str]:
        return self.tab.locator(selector).all_text_contents()


def written(folder: Path, program: Program, **options: Any) -> Path:
    file = folder / "page.html"
    file.write_text(page(program, **options), "utf-8")
    return file


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("lenet"), nv.trace(LeNet5(), *LeNet5.inputs))


def test_it_opens_on_the_last_pass(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    assert opened.tab.title() == "lenet5"
    assert opened.tab.locator("nav [aria-current]").inner_text().startswith("fuse")
    assert opened.lines(".pane > h2") == ["Before fuse", "After fuse"]
    assert opened.tab.locator("#pictures .pane:last-child g.kernel.new").count() == 5
    opened.quiet()


def test_it_steps_by_keys_and_by_clicks(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    opened.tab.keyboard.press("[")
    assert opened.tab.locator("nav [aria-current]").inner_text().startswith("decompose")
    opened.tab.keyboard.press("[")
    opened.tab.keyboard.press("[")
    assert opened.lines(".pane > h2") == ["as traced"]
    opened.tab.locator("nav button", has_text="fuse").click()
    assert opened.lines(".pane > h2") == ["Before fuse", "After fuse"]
    opened.quiet()


def test_it_searches_and_goes_to_what_it_found(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    opened.tab.keyboard.press("/")
    opened.tab.keyboard.type("MAX_POOL")
    assert "places" in opened.tab.locator("#results p").inner_text()
    opened.tab.locator("#results button", has_text="as traced").first.click()
    assert opened.tab.locator("nav [aria-current]").inner_text().startswith("as traced")
    assert opened.tab.locator("g.box.on").count() == 1
    assert "max_pool" in opened.tab.locator("#detail").inner_text()
    opened.tab.keyboard.press("/")
    opened.tab.keyboard.press("Control+a")
    opened.tab.keyboard.type("no such thing")
    assert opened.tab.locator("#results p").inner_text() == "0 places"
    opened.tab.keyboard.press("Escape")
    assert opened.tab.locator("#results").is_hidden()
    opened.quiet()


def test_a_line_of_the_source_marks_its_nodes_and_its_code(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    opened.tab.click("#tab-code")
    row = opened.tab.locator("#source [role=option]", has_text="self.conv1(x)")
    row.click(position={"x": 20, "y": 5})
    assert all("zoo.py:54" in text for text in opened.lines("#blocks details.on summary"))
    assert opened.tab.locator("#ir .on").count() == 6
    for stage in ("llvm", "asm"):
        opened.tab.select_option("#stage", stage)
        assert opened.tab.locator("#blocks details.on").count() >= 2
        assert opened.tab.locator("#blocks details.on[open] pre").count() >= 2
    opened.tab.keyboard.press("Escape")
    row.focus()
    opened.tab.keyboard.press("ArrowDown")
    opened.tab.keyboard.press("Enter")
    assert "conv2" in opened.tab.locator("#source .on").inner_text()
    opened.quiet()


def test_the_graph_is_walked_by_keys(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    opened.tab.locator("#pictures .pane:last-child g.box[tabindex='0']").focus()
    for _ in range(2):
        opened.tab.keyboard.press("ArrowDown")
    opened.tab.keyboard.press("Enter")
    assert "fuse" in opened.tab.locator("#detail").inner_text()
    assert opened.tab.locator("#pictures .pane:last-child g.on").count() == 1
    opened.tab.click("#fit")
    opened.tab.click("#larger")
    opened.quiet()


def test_what_was_fused_is_marked_and_seen_on_both_sides(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    opened.tab.click("#plain")
    opened.tab.locator("#pictures .pane:last-child g.kernel", has_text="@fc2.weight").click()
    before = opened.tab.locator("#pictures .pane:first-child g.on")
    assert before.count() >= 1
    seen = opened.tab.locator("#pictures .pane:first-child .scroll").bounding_box()
    box = before.first.bounding_box()
    assert seen is not None and box is not None
    assert seen["y"] <= box["y"] and box["y"] + box["height"] <= seen["y"] + seen["height"]
    assert "dot_general" in opened.tab.locator("#detail").inner_text()
    opened.quiet()


def test_differences_between_any_two_passes(browser: Any, lenet: Path) -> None:
    opened = Opened(browser, lenet)
    opened.tab.click("#tab-diff")
    assert opened.tab.locator("#listing .new").count() > 5
    opened.tab.select_option("#from", "0")
    opened.tab.select_option("#to", "1")
    gone = [text for text in opened.lines("#listing .gone") if "return" not in text]
    assert len(gone) == 3 and all("linear" in text for text in gone)
    opened.tab.select_option("#to", "0")
    assert opened.tab.locator("#counts").inner_text() == "no difference"
    opened.quiet()


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(browser: Any, lenet: Path, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    opened = Opened(browser, lenet, dark)
    script = Path(axe.AXE_FILE_PATH).read_text("utf-8")
    # over the debugging protocol: the page's own policy lets no other script in
    opened.tab.evaluate(script)
    for tab in TABS:
        opened.tab.click(f"#tab-{tab}")
        if tab == "graph":
            opened.tab.locator("g.kernel").first.click()
        if tab == "code":
            opened.tab.locator("#source [role=option]").first.click(position={"x": 20, "y": 5})
        found = opened.tab.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == [], tab
    opened.tab.fill("#query", "conv")
    found = opened.tab.evaluate("axe.run(document)")
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []


def test_what_the_others_would_miss_is_found(browser: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    file = tmp_path / "planted.html"
    file.write_text("<title>t</title><p style='color:#aaa'>pale</p><img src=x.png onerror=alert(1)>", "utf-8")
    opened = Opened(browser, file)
    opened.tab.wait_for_timeout(300)
    assert "dialog: 1" in opened.said
    assert any(url.endswith("x.png") for url in opened.asked)
    opened.tab.evaluate(Path(axe.AXE_FILE_PATH).read_text("utf-8"))
    found = {v["id"] for v in opened.tab.evaluate("axe.run(document)")["violations"]}
    assert {"color-contrast", "image-alt", "html-has-lang"} <= found


def test_ten_thousand_hostile_names_run_nothing_and_ask_for_nothing(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, written(tmp_path, hostile_program(10_000), backend="reference"))
    assert opened.tab.locator("g.box").count() > 9_000
    for tab in TABS:
        opened.tab.click(f"#tab-{tab}")
        opened.tab.wait_for_timeout(300)
    opened.tab.fill("#query", "<script>")
    assert "of" in opened.tab.locator("#results p").inner_text()
    opened.tab.locator("#results button").first.click()
    opened.tab.keyboard.press("[")
    scripts = opened.tab.evaluate("[...document.scripts].map(s => s.type)")
    assert scripts == ["application/json", ""]
    strange = "img, iframe, object, embed, base, video, audio, link:not([rel=icon]), body style, svg script"
    assert opened.tab.locator(strange).count() == 0
    opened.quiet()


@pytest.mark.parametrize("kind", ["unrolled", "training"])
def test_large_programs_open_within_seconds(browser: Any, tmp_path: Path, kind: str) -> None:
    if kind == "unrolled":
        program = nv.trace(CharRNN(), *CharRNN.inputs)
    else:
        program = nv.training_step(LeNet5(), nn.cross_entropy, optim.Adam(1e-3), "f32[B,1,28,28]", "i64[B]")
    opened = Opened(browser, written(tmp_path, program))
    assert opened.tab.evaluate("performance.now()") < 5000
    for tab in TABS:
        opened.tab.click(f"#tab-{tab}")
    for _ in range(12):
        opened.tab.keyboard.press("[")
    opened.quiet()


def test_repeats_unfold_and_fold_again(browser: Any, tmp_path: Path) -> None:
    def deep(x: Any) -> Any:
        for _ in range(40):
            x = nn.tanh(x * 2 + 1)
        return x

    opened = Opened(browser, written(tmp_path, nv.trace(deep, "f32[B,8]"), backend="reference"))
    boxes = opened.tab.locator("svg.drawing").last.locator("g.box")
    folded = boxes.count()
    assert opened.tab.locator("g.box.repeat").count() > 0
    opened.tab.get_by_label("unfold repeats").check()
    assert opened.tab.locator("g.box.repeat").count() == 0
    assert boxes.count() > folded + 60
    opened.tab.get_by_label("unfold repeats").uncheck()
    assert boxes.count() == folded
    opened.quiet()


def test_a_page_without_repeats_has_no_switch_for_them(browser: Any, lenet: Path) -> None:
    assert Opened(browser, lenet).tab.get_by_label("unfold repeats").count() == 1
    assert not Opened(browser, lenet).tab.locator("#unfolding").is_visible()
