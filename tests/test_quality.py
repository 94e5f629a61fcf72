"""``gossan check``: layer scores against outside figures, and each trouble found where it lies."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, rotate
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from gossan import io
from gossan.draft.toml import toml_value
from gossan.grid import Grid
from gossan.interpolate import idw
from gossan.io import Layer, evidence_array
from gossan.quality import Finding, StudyCheck, check_evidence, check_study, score_layers
from gossan.quality.layers import spearman
from gossan.quality.streaks import streaked_share
from gossan.study import Study, parse_study, read_study

SIZE = 60
GRID = Grid.from_bounds((500_000, 2_190_000, 530_000, 2_220_000), 500, "EPSG:32638")
NORTH, EAST = np.mgrid[0:SIZE, 0:SIZE]


def _stack(**layers: np.ndarray) -> xr.DataArray:
    values = np.stack([np.asarray(v, dtype=np.float32) for v in layers.values()])
    described = [Layer(name, "survey", resolution=500.0) for name in layers]
    return evidence_array(values, GRID, described)


def _labels(cells: list[tuple[int, int]]) -> xr.DataArray:
    labels = np.full(GRID.shape, -1, dtype=np.int8)
    labels[tuple(np.array(cells).T)] = 1
    return GRID.to_dataarray(labels).assign_attrs(deposit_cells=np.array(cells))


def _noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=GRID.shape)


# ---- layer scores -------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0, 0.5))
@settings(max_examples=25, deadline=None)
def test_spearman_is_scipys(seed: int, missing: float) -> None:
    """On rows that all columns share, ρ of every two columns is SciPy's, ties included."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(200, 4)) + rng.normal(size=(200, 1)), 1)
    values[rng.random(200) < missing] = np.nan
    known = values[np.isfinite(values).all(axis=1)]
    np.testing.assert_allclose(spearman(values), spearmanr(known).statistic, atol=1e-9)


def test_spearman_of_constant_or_unshared_layers_is_missing() -> None:
    """No ρ with a constant, nor between layers that hardly meet."""
    values = np.random.default_rng(0).normal(size=(100, 4))
    values[:, 1] = 7
    values[:60, 2] = np.nan
    values[55:, 3] = np.nan
    rho = spearman(values)
    assert np.isnan(rho[1, [0, 2, 3]]).all()
    assert np.isnan(rho[2, 3])
    assert np.isfinite(rho[0, [2, 3]]).all()


def test_relevance_is_scikit_learns_auc_and_hanley_mcneils_z() -> None:
    """AUC of deposits' cells against all unlabelled ones, either direction; Z of METHODS.md."""
    cells = [(5, 5), (20, 31), (33, 8), (40, 40), (50, 12), (11, 52)]
    labels, values = _labels(cells), _noise()
    values[tuple(np.array(cells).T)] -= 1.5
    scores = score_layers(_stack(low=values, high=-values), labels)
    is_deposit = labels.to_numpy().ravel() == 1
    auc = roc_auc_score(is_deposit, -values.astype(np.float32).ravel())
    assert scores["auc"].tolist() == pytest.approx([auc, auc])
    assert scores["direction"].tolist() == ["low", "high"]
    q1, q2, n, m = auc / (2 - auc), 2 * auc**2 / (1 + auc), 6, SIZE**2 - 6
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    assert scores["z"].iloc[0] == pytest.approx((auc - 0.5) / np.sqrt(variance))


def test_a_perfect_layer_has_a_finite_z() -> None:
    """All deposits above all other ground: AUC 1, and a Z that JSON can hold."""
    values = _noise()
    values[5, 5] = values[20, 31] = 99
    scores = score_layers(_stack(a=values), _labels([(5, 5), (20, 31)]))
    assert scores.loc["a", "auc"] == 1
    assert 10 < scores.loc["a", "z"] < 1e4


def test_coverage_is_the_share_of_the_study_area() -> None:
    """Cells that no layer observes are no area; a layer missing in a quarter covers the rest."""
    whole, part = _noise(1), _noise(2)
    whole[:20], part[:30] = np.nan, np.nan
    scores = score_layers(_stack(whole=whole, part=part))
    assert scores["coverage"].tolist() == pytest.approx([1.0, 0.75])


