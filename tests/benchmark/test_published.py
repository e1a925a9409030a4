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
    cells = {(one.options["dssl"], one.options["ltc"], one.metric): one.value for one in recipe.expect}
    assert len(cells) == 12
    assert cells[True, True, "image_auroc"] == 95.8
    assert cells[False, True, "pro"] == 90.5
    assert cells[True, False, "pixel_auroc"] == 94.3


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
