import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from looktwice.records import Curve, Explanation, Region, Result, Rule, RuleFinding, Spec
from looktwice.report import FORMATS, RUN_FORMATS, formats, html, run_report
from looktwice.report.embed import Album
from looktwice.report.html import visible, write_html
from looktwice.report.overlay import ALPHAS, blend
from looktwice.report.paths import inside, link
from looktwice.report.plot import plot

from . import made

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "</style><style>*{display:none}",
    "</title></bdi></pre>{{ 7 * 7 }}{% raw %}",
    "photo\u202egnp.exe",
    "line\nbreak\0\x07\u2028end",
    "&lt;b&gt; &amp; http://example.com/x.png",
)
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, text per element, and whether tags close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {name.replace("_", "-").rstrip("-"): value for name, value in attributes.items()}
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in wanted.items())]

    @property
    def text(self) -> str:
        return " ".join("".join(data for tag, data in self.texts if tag not in ("style", "script")).split())


def written(folder: Path, results: list[Result], spec: Spec | None = None, **more: object) -> Page:
    return Page(write_html(folder, results, spec, made.MADE, **more).read_text("utf-8"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def run(folder: Path) -> list[Result]:
    return made.run(folder)


@pytest.fixture(scope="module")
def page(folder: Path, run: list[Result]) -> Page:
    return written(folder, run, made.SPEC)


def evil_result(folder: Path, text: str) -> Result:
    """A result whose every free text is `text`."""
    file = made.save(folder, "pictures/a.png", np.zeros((12, 16, 3), np.uint8))
    return Result(
        id=text,
        path=f"in/{text}.png",
        modality="image",
        model=text,
        score=0.9,
        verdict="anomalous",
        threshold=0.5,
        regions=(Region(score=0.9, words=text, where=text, box=(1, 2, 30, 40), points=text),),
        words=text,
        explanation=Explanation(
            description=text, defect_type=text, location=text, impact=text, suggestion=text, raw=text
        ),
        rules=(RuleFinding(id=text, text=text, verdict="broken", reason=text),),
        curve=Curve(times=(0.0, 1.0), scores=(0.1, 0.9)),
        files={"picture": file, "heat": text, "reference": text, text: text},
        notes=(text,),
        evidence={text: text},
        size=(480, 640),
        sha256=text,
        settings_hash=text,
        version=text,
    )


def assert_harmless(text: str) -> Page:
    """The page holds our two blocks and nothing else that acts or reaches out; returns it parsed."""
    page = Page(text)
    policy = page.elements[3][1]  # html, head, meta charset, then this one: before anything it guards
    assert policy.get("http-equiv") == "Content-Security-Policy"
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy["content"]).split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {"default-src", "img-src", "style-src", "script-src", "base-uri", "form-action"}
    for tag in ("script", "style"):
        assert page.all(tag) == [{}]
        block = text[text.index(f"<{tag}>") + len(tag) + 2 : text.index(f"</{tag}>")]
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    known = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "main",
        "footer",
        "section",
        "article",
    }
    known |= {"h1", "h2", "h3", "h4", "p", "a", "b", "br", "bdi", "span", "ul", "ol", "li", "dl", "dt", "dd", "details"}
    known |= {"summary", "div", "figure", "figcaption", "img", "label", "input", "output", "fieldset", "legend", "pre"}
    known |= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    known |= {
        "svg",
        "defs",
        "image",
        "use",
        "g",
        "rect",
        "line",
        "text",
        "polyline",
        "polygon",
        "stop",
        "lineargradient",
    }
    ids = {a["id"] for _, a in page.elements if a.get("id")}
    for tag, attributes in page.elements:
        assert tag in known
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("style", "srcdoc", "action", "formaction", "srcset", "xlink:href")
            if name == "href" and tag == "use":
                assert str(value)[1:] in ids
            elif name == "src" or (name == "href" and tag == "image"):
                assert str(value).startswith("data:image/")
            elif name == "href":
                assert re.fullmatch(r"#[\w-]+|\./[\w\-.~%/]*", str(value)), value
                assert not str(value).startswith("#") or str(value)[1:] in ids
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    return page