def test_resolution_is_counted_in_cells() -> None:
    """Samples 2.5 km apart on 500 m cells: 5 cells."""
    stack = evidence_array(
        np.stack([_noise()]).astype("float32"), GRID, [Layer("Cu", "soil", resolution=2500.0)]
    )
    scores = score_layers(stack)
    assert scores.loc["Cu", ["resolution", "resolution_ratio"]].tolist() == [2500.0, 5.0]
    assert np.isnan(scores.loc["Cu", "partner_rho"])


def test_layers_that_say_the_same_share_a_cluster() -> None:
    """A layer, its negative logarithm and a noisy copy are one cluster; two others stand alone."""
    base = _noise(3)
    scores = score_layers(
        _stack(a=base, b=-np.exp(base), c=base + 0.3 * _noise(4), d=_noise(5), e=_noise(6))
    )
    assert scores["cluster"].tolist() == [1, 1, 1, 2, 3]
    assert scores["partner"].tolist()[:3] == ["b", "a", "a"] or scores["partner"].iloc[2] == "b"
    assert scores.loc["a", "partner_rho"] == pytest.approx(-1.0)


def test_noise_is_told_from_structure() -> None:
    """White noise is all nugget, a plane none, their even mixture about half."""
    plane = (NORTH + EAST) / (NORTH + EAST).std()
    scores = score_layers(_stack(noise=_noise(7), plane=plane, both=plane + _noise(8)))
    assert scores.loc["noise", "nugget"] > 0.9
    assert scores.loc["plane", "nugget"] < 0.05
    assert 0.2 < scores.loc["both", "nugget"] < 0.8


def test_nuggets_known_from_samples_outrank_those_of_cells() -> None:
    """Gridding smooths noise away: what the samples said stands."""
    scores = score_layers(_stack(Au=NORTH, Cu=_noise()), nuggets={"Au": 0.4})
    assert scores.loc["Au", "nugget"] == 0.4
    assert scores.loc["Cu", "nugget"] > 0.9


def test_a_large_area_is_scored_from_some_cells_and_the_same_every_time() -> None:
    """A tenth of the cells, drawn by seed, gives the figures of all within their error."""
    stack = _stack(a=NORTH + 5 * _noise(1), b=EAST + 5 * _noise(2), c=NORTH + 5 * _noise(3))
    labels = _labels([(5, 5), (9, 31), (13, 8), (3, 40), (21, 12)])
    some = score_layers(stack, labels, max_cells=600, random_state=1)
    pd.testing.assert_frame_equal(some, score_layers(stack, labels, max_cells=600, random_state=1))
    whole = score_layers(stack, labels)
    np.testing.assert_allclose(some["auc"], whole["auc"], atol=0.06)
    np.testing.assert_allclose(some["partner_rho"], whole["partner_rho"], atol=0.06)


def test_scores_of_a_stack_on_disk_are_those_of_one_in_memory(tmp_path: Path) -> None:
    """Gathering through Dask changes nothing."""
    stack = _stack(a=_noise(1), b=NORTH + _noise(2))
    stored = io.save_evidence(stack, tmp_path / "evidence.zarr")
    pd.testing.assert_frame_equal(score_layers(stored), score_layers(stack))


# ---- findings -----------------------------------------------------------------------------------


