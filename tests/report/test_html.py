"""The page: self-contained, escaped, complete, and the same every time."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest

from gossan.report import ReportInputs, render_report, tables


@pytest.fixture(scope="module")
def html(inputs) -> str:
    return render_report(inputs)


@pytest.fixture(scope="module")
def page(html, read_page):
    return read_page(html)


@pytest.fixture
def bare(inputs) -> ReportInputs:
    """No more than the five fields that must be there."""
    return ReportInputs(
        inputs.study_name, inputs.method_title, inputs.score, inputs.deposits, inputs.evaluation
    )


def test_the_page_asks_nothing_of_the_network(html, page):
    """Every picture is inlined, every link stays in the page, and there is no script."""
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert all(target.startswith("#") for target in page.values("href"))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert "@import" not in html
    assert "url(" not in html


def test_contents_lead_to_sections(page):
    """Each entry of the table of contents has its place."""
    targets = [target[1:] for target in page.values("href")]
    assert len(targets) == 11
    assert set(targets) <= set(page.values("id"))
    assert len(set(page.values("id"))) == len(page.values("id"))


def test_pictures_say_in_words_what_they_show(page):
    """For those who cannot see them."""
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert {"Prospectivity map with known deposits", "Map of Sn"} <= {i["alt"] for i in images}
    assert all(attrs["alt"] for attrs in images)


def test_every_row_of_a_table_has_its_columns(page):
    """No table is ragged."""
    widths = {}
    for table, width in page.rows:
        widths.setdefault(table, set()).add(width)
    assert len(widths) == 7
    assert all(len(found) == 1 for found in widths.values())


def test_names_from_the_survey_cannot_write_into_the_page(html, page):
    """A deposit called <script> is a deposit with an odd name."""
    assert "<script" not in html
    assert "<script>alert('x')</script>" in page.text
    assert "Nanling <test>" in page.text
    assert "till, sample <7>" in page.text


def test_names_in_any_letters_stand_in_the_text(page):
    """Arabic names are text, shaped by the browser, and kept from turning their row around."""
    assert "جبل الحصير" in page.text
    assert any(tag == "bdi" for tag, _ in page.tags)


def test_the_page_opens_with_the_headline_and_its_verdict(page, inputs):
    """First what was found, by count, then what that is worth."""
    captured = inputs.evaluation["held_out"]["capture"]["0.05"]
    found = f"holds {round(captured * 22)} of 22 held-out deposits"
    assert found in page.text
    assert page.text.index(found) < page.text.index("The map finds deposits it was not shown")


def test_what_is_wrong_comes_worst_first(page):
    """Errors, then warnings, then notes, each with its place and remedy."""
    text = page.text
    assert text.index("No CRS.") < text.index("Named like") < text.index("below detection.")
    assert "→ Keep one of the two." in text


def test_settings_hashes_and_history_are_on_record(page):
    """Enough to make it again."""
    for word in ("DepositClusterFolds(n_splits=6)", "EPSG:32650", "2.4.6", "9169d57b" * 8):
        assert word in page.text
    assert "Dropped Be: below detection in 52 % of samples." in page.text


def test_targets_are_listed_with_what_lifts_them_and_grouped(page):
    """Rank, neighbour, drivers, and the groups by letter and by the name that GeoPackages have."""
    assert "Sn (+0.21, 98th percentile)" in page.text
    assert "A: Sn" in page.text
    assert "B: granite distance" in page.text
    assert "A Sn : targets 1, 3, 6, 10" in page.text


def test_a_target_can_be_found_and_asked_why(page, inputs, read_page):
    """Easting and northing of every target, whole, and the command that explains the first."""
    for axis in ("easting", "northing"):
        assert all(f"{place:.0f}" in page.text.split() for place in inputs.targets[axis])
    first = inputs.targets.iloc[0]
    at = f"--at {first['easting']:.0f} {first['northing']:.0f}"
    assert f"gossan explain study.toml {at}" in page.text
    named = dataclasses.replace(inputs, study_file="my study.toml")
    assert f"gossan explain 'my study.toml' {at}" in read_page(render_report(named)).text
    nowhere = dataclasses.replace(inputs, targets=inputs.targets.drop(columns="easting"))
    assert "gossan explain" not in read_page(render_report(nowhere)).text


def test_how_far_a_target_reaches_is_told(inputs, read_page):
    """By the study's settings; an older run that kept none says no number."""
    assert "from the best-scoring share of it" in read_page(render_report(inputs)).text
    settings = {**inputs.settings, "targets": {"share": 0.05, "max_share": 0.005}}
    text = read_page(render_report(dataclasses.replace(inputs, settings=settings))).text
    assert "from the best-scoring 5 % of it" in text
    assert "One target takes at most 0.5 % of the new ground" in text