def test_a_whole_run_is_one_harmless_file(folder: Path, run: list[Result]) -> None:
    page = assert_harmless(write_html(folder, run, made.SPEC, made.MADE).read_text("utf-8"))
    assert len(page.all("img")) >= 6
    assert page.all("meta", name="viewport")


@pytest.mark.parametrize("text", EVIL)
def test_no_text_from_outside_can_act(tmp_path: Path, text: str) -> None:
    spec = Spec(task=text, object=text, context=text, rules=(Rule(id=text, text=text),), references=(text,))
    failed = made.failed_result(text).model_copy(update={"path": text})
    results = [evil_result(tmp_path, text), failed]
    source = write_html(tmp_path, results, spec, {text: text}, title=text).read_text("utf-8")
    page = assert_harmless(source)
    assert " ".join(visible(text).split()) in page.text  # shown as it is: not swallowed, not evaluated


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_random_text_can_act(tmp_path: Path, text: str) -> None:
    assert_harmless(write_html(tmp_path, [evil_result(tmp_path, text)], None, {text: text}).read_text("utf-8"))


def test_a_changed_block_would_no_longer_run(folder: Path, run: list[Result]) -> None:
    text = write_html(folder, run, None, {}).read_text("utf-8")
    with pytest.raises(AssertionError):
        assert_harmless(text.replace('"use strict";', '"use strict"; alert(1);'))
    with pytest.raises(AssertionError):
        assert_harmless(text.replace("<h1>", "<h1><script>alert(1)</script>"))


def test_the_script_holds_nothing_that_ends_it_early() -> None:
    source = (Path(html.__file__).parent / "templates" / html.SCRIPT).read_text()
    assert "</" not in source
    assert "innerHTML" not in source
    assert "eval" not in source


# ---------------------------------------------------------------- content


def test_the_head_counts_verdicts_and_modalities(page: Page) -> None:
    assert "5 samples inspected: 3 × image, 1 × point cloud, 1 × video." in page.text
    for words in ("5 in all", "2 ▲ anomalous", "1 ◆ unsure", "1 ● normal", "1 ✕ failed"):
        assert words.replace(" ", "") in page.text.replace(" ", "")


def test_the_sheet_and_the_making_of_the_run_are_shown(page: Page) -> None:
    for words in ("Find any damage", "brushed metal plate", "All four holes are open", "references/good_2.png", "dent"):
        assert words in page.text
    assert made.MADE["Command"] in page.text


def test_the_summary_is_sorted_by_score_and_can_be_sorted(page: Page) -> None:
    names = [a["data-sort"] for t, a in page.elements if t == "td" and "data-sort" in a][::6]
    assert names == ["plate_017.png", "press_line.mp4", "bracket_3.ply", "plate_021.png", "broken.png"]
    heads = [a for a in page.all("th") if "data-kind" in a]
    assert [a.get("aria-sort") for a in heads] == [None, None, "descending", None, None, None]
    assert [a["data-verdict"] for a in page.all("tr") if "data-verdict" in a] == [
        "anomalous",
        "anomalous",
        "unsure",
        "normal",
        "failed",
    ]


def test_every_row_of_the_summary_leads_to_its_sample(page: Page) -> None:
    links = [a["href"] for a in page.all("a") if str(a["href"]).startswith("#s-")]
    ids = [a["id"] for _, a in page.elements if str(a.get("id", "")).startswith("s-")]
    assert links == [f"#s-{i}" for i in range(1, 6)]
    assert sorted(f"#{i}" for i in ids) == links


def test_each_sample_says_what_where_why_and_how(page: Page, run: list[Result]) -> None:
    bad = run[1]
    for words in (bad.words, "Darker, long and thin.", "Check the gripper", "The line in the centre", "was moved by"):
        assert words in page.text
    for words in ("Model memory", f"File SHA-256 {bad.sha256}", "Settings hash 51ab77e0", "looktwice 0.1.0", "0.214"):
        assert words.replace(" ", "") in page.text.replace(" ", "")
    assert "What normal looks like here" in page.text
    assert "3.1 % of normal parts look at least this anomalous" in page.text  # of the cloud, by its calibration