class _Survey:
    """A sound small study on disk, to be spoilt one thing at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        places = np.stack(np.meshgrid(np.arange(30), np.arange(30)), axis=-1).reshape(-1, 2)
        places = places * 1000 + rng.uniform(100, 900, places.shape) + (500_000, 2_190_000)
        ground = np.sin(places[:, 0] / 4000) + np.cos(places[:, 1] / 5000)
        self.samples = pd.DataFrame({"no": np.arange(900), "e": places[:, 0], "n": places[:, 1]})
        for i, element in enumerate(("Cu", "Zn", "Pb", "As")):
            mixed = np.cos(i + ground) + 0.3 * rng.normal(size=900)
            self.samples[f"{element}_ppm"] = np.round(30 * np.exp(mixed), 4)
        chosen = np.array([16, 215, 238, 400, 442, 470, 609, 615, 650, 760, 820, 848])
        self.samples.loc[chosen, "Cu_ppm"] *= 8  # so that copper tells deposits from other ground
        self.deposits = pd.DataFrame(
            {"name": [f"D{i}" for i in chosen], "e": places[chosen, 0], "n": places[chosen, 1]}
        )
        self.mag = (50 * np.sin(EAST / 9) + 20 * np.cos(NORTH / 7) + _noise(5)).astype("float32")
        self.gravity = (np.cos(EAST / 20) * NORTH + _noise(6)).astype("float32")
        self.settings: dict[str, Any] = {
            "name": "hills",
            "area": {"crs": "EPSG:32638", "cell_size": 500.0, "extent": list(GRID.bounds)},
            "deposits": {"file": "deposits.csv", "x": "e", "y": "n", "crs": "EPSG:32638"},
            "samples": [
                {"name": "till", "file": "till.csv", "x": "e", "y": "n", "crs": "EPSG:32638"}
            ],
            "rasters": [
                {"name": "magnetics", "file": "mag.tif"},
                {"name": "gravity", "file": "gravity.tif"},
            ],
        }
        self.settings["deposits"]["name"] = "name"
        self.settings["samples"][0]["id"] = "no"

    def write(self) -> Study:
        self.samples.to_csv(self.folder / "till.csv", index=False)
        self.deposits.to_csv(self.folder / "deposits.csv", index=False)
        for name, values in (("mag", self.mag), ("gravity", self.gravity)):
            with rasterio.open(
                self.folder / f"{name}.tif",
                "w",
                driver="GTiff",
                height=values.shape[0],
                width=values.shape[1],
                count=1,
                dtype="float32",
                crs="EPSG:32638",
                transform=rasterio.transform.from_bounds(*GRID.bounds, *values.shape[::-1]),
            ) as dataset:
                dataset.write(values, 1)
        return parse_study(self.settings, self.folder / "study.toml")

    def check(self) -> StudyCheck:
        return check_study(self.write())


@pytest.fixture
def survey(tmp_path: Path) -> _Survey:
    return _Survey(tmp_path)


def _severe(check: StudyCheck) -> list[Finding]:
    return [finding for finding in check.findings if finding.severity != "note"]


def _expect(check: StudyCheck, severity: str, place: str, said: str) -> Finding:
    found = [f for f in check.findings if f.place == place and said in f.message]
    assert found, "\n".join(str(finding) for finding in check.findings)
    assert found[0].severity == severity
    return found[0]


def test_a_sound_study_has_nothing_severe(survey: _Survey) -> None:
    """Sound data: no error, no warning, every layer scored."""
    check = survey.check()
    assert _severe(check) == []
    assert check.ok
    layers = ["Cu", "Zn", "Pb", "As", "magnetics", "gravity"]
    assert check.layer_scores.index.tolist() == layers
    assert check.layer_scores[["coverage", "nugget", "auc", "z"]].notna().all(axis=None)


def test_every_broken_source_is_reported_and_the_rest_scored(survey: _Survey) -> None:
    """A missing file, a truncated raster and text among numbers: three errors, one layer."""
    survey.samples["Cu_ppm"] = survey.samples["Cu_ppm"].astype(object)
    survey.samples.loc[41, "Cu_ppm"] = "trace"
    survey.settings["rasters"].append({"name": "radiometrics", "file": "radio.tif"})
    study = survey.write()
    (survey.folder / "mag.tif").write_bytes((survey.folder / "mag.tif").read_bytes()[:2000])
    check = check_study(study)
    errors = {f.place: f.message for f in check.findings if f.severity == "error"}
    assert set(errors) == {"till", "magnetics", "radiometrics"}
    assert "'Cu_ppm', row 42 holds 'trace'" in errors["till"]
    assert "file not found" in errors["radiometrics"]
    assert check.layer_scores.index.tolist() == ["gravity"]


def test_a_broken_area_still_lists_missing_sources(survey: _Survey) -> None:
    """Where the grid cannot be had, files are still looked for, and nobody else is blamed."""
    survey.settings["area"] = {"like": "dem.tif"}
    survey.settings["rasters"][0]["file"] = "magn.tif"
    check = survey.check()
    assert [f.place for f in check.findings] == ["[area]", "magnetics"]
    assert "Did you mean 'mag.tif'?" in check.findings[1].message


def test_errors_come_first_and_nothing_twice() -> None:
    """Order: errors, warnings, notes; the same finding once."""
    note, error = Finding("note", "a", "b"), Finding("error", "c", "d")
    check = StudyCheck.of([note, error, note, Finding("warning", "e", "f")])
    assert [f.severity for f in check.findings] == ["error", "warning", "note"]


def test_a_check_survives_the_way_through_json(survey: _Survey, tmp_path: Path) -> None:
    """What a run keeps is what it found: findings, and scores with their NaN."""
    survey.samples.loc[:500, "Pb_ppm"] = np.nan
    check = survey.check()
    io.write_json(tmp_path / "check.json", check.to_dict())
    again = StudyCheck.from_dict(io.read_json(tmp_path / "check.json"))
    assert again.findings == check.findings
    pd.testing.assert_frame_equal(again.layer_scores, check.layer_scores)
    empty = StudyCheck.of([])
    assert StudyCheck.from_dict(json.loads(json.dumps(empty.to_dict()))).layer_scores.empty


@pytest.mark.parametrize(
    ("spoil", "severity", "said", "remedy"),
    [
        (
            lambda s: s.samples.__setitem__("no", [7, *range(7, 906)]),
            "warning",
            "more than once",
            "",
        ),
        (
            lambda s: s.samples.loc.__setitem__((slice(0, 3), "As_ppm"), 9_999_999.0),
            "error",
            "missing_values = [9999999.0]",
            "",
        ),
        (
            lambda s: s.samples.loc.__setitem__((5, "Cu_ppm"), -9999),
            "error",
            "no concentration",
            "",
        ),
        (
            lambda s: s.samples.loc.__setitem__((slice(0, 200), "Zn_ppm"), 0.5),
            "warning",
            "very smallest value of Zn_ppm (22%)",
            "exclude",
        ),
        (
            lambda s: s.samples.loc.__setitem__((slice(0, 200), "Zn_ppm"), 99999.0),
            "error",
            "99999 in Zn_ppm is a code",
            "missing_values = [99999]",
        ),
        (
            lambda s: s.samples.__setitem__(["Si_pct", "Fe_pct"], [90.0, 40.0]),
            "warning",
            "add up to more than the whole",
            "units",
        ),
        (
            lambda s: s.samples.loc.__setitem__((3, ["e", "n"]), 0.0),
            "warning",
            "lie at (0, 0)",
            "coordinates",
        ),
        (
            lambda s: s.samples.loc.__setitem__((3, "n"), 2_390_000.0),
            "warning",
            "sample spacings from any other",
            "coordinates",
        ),
        (
            lambda s: s.settings["area"].__setitem__("cell_size", 2500.0),
            "note",
            "several share a cell",
            "cell_size",
        ),
        (
            lambda s: s.settings["area"].__setitem__("cell_size", 100.0),
            "warning",
            "interpolated",
            "cell_size",
        ),
    ],
)
def test_trouble_with_samples_is_found(
    survey: _Survey, spoil: Any, severity: str, said: str, remedy: str
) -> None:
    """Each trouble of a table is a finding at its source, with its remedy."""
    spoil(survey)
    finding = _expect(survey.check(), severity, "till", said)
    assert remedy in finding.remedy


def test_degrees_declared_as_metres_are_an_error(survey: _Survey) -> None:
    """Longitudes with a projected CRS: the message names both, the remedy the CRS."""
    survey.samples["e"], survey.samples["n"] = 45.1, 19.8
    survey.settings["area"].pop("extent")
    survey.settings["rasters"] = []
    survey.samples["e"] += np.arange(900) / 10_000
    finding = _expect(survey.check(), "error", "till", "are degrees, but the CRS is WGS 84 / UTM")
    assert "EPSG:4326" in finding.remedy


@pytest.mark.parametrize(
    ("spoil", "severity", "place", "said"),
    [
        (lambda s: s.mag.__setitem__(slice(0, 6), -9999), "error", "magnetics", "holds -9999 in"),
        (
            lambda s: s.mag.__setitem__(slice(0, 40), np.nan),
            "warning",
            "magnetics",
            "Observed in 34%",
        ),
        (
            lambda s: s.mag.__setitem__(slice(0, 20), 0),
            "warning",
            "magnetics",
            "magnetics (0 in 33%",
        ),
        (lambda s: s.mag.fill(4), "error", "magnetics", "no layer of evidence is left"),
        (lambda s: setattr(s, "gravity", s.mag * 2 + 1), "warning", "magnetics", "say the same"),
        (lambda s: setattr(s, "mag", s.mag[::12, ::12]), "warning", "magnetics", "is 12 cells"),
    ],
)
def test_trouble_with_rasters_is_found(
    survey: _Survey, spoil: Any, severity: str, place: str, said: str
) -> None:
    """Codes, gaps, zeros for 'not mapped', constants, copies, coarse grids."""
    if "not mapped" in said or "(0 in" in said:
        survey.mag += 200
    spoil(survey)
    _expect(survey.check(), severity, place, said)


def _scattered(seed: int, *, across: float = 1.0) -> np.ndarray:
    """Uneven ground, sampled at 600 places in the middle of an area and gridded over it all."""
    rng = np.random.default_rng(seed)
    grid = Grid.from_bounds((0, 0, 120, 120), 1, "EPSG:32638")
    places = 60 + (rng.random((600, 2)) - 0.5) * 120 * across
    ground = gaussian_filter(rng.normal(size=(120, 120)), 3)
    at = np.clip(places, 0, 119).astype(int)
    values = ground[at[:, 1], at[:, 0]] / ground.std() + 0.3 * rng.normal(size=600)
    return idw(places, values, grid, max_distance=None)[0]


def _streaks(values: np.ndarray) -> float:
    return streaked_share(xr.DataArray(values, dims=("y", "x")))


@pytest.mark.parametrize("seed", range(5))
def test_grids_that_reach_beyond_their_samples_are_known_by_their_streaks(seed: int) -> None:
    """Samples in the middle ninth, as stars around it; over the whole area there are none."""
    assert _streaks(_scattered(seed, across=0.4)) > 0.2
    assert _streaks(_scattered(seed)) == 0


@pytest.mark.parametrize("along", [4, 12, 40, 120])
def test_ground_that_runs_one_way_is_no_streak(along: int) -> None:
    """Layered rock and dykes run on everywhere, in the middle too; so do smooth fields."""
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(size=(300, 300))
        bands = gaussian_filter(noise, (along, 4))
        assert _streaks(rotate(bands, 30 * seed, reshape=False, order=1)[60:240, 60:240]) == 0


def test_layers_too_small_or_of_one_value_are_not_judged() -> None:
    """Nothing can be said of 40 cells across, of a constant, or of zeros around a map."""
    assert _streaks(_scattered(0, across=0.4)[40:80, 40:80]) == 0
    assert _streaks(np.ones((100, 100))) == 0
    assert _streaks(np.full((100, 100), np.nan)) == 0
    mapped = np.zeros((100, 100))
    mapped[30:70, 30:70] = np.random.default_rng(0).random((40, 40))
    assert _streaks(mapped) == 0


def test_a_raster_of_streaks_is_named_with_its_share(survey: _Survey) -> None:
    """The other source is not."""
    survey.settings["area"]["cell_size"] = 250.0
    survey.gravity = _scattered(0, across=0.4).astype("float32")
    check = survey.check()
    finding = _expect(check, "warning", "gravity", "look extrapolated beyond their samples")
    assert "In the outer part of gravity" in finding.message
    assert "mask" in finding.remedy
    assert not any("streaks" in f.message for f in check.findings if f.place != "gravity")


def test_samples_carried_far_are_told_with_the_share_of_cells(survey: _Survey) -> None:
    """Samples in a corner of the area, gridded everywhere: the remedy ends the finding."""
    corner = (survey.samples["e"] < 512_000) & (survey.samples["n"] < 2_202_000)
    survey.samples = survey.samples[corner]
    survey.settings["samples"][0]["max_distance"] = 1e6
    finding = _expect(survey.check(), "warning", "till", "there its layers are extrapolated")
    assert re.search(r"8\d% of the cells that it fills lie more than 1,6\d\d", finding.message)
    survey.settings["samples"][0]["max_distance"] = float(
        re.search(r"max_distance = (\d+)", finding.remedy)[1]
    )
    assert not any("extrapolated" in found.message for found in survey.check().findings)


def test_lines_of_close_samples_leave_no_gap_between_them(survey: _Survey) -> None:
    """Every hundred metres along lines 3 km apart: ground between them is interpolated."""
    lines, steps = np.meshgrid(np.arange(10) * 3000.0 + 1000, np.arange(300) * 100.0)
    rows = np.resize(np.arange(900), lines.size)
    survey.samples = survey.samples.iloc[rows].assign(
        no=np.arange(lines.size), e=500_000 + lines.ravel(), n=2_190_000 + steps.ravel()
    )
    survey.settings["samples"][0]["max_distance"] = 1e6
    assert not any("extrapolated" in found.message for found in survey.check().findings)


def test_noise_at_the_samples_is_told_though_the_grid_is_smooth(survey: _Survey) -> None:
    """An element of pure noise is named; the layers of the others are not."""
    rng = np.random.default_rng(9)
    survey.settings["samples"][0]["transform"] = "log"
    survey.samples["Sb_ppm"] = np.round(np.exp(rng.normal(size=900)), 5)
    check = survey.check()
    finding = _expect(check, "note", "till", "Mostly noise at this spacing")
    assert "(Sb)" in finding.message
    assert check.layer_scores.loc["Sb", "nugget"] > 0.8
    assert check.layer_scores.loc["Cu", "nugget"] < 0.6


@pytest.mark.parametrize(
    ("spoil", "severity", "place", "said"),
    [
        (lambda d: d.iloc[:4], "error", "[validation]", "6 folds need as many deposits"),
        (lambda d: d.iloc[:7], "warning", "[deposits]", "7 deposit(s) carry little statistics"),
        (lambda d: d.assign(e=d["e"] + (d.index < 2) * 90_000), "warning", "[deposits]", "2 of 12"),
        (lambda d: d.rename(columns={"e": "n", "n": "e"}), "error", "[deposits]", "swapped"),
        (lambda d: d.rename(columns={"e": "east"}), "error", "[deposits]", "no column 'e'"),
        (lambda d: d.iloc[:0], "error", "[deposits]", "holds no rows"),
        (
            lambda d: d.assign(e=500_000 + (d["e"] - 500_000) / 9),
            "note",
            "[deposits]",
            "convex hull",
        ),
        (
            lambda d: d.assign(e=d["e"].where(d.index > 0, 500_010.0)),
            "note",
            "[deposits]",
            "on the edge of the evidence, with part of their footprint beyond: D16",
        ),
        (
            lambda d: pd.concat([d, d.iloc[:1].assign(name="twin", e=d["e"].iloc[0] + 1)]),
            "note",
            "[deposits]",
            "1 of 13 deposit(s) lie in the cell of another",
        ),
        (
            lambda d: d.assign(Major_Commodity=["Gold", "Gold", "Copper", "Tin"] * 3),
            "warning",
            "[deposits]",
            "3 commodities are taken for one kind of deposit (Major_Commodity: Gold 6",
        ),
    ],
)
def test_trouble_with_deposits_is_found(
    survey: _Survey, spoil: Any, severity: str, place: str, said: str
) -> None:
    """Too few, outside, swapped, misnamed, none, huddled, on the edge, in one cell, mixed."""
    survey.deposits = spoil(survey.deposits)
    check = survey.check()
    _expect(check, severity, place, said)
    assert len(check.layer_scores) == 6


def test_deposits_without_evidence_are_named(survey: _Survey) -> None:
    """A deposit in a gap of every source is not used, and the check says which."""
    survey.settings["samples"] = []
    row, column = GRID.locate([survey.deposits["e"][3]], [survey.deposits["n"][3]])
    for values in (survey.mag, survey.gravity):
        values[row[0] - 2 : row[0] + 3, column[0] - 2 : column[0] + 3] = np.nan
    finding = _expect(survey.check(), "warning", "[deposits]", "in cells without evidence")
    assert "D400" in finding.message


def test_a_filtered_study_is_not_blamed_for_mixing(survey: _Survey) -> None:
    """With ``where`` the user has chosen."""
    survey.deposits["commodity"] = ["Gold", "Copper"] * 6
    survey.settings["deposits"]["where"] = {"commodity": ["Gold", "Copper"]}
    assert not any("commodities" in finding.message for finding in survey.check().findings)


def test_layers_of_one_name_are_told_apart(survey: _Survey) -> None:
    """Two tables with copper give two layers with their source's name, each with its nugget."""
    twin = {**survey.settings["samples"][0], "name": "soil"}
    survey.settings["samples"].append(twin)
    scores = survey.check().layer_scores
    assert {"till: Cu", "soil: Cu"} <= set(scores.index)
    assert scores.loc["till: Cu", "nugget"] == scores.loc["soil: Cu", "nugget"]
    assert scores.loc["till: Cu", "partner_rho"] == pytest.approx(1.0)


