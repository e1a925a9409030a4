"""Tables, plots and galleries: published is marked, names cannot break out, the same bytes every time."""

from __future__ import annotations

import base64
import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.made import bright, miniatures, mvtec, talker
from looktwice.benchmark.gallery import write_gallery
from looktwice.benchmark.plan import make_plan
from looktwice.benchmark.plots import curves_svg, write_plots
from looktwice.benchmark.predict import predict
from looktwice.benchmark.published import figures
from looktwice.benchmark.report import PUBLISHED, STYLES, Table, figure_table, render, tables
from looktwice.benchmark.score import read_scores, score
from looktwice.benchmark.store import Run
from looktwice.errors import UnknownName, UsageError

EVIL = '<script>alert("1")</script> & | \\ $x_1$ {a} %'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mvtec(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle", "cable"), shots=(0, 1), seeds=2)
    predict(plan, root, out, load=bright)
    score(out, resamples=50)
    return out


def test_published_figures_stand_beside_ours_and_are_marked(run: Path) -> None:
    summary, *rest = tables([score(run, resamples=50)])
    assert summary.title == "MVTec AD: mean over categories, %"
    rows = {row[0]: row for row in summary.rows}
    assert rows["fake, 0 shots"][1] == "ours"
    vmad = next(row for name, row in rows.items() if name.startswith("VMAD, 0 shots; VMAD, arXiv 2409.20146, Table I"))
    assert vmad[1] == PUBLISHED
    cells = dict(zip(summary.header, vmad, strict=True))
    assert (cells["image AUROC"], cells["PRO"], cells["AP (image or pixel: not stated)"]) == ("95.8", "91.2", "87.6")
    assert cells["pixel AP"] == ""
    assert any("recalled" in name for name in rows)
    assert [table.title for table in rest] == ["MVTec AD: fake, 0 shots, %", "MVTec AD: fake, 1 shot, 2 seeds, %"]
    assert any(name.startswith("april-gan: VAND, 0 shots") for name in rows)
    assert any(name.startswith("anomaly-ov: w/o Q-Former, 0 shots") for name in rows)
    only = tables([score(run, resamples=50)], paper="anomaly-ov", categories=False)[0]
    assert {row[0].split("; ")[1].split(",")[0] for row in only.rows if row[1] == PUBLISHED} == {"Anomaly-OV"}
    own = [row[0] for row, source in zip(rest[0].rows, rest[0].source, strict=True) if source != PUBLISHED]
    assert own == ["bottle", "cable", "mean"]
    assert any(row[0].startswith("cable: AnomalyCLIP") for row in rest[0].rows)
    without = tables([score(run, resamples=50)], published=False, categories=False)
    assert len(without) == 1
    assert set(without[0].source) == {"ours"}


def test_one_draw_has_an_interval_and_several_have_a_deviation(run: Path) -> None:
    scores = score(run, resamples=50)
    summary = tables([scores], metrics=["image_auroc"], published=False)[0]
    assert re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", summary.rows[0][2])
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d", summary.rows[1][2])
    with pytest.raises(UnknownName, match="Did you mean 'image_auroc'"):
        tables([scores], metrics=["image_aurc"])


def test_what_is_not_defined_is_not_available(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    mvtec(root, ("cable",), bad=0)
    (root / "bottle/test/good/000.png").write_bytes(b"no")
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle", "cable"), limit=8)
    predict(plan, root, tmp_path / "run", load=bright)
    summary, own = tables([score(tmp_path / "run")], published=False)
    assert own.rows[1][3] == "n/a"
    assert "nan" not in render([summary, own], "paper")
    notes = "\n".join(summary.notes)
    assert "1 of 12 samples failed and count in no figure" in notes
    assert "image AUROC is not defined for cable; the mean is over the rest" in notes
    assert "a trial on at most 8 samples a category" in notes


@pytest.mark.parametrize("style", STYLES)
def test_a_name_cannot_break_out_of_its_cell(style: str) -> None:
    table = Table(EVIL, ("name", "value"), ((f"{EVIL}\n{EVIL}", "1"),), (PUBLISHED,), (EVIL,))
    text = render([table], style)
    assert text.endswith("\n")
    if style == "html":
        assert "<script>" not in text
    if style == "markdown":
        line = next(line for line in text.splitlines() if line.startswith("| &lt;"))
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3
    if style == "latex":
        body = text[text.index("\\midrule") : text.index("\\bottomrule")]
        assert r"\$x\_1\$ \{a\} \%" in body
        assert body.count("\\\\") == 1
    if style == "csv":
        assert list(csv.reader(io.StringIO(text)))[1] == [f"{EVIL}\n{EVIL}", "1"]


def test_an_unknown_style_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"Unknown style 'word'.*paper, markdown, latex, csv, html"):
        render([], "word")


def test_plots_are_well_formed_and_the_same_every_time(run: Path, tmp_path: Path) -> None:
    paths = write_plots([run], tmp_path)
    assert [path.name for path in paths] == ["roc.svg", "pro.svg"]
    first = [path.read_bytes() for path in paths]
    tree = ElementTree.fromstring(first[0])
    lines = [one for one in tree.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 2 * (1 + 2)  # categories, zero-shot once and 1-shot twice
    names = "".join(tree.itertext())
    assert "bottle, 1 shot, seed 1" in names
    assert [path.read_bytes() for path in write_plots([run], tmp_path)] == first


def test_the_name_of_a_curve_cannot_break_out() -> None:
    text = curves_svg({EVIL: [[0, 0], [1, 1]]}, EVIL, EVIL, EVIL)
    assert ElementTree.fromstring(text) is not None
    assert "<script" not in text
    many = curves_svg({str(i): [[0, 0], [0.3, 1]] for i in range(40)}, "t", "x", "y", 0.3)
    assert "and 16 more" in many


def test_a_gallery_shows_the_most_wrong_first_and_needs_nothing_else(run: Path) -> None:
    page = write_gallery(Run(run), count=2).read_text("utf-8")
    rows = Run(run).rows(Run(run).units[0])
    normal = sorted((r for r in rows if r["label"] == 0), key=lambda r: -r["score"])
    missed = sorted((r for r in rows if r["label"] == 1), key=lambda r: r["score"])
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions[0].startswith(f"{normal[0]['id']}: {normal[0]['score']:.3f}")
    assert captions[2].startswith(f"{missed[0]['id']}: {missed[0]['score']:.3f}, broken")
    assert page.count('src="data:image/jpeg;base64,') == len(captions) == 2 * 4 * 4
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_a_gallery_without_its_pictures_says_so(run: Path, root: Path, tmp_path: Path) -> None:
    other = mvtec(tmp_path / "other", good=1, bad=1)
    page = write_gallery(Run(run), other, count=3).read_text("utf-8")
    assert "(no picture: not in this copy)" in page
    made = (run / "made.json").read_text()
    (run / "made.json").write_text(made.replace(str(root), str(tmp_path / "gone")))
    with pytest.raises(UsageError, match=r"no longer at .*gone: give --root"):
        write_gallery(Run(run))


def test_mmad_has_its_table_of_sub_tasks_with_the_published_ones(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    plan = make_plan(model="fake", dataset="mmad", task="answer", references="own", shots=(1,))
    predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    made = tables([score(tmp_path / "run")], categories=False)
    table = made[1]
    assert table.title == "MMAD: fake, 1 shot, accuracy in %"
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["VisA"]["Anomaly Detection"] == "100.0"
    assert rows["VisA"]["Defect Analysis"] == "n/a"
    assert (rows["VisA"]["overkill"], rows["VisA"]["miss"]) == ("0.0", "0.0")
    assert rows["gpt-4o, 1 shot; all_result"]["Average"] == "74.3"
    assert rows["gpt-4o, 1 shot; text"]["Average"] == "74.9"
    assert dict(zip(table.rows, table.source, strict=True))[table.rows[-1]] == PUBLISHED
    assert "letters given: A 4" in table.notes
    assert not any(PUBLISHED in one.source for one in tables([score(tmp_path / "run")], published=False))
    assert [one.title for one in tables([read_scores(tmp_path / "run")], categories=False)] == [
        one.title for one in made
    ]


def test_a_published_deviation_is_printed_with_its_value() -> None:
    (row,) = [one for one in figure_table(figures("anomalygpt", "mvtec_ad", "image_auroc")).rows if one[7] == "1"]
    assert row[5] == "94.1 ± 1.1"


def test_a_gallery_outlines_the_truth_beside_the_picture(run: Path, root: Path) -> None:
    page = write_gallery(Run(run), root, count=1).read_text("utf-8")
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    ]
    false_alarm, miss = pictures[:2]
    assert false_alarm.shape == miss.shape == (267, 640, 3)  # 40 x 48 enlarged, twice

    def cyan(picture: np.ndarray) -> np.ndarray:
        return (picture[..., 1] > 180) & (picture[..., 2] > 180) & (picture[..., 0] < 110)

    assert not cyan(false_alarm).any()
    assert not cyan(miss[:, :320]).any()
    rows, columns = np.nonzero(cyan(miss[:, 320:]))
    scale = 320 / 48  # of a block of 8 x 6 pixels
    assert 7 * scale < np.ptp(rows) < 10 * scale
    assert 5 * scale < np.ptp(columns) < 8 * scale


def test_a_gallery_of_clouds_shows_heat_where_the_points_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,label,mask"]
    for name, label in (("a", 0), ("b", 1)):
        points = np.c_[rng.random((3000, 2)) * 10, np.zeros(3000)]
        marks = (label == 1) & (np.hypot(points[:, 0] - 5, points[:, 1] - 5) < 2)
        np.save(tmp_path / f"{name}.npy", points)
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, marks.astype(int))))
        rows.append(f"{name}.npy,{label},{name}.txt")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    made = predict(make_plan(model="fake", dataset="folder"), tmp_path / "list.csv", tmp_path / "run", load=bright).run
    page = write_gallery(made, count=1).read_text("utf-8")
    found = []
    for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        half = picture[:, picture.shape[1] // 2 :]
        found.append(int(((half[..., 1] > 180) & (half[..., 2] > 180) & (half[..., 0] < 110)).sum()))
    assert found[0] == 0  # the normal cloud has no outline
    assert found[1] > 300