def test_failures_are_listed_with_kind_and_message(page: Page) -> None:
    assert "Could not be inspected (1)" in page.text
    assert "unreadable" in page.text
    assert "cut off after 1,204 of 88,310 bytes. Copy it again." in page.text


def test_boxes_lie_on_the_picture_where_the_regions_are(page: Page, run: list[Result]) -> None:
    frames = page.all("rect", class_="frame")
    assert len(frames) == 4  # two on the picture, two on the key frames
    for frame, region in zip(frames, run[1].regions, strict=False):
        x0, y0, x1, y1 = region.box or (0, 0, 0, 0)
        shown = [float(str(frame[k]).rstrip("%")) for k in ("x", "y", "width", "height")]
        wanted = [100 * x0 / 640, 100 * y0 / 480, 100 * (x1 - x0) / 640, 100 * (y1 - y0) / 480]
        np.testing.assert_allclose(shown, wanted, atol=0.001)


def decoded(attributes: dict[str, str | None]) -> Image.Image:
    kind, data = str(attributes["src"]).split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{str(picture.format).lower()}"
    return picture


def test_heat_over_the_picture_looks_like_the_overlay(folder: Path, page: Page, run: list[Result]) -> None:
    base = decoded(page.all("img", class_="base")[0]).convert("RGBA")
    heat = decoded(page.all("img", class_="heat")[0]).convert("RGBA")
    assert heat.size == (640, 480)
    heat.putalpha(heat.getchannel("A").point(lambda a: a * 0.6))  # the strength the page begins with
    shown = np.asarray(Image.alpha_composite(base, heat).convert("RGB"), int)
    anomaly_map = np.asarray(Image.open(folder / run[1].files["heat"]), np.float32) / 255
    wanted = blend(np.asarray(Image.open(folder / run[1].files["picture"])), anomaly_map)
    assert np.abs(shown - wanted).mean() < 2
    assert (np.asarray(heat.getchannel("A"))[anomaly_map < 0.1] == 0).all()
    assert ALPHAS[0] == 0


def test_pictures_are_made_small_and_small_ones_larger(tmp_path: Path) -> None:
    made.save(tmp_path, "large.jpg", np.zeros((1000, 3000, 3), np.uint8))
    made.save(tmp_path, "small.png", np.zeros((100, 50, 3), np.uint8))
    made.save(tmp_path, "one.png", np.zeros((1, 1), np.uint8))
    album = Album(tmp_path, 9)
    sizes = [(s.width, s.height) for s in map(album.picture, ("large.jpg", "small.png", "one.png"))]  # type: ignore[union-attr]
    assert sizes == [(960, 320), (300, 600), (640, 640)]


def test_a_reference_of_many_samples_is_in_the_page_once(folder: Path, run: list[Result]) -> None:
    page = written(folder, run[:2])
    assert [a["id"] for a in page.all("image")] == ["shared-1"]
    assert [a["href"] for a in page.all("use")] == ["#shared-1", "#shared-1"]


def test_a_cloud_links_to_its_coloured_points_and_a_video_to_its_film(folder: Path, page: Page) -> None:
    links = {str(a["href"]) for a in page.all("a")}
    assert {"./clouds/bracket_3.ply", "./videos/press_line.mp4"} <= links
    for target in links:
        if target.startswith("./"):
            assert (folder / unquote(target)).is_file()


def test_a_link_survives_any_file_name(tmp_path: Path) -> None:
    name = 'a b/50 % #1? "ü" &amp;.ply'
    (tmp_path / "clouds/a b").mkdir(parents=True)
    (tmp_path / "clouds" / name).write_bytes(b"")
    result = made.cloud_result(tmp_path).model_copy(update={"files": {"ply": f"clouds/{name}"}})
    page = assert_harmless(write_html(tmp_path, [result], None, {}).read_text("utf-8"))
    (target,) = [str(a["href"]) for a in page.all("a") if str(a["href"]).startswith("./")]
    assert (tmp_path / unquote(target)).is_file()


# ---------------------------------------------------------------- missing, odd and many