def test_progress_counts_the_sources(survey: _Survey) -> None:
    """Three sources, three steps."""
    steps: list[tuple[int, int]] = []
    check_study(survey.write(), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_the_remedies_are_settings_that_a_study_file_takes(survey: _Survey) -> None:
    """Following the remedy of an undeclared code ends the error."""
    survey.mag[:6] = -9999
    finding = _expect(survey.check(), "error", "magnetics", "holds -9999")
    assert f"nodata = {toml_value(-9999)}" in finding.remedy
    survey.settings["rasters"][0]["nodata"] = -9999
    assert not any(f.severity == "error" for f in survey.check().findings)


# ---- real surveys -------------------------------------------------------------------------------

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_nanlings_zeros_are_noticed(survey_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults, granite and strata are exactly 0 in two thirds of the cells: outside the mapping."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    check = check_study(read_study(EXAMPLES / "nanling"))
    assert check.ok
    finding = _expect(check, "warning", "geology", "very smallest value of Faults (0 in 65%")
    assert "Granite" in finding.message
    _expect(check, "warning", "geochemistry", "look extrapolated beyond their samples")
    assert not any("streaks" in f.message for f in check.findings if f.place == "geology")
    assert len(check.layer_scores) == 42
    best = check.layer_scores["z"].nlargest(5).index
    assert {"Granite", "Bi", "Li", "W"} <= set(best)  # what a geologist expects of lithium granites


def test_jabal_al_hasirs_twins_are_noticed(
    survey_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hf and Zr travel in one mineral, zircon; gold is noisier than strontium."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    check = check_study(read_study(EXAMPLES / "jabal-al-hasir"))
    assert check.ok
    _expect(check, "warning", "stream sediments", "Layers Hf and Zr say the same")
    nugget = check.layer_scores["nugget"]
    assert nugget["Au"] > 2 * nugget["Sr"]
    assert not any("extrapolated" in finding.message for finding in check.findings)


def test_a_built_study_is_checked_without_building_again(survey: _Survey) -> None:
    """check_evidence on what a run has built finds what check_study finds."""
    from gossan.evidence import build_evidence
    from gossan.labels import label_cells

    survey.mag[:6] = -9999
    study = survey.write()
    evidence = build_evidence(study)
    deposits = io.read_deposits(study.deposits, survey.folder / "deposits.csv", GRID.crs)
    check = check_evidence(study, evidence, label_cells(evidence, deposits), deposits)
    assert set(check.findings) <= set(check_study(study).findings)
    _expect(check, "error", "magnetics", "holds -9999")
    assert check_evidence(study, evidence).layer_scores["auc"].isna().all()
