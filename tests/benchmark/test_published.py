"""Published figures: exact, complete for the seeds' tables, and the same in every recipe."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from benchmark.made import bright, mvtec
from looktwice.benchmark.measures import METRICS
from looktwice.benchmark.published import all_figures, as_csv, figures
from looktwice.benchmark.recipes import (
    MEAN_OF_NINE,
    PROTOCOLS,
    Carried,
    Recipe,
    check_model,
    load_recipe,
    names,
    outcome,
    run_recipe,
    without_root,
)
from looktwice.data import DATASETS, load_dataset
from looktwice.detectors import DETECTORS
from looktwice.errors import BadFile, UnknownName, UsageError

VMAD, OV = "VMAD, arXiv 2409.20146", "Anomaly-OV, arXiv 2502.07601"
RECIPES = {name: load_recipe(name) for name in names()}


def value(system: str, dataset: str, metric: str, table: str, **more: str) -> str:
    found = [
        one
        for one in figures(system, dataset, metric)
        if one.table == table and all(getattr(one, key) == wanted for key, wanted in more.items())
    ]
    assert len(found) == 1, found
    return found[0].value


def test_every_figure_of_the_tables_is_there() -> None:
    counts = Counter((one.paper, one.table) for one in all_figures())
    assert counts[VMAD, "Table I"] == 8 * 3 * 4
    assert counts[VMAD, "Table II"] == 8 * 3 + 4 * 3
    assert counts[VMAD, "ablation"] == 4 * 2 * 3
    assert counts[OV, "Table 2"] == 8 * (9 + 1)
    assert counts[OV, "ablation"] == 5 * 4
    assert counts[OV, "VisA-D&R"] == 8 * 9


@pytest.mark.parametrize(
    ("system", "dataset", "metric", "table", "more", "wanted"),
    [
        ("vmad", "mvtec_ad", "image_auroc", "Table I", {}, "95.8"),
        ("vmad", "wfdd", "ap", "Table I", {}, "90.1"),
        ("anomalygpt", "visa", "ap", "Table I", {}, "75.6"),
        ("april-gan", "wfdd", "pro", "Table I", {"row": "VAND"}, "84.3"),
        ("bgad", "riad", "pixel_auroc", "Table II", {}, "91.4"),
        ("vmad", "riad", "pro", "Table II", {"category": ""}, "92.3"),
        ("vmad", "riad", "image_auroc", "Table II", {"category": "toy_brick"}, "97.2"),
        ("vmad", "riad", "pixel_auroc", "ablation", {"row": "LTC"}, "96.1"),
        ("vmad", "mvtec_ad", "pro", "ablation", {"row": "neither"}, "87.3"),
        ("anomaly-ov", "head_ct", "image_auroc", "Table 2", {}, "97.6"),
        ("clip", "btad", "image_auroc", "Table 2", {}, "34.5"),
        ("adaclip", MEAN_OF_NINE, "image_auroc", "Table 2", {}, "85.3"),
        ("anomaly-ov", "brain_mri", "image_auroc", "ablation", {"row": "w/o Q-Former"}, "95.1"),
        ("anomaly-ov", "visa_dr", "f1", "VisA-D&R", {"row": "Anomaly-OV-7B"}, "0.83"),
        ("anomaly-ov", "visa_dr", "gpt_score", "VisA-D&R", {"row": "Anomaly-OV-7B", "subset": "reasoning"}, "6.34"),
        ("customizable-vlm", "visa_dr", "sbert", "VisA-D&R", {"row": "GPT-4V", "subset": "description"}, "0.65"),
    ],
)  # fmt: skip
def test_figures_are_those_of_the_papers(
    system: str, dataset: str, metric: str, table: str, more: dict[str, str], wanted: str
) -> None:
    assert value(system, dataset, metric, table, **more) == wanted


TABLE_I = {  # Img/Pixel/PRO/AP on MVTec AD, VisA and WFDD, as printed
    "LISA": "89.1/91.6/82.2/81.2 81.3/85.2/77.8/79.3 92.1/93.5/86.0/87.2",
    "BGAD": "90.1/91.3/87.3/85.6 87.4/88.6/82.0/80.6 95.0/96.2/86.8/88.1",
    "AnomalyCLIP": "91.5/94.7/86.2/83.4 82.3/87.1/84.2/80.3 94.1/95.3/84.9/83.8",
    "VAND": "91.8/92.5/88.2/86.8 83.5/90.7/81.9/82.8 94.6/96.1/84.3/88.5",
    "WinCLIP": "92.5/93.4/89.5/87.5 84.8/91.3/80.4/82.4 93.2/96.2/86.1/83.5",
    "AnomalyGPT": "92.1/93.9/86.2/85.1 86.6/92.4/81.7/75.6 93.7/96.9/85.7/84.2",
    "Myriad": "93.2/92.3/87.9/88.2 85.9/90.5/81.3/83.5 91.8/93.9/87.3/82.7",
    "VMAD": "95.8/96.1/91.2/87.6 89.7/93.8/84.6/85.2 95.3/96.7/89.2/90.1",
}
TABLE_II = {  # Img/Pixel/PRO on RIAD
    "LISA, average": "79.2/82.7/78.9", "BGAD, average": "89.2/91.4/87.1", "AnomalyCLIP, average": "92.7/96.6/90.5",
    "VAND, average": "92.1/94.7/89.4", "WinCLIP, average": "94.2/93.1/86.1", "AnomalyGPT, average": "87.9/89.4/87.1",
    "Myriad, average": "91.1/92.4/85.2", "VMAD, average": "94.9/98.9/92.3",
    "VMAD, metal_welding": "97.2/98.6/91.6", "VMAD, u_block": "91.1/98.9/90.2",
    "VMAD, toy_brick": "97.2/98.1/92.3", "VMAD, wind turbine": "93.7/98.1/89.5",
}  # fmt: skip
ABLATION = {  # Img/Pixel/PRO on MVTec AD and RIAD
    "neither": "90.5/91.3/87.3 91.3/93.4/89.5",
    "DSSL": "93.6/94.3/89.1 92.1/94.5/90.8",
    "LTC": "92.9/93.7/90.5 93.2/96.1/91.5",
    "DSSL and LTC": "95.8/96.1/91.2 94.9/98.9/92.3",
}
NINE = ("mvtec_ad", "visa", "aitex", "elpv", "btad", "mpdd", "brain_mri", "head_ct", "br35h", MEAN_OF_NINE)
TABLE_2 = {
    "CLIP": "74.1 66.4 71.0 59.2 34.5 54.3 73.9 56.5 78.4 63.1",
    "CoOp": "88.8 62.8 66.2 73.0 66.8 55.1 61.3 78.4 86.0 70.9",
    "WinCLIP": "91.8 78.8 73.0 74.0 68.2 63.6 92.6 90.0 80.5 79.2",
    "APRIL-GAN": "86.2 78.0 57.6 65.5 73.6 73.0 89.3 89.1 93.1 78.4",
    "AnoVL": "92.5 79.2 72.5 70.6 80.3 68.9 88.7 81.6 88.4 80.3",
    "AnomalyCLIP": "91.5 82.1 62.2 81.5 88.3 77.0 90.3 93.4 94.6 84.5",
    "AdaCLIP": "89.2 85.8 64.5 79.7 88.6 76.0 94.8 91.4 97.7 85.3",
    "Anomaly-OV": "94.0 91.1 72.0 83.0 89.0 81.7 93.9 97.6 95.5 88.6",
}
OV_ABLATION = {
    "full": "94.0 91.1 97.6 93.9", "w/o look-back": "92.8 90.5 96.6 93.5", "w/o e⁺&e⁻": "92.1 90.1 94.7 92.9",
    "w/o Q-Former": "91.7 89.9 92.8 95.1", "w/o WebAD": "88.5 88.9 91.2 93.4",
}  # fmt: skip


def printed(paper: str, table: str, rows: dict[str, str], datasets: tuple[str, ...], metrics: tuple[str, ...]) -> None:
    """Every figure of a table stands in the file as it was printed."""
    found = {
        (one.row, one.dataset, one.metric): one.value
        for one in all_figures()
        if (one.paper, one.table) == (paper, table)
    }
    wanted = {
        (row, dataset, metric): value
        for row, cells in rows.items()
        for dataset, cell in zip(datasets, cells.split(), strict=True)
        for metric, value in zip(metrics, cell.split("/"), strict=True)
    }
    assert found == wanted


def test_the_tables_of_the_two_papers_are_there_figure_by_figure() -> None:
    four = ("image_auroc", "pixel_auroc", "pro", "ap")
    printed(VMAD, "Table I", TABLE_I, ("mvtec_ad", "visa", "wfdd"), four)
    printed(VMAD, "Table II", TABLE_II, ("riad",), four[:3])
    printed(VMAD, "ablation", ABLATION, ("mvtec_ad", "riad"), four[:3])
    printed(OV, "Table 2", TABLE_2, NINE, four[:1])
    printed(OV, "ablation", OV_ABLATION, ("mvtec_ad", "visa", "head_ct", "brain_mri"), four[:1])


def test_the_last_column_is_the_mean_of_the_nine() -> None:
    rows = {one.row for one in figures(paper="Anomaly-OV") if one.table == "Table 2"}
    assert len(rows) == 8
    for row in rows:
        own = {one.dataset: float(one.value) for one in all_figures() if (one.table, one.row) == ("Table 2", row)}
        mean = own.pop(MEAN_OF_NINE)
        assert len(own) == 9
        assert abs(sum(own.values()) / 9 - mean) < 0.0501, row


def test_rows_name_known_things_and_differ() -> None:
    for one in all_figures():
        assert one.metric in METRICS
        assert one.unit in ("%", "share", "1 to 10")
        assert 0 <= float(one.value) <= {"%": 100, "share": 1, "1 to 10": 10}[one.unit]
        assert one.paper
        assert one.table
        assert one.row
        assert one.status
        assert one.shots == "full" or one.shots.isdecimal()
    keys = [(o.dataset, o.category, o.subset, o.metric, o.shots, o.paper, o.table, o.row) for o in all_figures()]
    assert [key for key, count in Counter(keys).items() if count > 1] == []


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'vmad'"):
        figures(system="vmd")
    with pytest.raises(UnknownName, match="Did you mean 'mvtec_ad'"):
        figures(dataset="mvtec")
    assert figures(system="vmad", metric="point_auroc") == []
    assert figures(system="memory") == figures(dataset="folder") == []


def test_csv_reads_back() -> None:
    found = figures(system="vmad")
    assert len(list(csv.DictReader(io.StringIO(as_csv(found))))) == len(found)


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_expects_what_was_published_and_names_what_exists(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.protocol in PROTOCOLS
    assert recipe.model in DETECTORS or recipe.needs == recipe.model
    for target in recipe.run:
        dataset = load_dataset(target.dataset)
        dataset.checked_variant(target.variant)
        assert target.split in dataset.all_splits
    sources = {(one.dataset, one.category, one.subset, one.metric, one.shots): one for one in all_figures()
               if recipe.source and (one.paper, one.table) == (recipe.source.paper, recipe.source.table)
               and recipe.source.row in (one.row, "all")}  # fmt: skip
    for one in recipe.expect:
        assert one.dataset in DATASETS or one.dataset == MEAN_OF_NINE
        assert one.metric in METRICS
        if recipe.source is not None and recipe.source.row == "all":
            every = {float(f.value) for f in all_figures() if (f.table, f.dataset) == ("ablation", one.dataset)}
            assert one.value in every
        else:
            published = sources[one.dataset, one.category, one.subset, one.metric, str(one.shots)]
            assert float(published.value) == one.value
    if recipe.model in DETECTORS:
        config = DETECTORS.load(recipe.model).Config
        for point in recipe.grid_points():
            config(**recipe.options, **point)


def test_every_published_row_of_the_two_tables_has_its_recipe() -> None:
    wanted = {(one.paper, one.table, one.row) for one in all_figures() if one.paper in (VMAD, OV)}
    has = {tuple(one.source.model_dump().values()) for one in RECIPES.values() if one.source}
    assert wanted <= has
    for paper, table, row in wanted:
        published = [one for one in all_figures() if (one.paper, one.table, one.row) == (paper, table, row)]
        recipe = next(
            one
            for one in RECIPES.values()
            if one.source and tuple(one.source.model_dump().values()) == (paper, table, row)
        )
        assert len(recipe.expect) == len(published)


def test_the_grid_of_the_ablation_holds_each_cell_of_the_table() -> None:
    recipe = RECIPES["vmad-ablation-grid"]
    assert len(recipe.grid_points()) == 4
    rows = {(False, False): "neither", (True, False): "DSSL", (False, True): "LTC", (True, True): "DSSL and LTC"}
    cells = {
        (rows[one.options["dssl"], one.options["ltc"]], one.dataset, one.metric): one.value for one in recipe.expect
    }
    published = [one for one in all_figures() if (one.paper, one.table) == (VMAD, "ablation")]
    assert cells == {(one.row, one.dataset, one.metric): float(one.value) for one in published}


def test_every_protocol_has_a_recipe() -> None:
    assert {one.protocol for one in RECIPES.values()} == set(PROTOCOLS)


def test_a_recipe_of_a_missing_model_says_so_in_one_sentence() -> None:
    recipe = Recipe(title="X", protocol="zero-shot", model="nobody", needs="nobody", run=[{"dataset": "mvtec_ad"}])
    with pytest.raises(UsageError, match="unknown model 'nobody': the recipe 'X' needs it, this version has memory"):
        check_model(recipe)


def test_a_recipe_runs_its_grid_and_puts_published_beside_ours(tmp_path) -> None:
    root = mvtec(tmp_path / "data")
    recipe = Recipe(
        title="two powers",
        protocol="ablation",
        model="fake",
        grid={"power": (0.5, 2.0)},
        class_split={"train": 1, "seed": 3},
        run=[{"dataset": "mvtec_ad", "shots": (1,)}],
        expect=[
            {"dataset": "mvtec_ad", "metric": "pixel_auroc", "value": 90.0, "shots": 1, "options": {"power": 2.0}},
            {"dataset": "mvtec_ad", "metric": "accuracy", "value": 90.0, "shots": 1},
        ],
    )
    carried = list(run_recipe(recipe, {"mvtec_ad": root}, tmp_path / "out", load=bright))
    assert [one.options for one in carried] == [{"power": 0.5}, {"power": 2.0}]
    assert [len(one.scores["categories"]) for one in carried] == [1, 1]  # the class that was not learned from
    first, second = outcome(recipe, carried)
    assert first["ours"] == pytest.approx(100 * carried[1].scores["means"][0]["metrics"]["pixel_auroc"])
    assert second["ours"] is None
    with pytest.raises(UsageError, match="--root mvtec_ad=DIR"):
        list(run_recipe(recipe, {}, tmp_path / "out", load=bright))
    with pytest.raises(UnknownName, match=r"Unknown data set of this recipe 'mvtec'\. Did you mean 'mvtec_ad'"):
        list(run_recipe(recipe, {"mvtec": root}, tmp_path / "out", load=bright))


def test_data_sets_without_a_copy_are_left_out_and_named(tmp_path) -> None:
    root = mvtec(tmp_path / "data")
    recipe = Recipe(
        title="two sets", protocol="zero-shot", model="fake", run=[{"dataset": "visa"}, {"dataset": "mvtec_ad"}],
        expect=[{"dataset": name, "metric": "image_auroc", "value": 90.0} for name in ("visa", "mvtec_ad")],
    )  # fmt: skip
    roots = {"mvtec_ad": root}
    assert without_root(recipe, roots) == ["visa"]
    carried = list(run_recipe(recipe, roots, tmp_path / "out", load=bright))
    assert [one.target.dataset for one in carried] == ["mvtec_ad"]
    assert [one["ours"] is None for one in outcome(recipe, carried)] == [True, False]


def test_which_questions_are_reasoning_is_not_told_so_no_figure_stands_beside_it() -> None:
    recipe = RECIPES["visa-dr-anomaly-ov-7b"]
    row = {"category": "", "shots": 0, "seeds": 1}
    figures = {
        name: {"mean": 0.5} for name in ("accuracy", "precision", "recall", "f1", "rouge_l", "sbert", "gpt_score")
    }
    done = [Carried(one, {}, None, {"summary": [{**row, "metrics": figures}], "mmad": []}) for one in recipe.run]
    rows = outcome(recipe, done)
    assert {one["subset"] for one in rows if one["ours"] is not None} == {"detection"}
    assert {one["subset"] for one in rows if one["ours"] is None} == {"description", "reasoning"}
    assert recipe.reading == "published"


def test_a_class_split_says_what_may_be_learned_from(tmp_path) -> None:
    root = mvtec(tmp_path / "data", ("bottle", "cable", "pill"))
    recipe = Recipe(
        title="s", protocol="cross-category", model="fake", class_split={"train": 2, "seed": 0},
        run=[{"dataset": "mvtec_ad"}],
    )  # fmt: skip
    (carried,) = run_recipe(recipe, {"mvtec_ad": root}, tmp_path / "out", load=bright)
    judged = {one["category"] for one in carried.scores["categories"]}
    assert (set(carried.learned), judged) == ({"bottle", "pill"}, {"cable"})


def test_a_talker_is_a_model_that_can_be_run() -> None:
    check_model(Recipe(title="t", protocol="MMAD", model="openai:gpt-4o", run=[{"dataset": "mmad"}]))


def test_the_mean_of_nine_is_ours_only_when_all_are_there() -> None:
    recipe = RECIPES["anomaly-ov-table2-winclip"]

    def done(number: int, value: float) -> Carried:
        summary = [{"category": "", "shots": 0, "seeds": 1, "metrics": {"image_auroc": {"mean": value}}}]
        return Carried(recipe.run[number], {}, None, {"summary": summary, "mmad": []})

    nine = [done(number, 0.1 * number) for number in range(9)]
    last = next(row for row in outcome(recipe, nine) if row["dataset"] == MEAN_OF_NINE)
    assert (last["published"], last["ours"]) == (79.2, pytest.approx(40.0))
    assert next(row for row in outcome(recipe, nine[:8]) if row["dataset"] == MEAN_OF_NINE)["ours"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 3", "not a recipe: title"),
        ("title =", "not a TOML file"),
        ('title = "x"\nprotocol = "zero"\nmodel = "memory"\n[[run]]\ndataset = "visa"', "Unknown protocol 'zero'"),
        ('title = "x"\nprotocol = "MMAD"\nmodel = "memory"\n[[run]]\ndataset = "vsa"', "Did you mean 'visa'"),
        ('title = "x"\nprotocol = "MMAD"\nmodel = "memory"\n[[run]]\ndataset = "visa"\nshot = 1', r"run\.0\.shot"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(tmp_path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises((BadFile, UnknownName), match=words):
        load_recipe(path)