def test_missing_files_are_said_to_be_missing(tmp_path: Path) -> None:
    results = made.run(tmp_path)
    for file in [f for f in tmp_path.rglob("*") if f.is_file()]:
        file.unlink()
    page = written(tmp_path, results)
    assert "The picture is missing: pictures/plate_017.jpg" in page.text
    assert "coloured cloud (PLY) (missing: clouds/bracket_3.ply)" in page.text
    assert page.all("img") == []
    assert not [a for a in page.all("a") if str(a["href"]).startswith("./")]


def test_without_a_heat_map_the_overlay_is_shown(tmp_path: Path) -> None:
    result = made.image_result(tmp_path)
    (tmp_path / result.files["heat"]).unlink()
    page = written(tmp_path, [result])
    assert "Picture with its heat drawn in" in page.text
    assert page.all("img", class_="heat") == page.all("rect", class_="frame") == page.all("input", type="range") == []


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n cut"])
def test_a_damaged_picture_is_said_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    result = made.image_result(tmp_path)
    for purpose in ("picture", "overlay"):
        (tmp_path / result.files[purpose]).write_bytes(content)
    assert "The picture cannot be shown: pictures/plate_017.jpg" in written(tmp_path, [result]).text


def test_heat_of_another_shape_is_not_laid_over_the_picture(tmp_path: Path) -> None:
    result = made.image_result(tmp_path)
    made.save(tmp_path, result.files["heat"], np.zeros((100, 300), np.uint8))
    del result.files["overlay"]
    page = written(tmp_path, [result])
    assert page.all("img", class_="heat") == []
    assert "The heat map cannot be shown" in page.text


def test_no_file_outside_the_results_is_shown(tmp_path: Path) -> None:
    secret = made.save(tmp_path, "secret.png", np.zeros((9, 9, 3), np.uint8))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / secret)
    for file in ("../secret.png", str(tmp_path / secret), "link.png"):
        result = made.image_result(folder).model_copy(update={"files": {"picture": file}})
        page = written(folder, [result])
        assert page.all("img") == []
        assert "The picture is missing" in page.text
    assert inside(folder, "a/../b.png") == (folder / "b.png").resolve()
    assert inside(folder, "a\0b") is None
    assert inside(folder, None) is None
    assert link("../../etc/passwd") == "./etc/passwd"
    assert link("//example.com/x") == "./example.com/x"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"size": [0, 0], "boxes": [[1, 2, 3, 4]]}', '{"size": [9, 9], "boxes": [7, "a"]}']
)
def test_boxes_that_hold_something_else_are_not_drawn(tmp_path: Path, text: str) -> None:
    result = made.video_result(tmp_path)
    (tmp_path / result.files["boxes"]).write_text(text)
    assert written(tmp_path, [result]).all("rect", class_="frame") == []


def test_an_empty_run_is_still_a_page(tmp_path: Path) -> None:
    page = assert_harmless(write_html(tmp_path, [], None, {}).read_text("utf-8"))
    assert "Nothing was inspected." in page.text
    assert page.all("table") == []


def test_a_bare_result_has_a_section(tmp_path: Path) -> None:
    result = Result(id="a", path="a", modality=None, model="m", verdict="normal")
    page = assert_harmless(write_html(tmp_path, [result], None, {}).read_text("utf-8"))
    assert "No picture was kept." in page.text
    assert "Score none" in page.text


def test_only_the_most_anomalous_have_their_pictures_in_the_page(tmp_path: Path) -> None:
    results = [made.image_result(tmp_path, f"part_{i}").model_copy(update={"score": i / 10}) for i in range(5)]
    page = written(tmp_path, results, max_pictures=2)
    assert [str(a["alt"]) for a in page.all("img", class_="base")] == ["Picture of part_4.png", "Picture of part_3.png"]
    assert "pictures of the 2 most anomalous samples are embedded; those of 3 more are left out" in page.text
    assert page.text.count("The picture is left out to keep this page small.") == 3


def test_the_page_stops_growing_when_its_budget_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [made.image_result(tmp_path, size=(240, 320))] * 20
    album = Album(tmp_path, 200, budget=150_000)
    monkeypatch.setattr(html, "Album", lambda *_: album)
    page = written(tmp_path, results)
    shown = len(page.all("img", class_="base"))
    assert 1 <= shown < 20
    assert f"pictures of the {shown} most anomalous samples are embedded; those of {20 - shown} more" in page.text
    assert (tmp_path / "report.html").stat().st_size < 150_000 * 1.5 + 20 * 10_000