def test_targets_that_may_be_halos_are_counted(inputs, read_page):
    """By how far they are from known deposits, in sample spacings."""
    distances = np.sort(inputs.targets["distance_m"])
    near = dataclasses.replace(inputs, resolution=(distances[0] + distances[1]) / 4)
    text = read_page(render_report(near)).text
    assert "1 of them has its peak within" in text
    assert "may be the deposit's own halo" in text
    far = dataclasses.replace(inputs, resolution=distances[0] / 3)
    assert "own halo" not in read_page(render_report(far)).text


def test_the_same_inputs_give_the_same_bytes(html, inputs):
    """So that a resumed run leaves the very report of an uninterrupted one."""
    assert render_report(inputs) == html


def test_the_page_is_light_enough_to_send(html):
    """A report goes round by mail."""
    assert len(html.encode()) < 4e6


def test_a_bare_report_has_no_empty_sections(bare, read_page):
    """What was not given is not mentioned."""
    page = read_page(render_report(bare))
    assert {"map", "held-out", "findings"} <= set(page.values("id"))
    assert {"targets", "importance", "truth", "layers"}.isdisjoint(page.values("id"))
    assert "The checks found nothing to complain of." in page.text


def test_score_and_agreement_share_a_map_where_there_is_a_spread(page, bare, read_page):
    """High and agreed, or high but disputed: told only of an ensemble."""
    assert "Map of score and agreement" in page.values("alt")
    assert "Map of score and agreement" not in read_page(render_report(bare)).values("alt")


def test_few_deposits_are_said_to_prove_nothing(bare, read_page):
    """Five held-out deposits make a map, not a claim."""
    evaluation = {"n_deposits": 5, "held_out": bare.evaluation["held_out"]}
    few = dataclasses.replace(bare, deposits=bare.deposits.head(5), evaluation=evaluation)
    assert "Your data cannot say how good this map is" in read_page(render_report(few)).text


def test_deposits_never_held_out_leave_the_charts_out(bare, read_page):
    """A report can be made of a map without an evaluation by deposit."""
    untested = bare.deposits.assign(rank=np.nan, fold=np.nan)
    text = read_page(render_report(dataclasses.replace(bare, deposits=untested))).text
    assert "known, not held out" in text
    assert "Prediction rate:" not in text


def test_odd_inputs_still_make_a_report(inputs, read_page):
    """A constant map, a spread of nothing, no target, one target without spread, no group."""
    nothing = inputs.score.copy(data=np.full(inputs.score.shape, np.nan, np.float32))
    constant = inputs.score.copy(data=np.full(inputs.score.shape, 0.5, np.float32))
    none: gpd.GeoDataFrame = inputs.targets.head(0)
    one = inputs.targets.head(1).drop(columns=["group", "spread", "drivers"])
    for changes in (
        {"score": constant, "spread": nothing, "targets": none, "evidence": {}},
        {"targets": one, "layer_scores": None, "importance": inputs.importance.set_index("layer")},
    ):
        read_page(render_report(dataclasses.replace(inputs, **changes)))


def test_many_targets_and_deposits_are_kept_short(inputs, read_page):
    """Fifty targets are listed, the rest are in the file; long tables start folded."""
    many = gpd.GeoDataFrame(
        {name: np.resize(inputs.targets[name], 120) for name in inputs.targets.columns},
        geometry="geometry",
        crs=inputs.targets.crs,
    ).assign(rank=np.arange(1, 121))
    known = gpd.GeoDataFrame(
        {name: np.resize(inputs.deposits[name], 90) for name in inputs.deposits.columns},
        geometry="geometry",
        crs=inputs.deposits.crs,
    )
    page = read_page(render_report(dataclasses.replace(inputs, targets=many, deposits=known)))
    assert "The first 50 are listed" in page.text
    details = [attrs for tag, attrs in page.tags if tag == "details"]
    assert "open" not in details[0]


def test_the_first_page_says_where_to_go_first(inputs, read_page):
    """Five targets at most, each with its layers and what is not known; none without targets."""
    page = read_page(render_report(inputs))
    told = page.text
    assert "Where to go first" in told
    head = told[told.index("Where to go first") : told.index("Deposits were taken out")]
    for rank, drivers in zip(inputs.targets["rank"][:5], inputs.targets["drivers"], strict=False):
        assert f" {rank} " in head
        assert tables.driver_texts(drivers)[0].split(" (")[0] in head
    assert inputs.targets["nearest_deposit"].iloc[0] in head
    without = read_page(render_report(dataclasses.replace(inputs, targets=None)))
    assert "Where to go first" not in without.text