def test_a_long_run_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "ROWS", 3)
    monkeypatch.setattr(html, "CARDS", 2)
    results = [made.image_result(tmp_path)] * 5 + [made.failed_result()]
    source = write_html(tmp_path, results, None, {}).read_text("utf-8")
    page = assert_harmless(source)
    assert "3 more samples are in results.jsonl; this table holds the 3 most anomalous." in page.text
    assert "The 2 most anomalous samples are shown here; 3 more are in results.jsonl." in page.text
    assert "Could not be inspected (1)" in page.text  # failures are never cut


def test_the_same_results_make_the_same_page(tmp_path: Path) -> None:
    results = made.run(tmp_path)
    first = write_html(tmp_path, results, made.SPEC, made.MADE).read_bytes()
    assert write_html(tmp_path, results, made.SPEC, made.MADE).read_bytes() == first


# ---------------------------------------------------------------- the curve of a video


def test_the_curve_is_drawn_over_time_with_threshold_and_intervals() -> None:
    drawn = plot(Curve(times=(0.0, 5.0, 10.0), scores=(0.0, 1.0, 0.5)), 0.75, [(1, 4.0, 6.0)])
    assert drawn is not None
    assert drawn.line == "0.0,100.00 500.0,0.00 1000.0,50.00"
    assert drawn.threshold == 25
    assert drawn.intervals == ((1, 40.0, pytest.approx(20.0)),)
    assert drawn.ticks == ((0.0, "0 s"), (20.0, "2 s"), (40.0, "4 s"), (60.0, "6 s"), (80.0, "8 s"), (100.0, "10 s"))


@given(
    times=st.lists(st.floats(0, 1e6), min_size=1, max_size=30, unique=True).map(sorted),
    data=st.data(),
)
@settings(deadline=None, max_examples=50)
def test_any_curve_stays_in_its_frame(times: list[float], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(times), max_size=len(times)))
    drawn = plot(Curve(times=tuple(times), scores=tuple(scores)), 0.5, [(1, times[0], times[-1])])
    assert drawn is not None
    points = [tuple(map(float, p.split(","))) for p in drawn.line.split()]
    assert all(0 <= x <= 1000 and 0 <= y <= 100 for x, y in points)
    assert len(points) >= 2
    assert 1 <= len(drawn.ticks) <= 8
    assert all(0 <= left <= 100 for left, _ in drawn.ticks)
    assert all(left >= 0 and width > 0 for _, left, width in drawn.intervals)


def test_a_long_curve_keeps_its_peaks() -> None:
    scores = np.full(50_000, 0.1)
    scores[31_234] = 0.97
    drawn = plot(Curve(times=tuple(np.arange(50_000) / 4), scores=tuple(scores)), 0.5, [])
    assert drawn is not None
    assert len(drawn.line.split()) <= 1000
    assert min(float(p.split(",")[1]) for p in drawn.line.split()) == pytest.approx(3.0)
    assert drawn.ticks[1][1] == "1:00:00"


def test_a_curve_without_scores_is_no_curve() -> None:
    assert plot(Curve(times=(), scores=()), 0.5, []) is None


# ---------------------------------------------------------------- the table of formats


def test_every_run_format_writes_a_file_into_the_folder(folder: Path, run: list[Result]) -> None:
    for name in RUN_FORMATS:
        file = run_report(name)(folder, run, made.SPEC, made.MADE)
        assert file.parent == folder
        assert file.stat().st_size > 0


def test_every_format_can_be_loaded() -> None:
    assert set(FORMATS) == {"html", "coco", "jsonl", "ply", "mp4"}
    for name in FORMATS:
        assert callable(FORMATS.load(name))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("htm", "Unknown format 'htm'. Did you mean 'html'? Known: html, coco, jsonl, ply, mp4."),
        (" , ", "no format given. Known: html"),
    ],
)
def test_a_wrong_format_names_the_right_ones(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        formats(text)
    assert formats("html, jsonl,html") == ("html", "jsonl")
