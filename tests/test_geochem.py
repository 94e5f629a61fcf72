"""Censored values, units, duplicates, log-ratios and element screening."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist
from sklearn.metrics import roc_auc_score

from gossan import geochem
from gossan.exceptions import LabelError, StudyError, SurveyDataError, SurveyDataWarning

PARTS = [0.1, 0.3, 0.4, 0.2]
compositions = arrays(
    float, st.tuples(st.integers(1, 6), st.integers(2, 7)), elements=st.floats(1e-6, 1e6)
)


# Log-ratios


def test_clr_meets_its_published_oracle():
    """METHODS.md section 1."""
    expected = [-0.79451346, 0.30409883, 0.59178090, -0.10136628]
    np.testing.assert_allclose(geochem.clr(PARTS), expected, atol=5e-9)


def test_ilr_meets_its_published_oracle():
    """METHODS.md section 1: Helmert pivot basis."""
    expected = [-0.77683620, -0.68339802, 0.11704769]
    np.testing.assert_allclose(geochem.ilr(PARTS), expected, atol=5e-9)


def test_alr_is_the_logarithm_over_the_chosen_part():
    """The denominator may stand anywhere; the other parts keep their order."""
    np.testing.assert_allclose(geochem.alr(PARTS), np.log([0.5, 1.5, 2.0]))
    np.testing.assert_allclose(geochem.alr(PARTS, denominator=1), np.log([1 / 3, 4 / 3, 2 / 3]))


@given(compositions)
def test_log_ratios_invert_to_the_closed_composition(parts):
    """Each transform followed by its inverse only closes the parts."""
    closed = geochem.closure(parts)
    np.testing.assert_allclose(geochem.inverse_clr(geochem.clr(parts)), closed, rtol=1e-9)
    np.testing.assert_allclose(geochem.inverse_ilr(geochem.ilr(parts)), closed, rtol=1e-9)
    for denominator in (-1, 0, 1):
        ratios = geochem.alr(parts, denominator=denominator)
        returned = geochem.inverse_alr(ratios, denominator=denominator)
        np.testing.assert_allclose(returned, closed, rtol=1e-9)


@given(compositions, st.floats(1e-3, 1e3))
def test_log_ratios_do_not_depend_on_the_unit(parts, factor):
    """Percent or ppm, diluted or not: only ratios count."""
    for transform in (geochem.clr, geochem.ilr, geochem.alr, geochem.closure):
        np.testing.assert_allclose(transform(parts * factor), transform(parts), atol=1e-9)


@given(compositions)
def test_ilr_keeps_the_distances_of_clr(parts):
    """Isometric: Aitchison distances are Euclidean ones (Egozcue et al. 2003)."""
    np.testing.assert_allclose(
        pdist(geochem.ilr(parts)), pdist(geochem.clr(parts)), rtol=1e-7, atol=1e-7
    )


def test_a_missing_part_stays_missing_and_harms_no_more_than_it_must():
    """The clr goes by the observed parts, alr loses the ratios concerned, ilr the row."""
    parts = np.array([[0.1, np.nan, 0.4, 0.2], PARTS])
    np.testing.assert_allclose(geochem.clr(parts)[0, [0, 2, 3]], geochem.clr([0.1, 0.4, 0.2]))
    np.testing.assert_array_equal(np.isnan(geochem.clr(parts)), np.isnan(parts))
    assert np.isnan(geochem.ilr(parts)).all(axis=1).tolist() == [True, False]
    assert np.isnan(geochem.alr(parts)[0]).tolist() == [False, True, False]
    assert np.isnan(geochem.alr(parts, denominator=1)[0]).all()
    assert np.nansum(geochem.closure(parts, total=100)[0]) == pytest.approx(100)


@pytest.mark.parametrize("transform", [geochem.clr, geochem.ilr, geochem.alr, geochem.closure])
@pytest.mark.parametrize("value", [0.0, -0.5, np.inf])
def test_a_part_that_is_not_positive_is_named(transform, value):
    """Row, column and value, and what to do about it."""
    table = pd.DataFrame({"Cu": [1.0, 2.0, 3.0], "Zn": [1.0, value, 3.0]})
    with pytest.raises(SurveyDataError, match=rf"row 2, column 'Zn' holds {value:g}.*replace_cens"):
        transform(table)


# Censored values


def test_text_marks_tell_their_own_limits():
    """'<0.5' is below 0.5, wherever the spaces; blanks are missing."""
    column = pd.Series(["<0.5", " 3.25 ", "< 2", "", None, "NA", "7"], name="Au_ppb")
    gold = geochem.parse_censored(column, style="text")
    np.testing.assert_array_equal(gold.values, [np.nan, 3.25, np.nan, np.nan, np.nan, np.nan, 7])
    np.testing.assert_array_equal(gold.limits, [0.5, np.nan, 2] + [np.nan] * 4)
    assert gold.censored.tolist() == [True, False, True] + [False] * 4
    assert gold.assumed_limit is None


def test_negative_marks_tell_their_own_limits():
    """-0.5 is below 0.5, and a declared code is missing."""
    column = pd.Series([-0.5, 4.0, -9999.0, -2.0])
    copper = geochem.parse_censored(column, style="negative", missing_values=[-9999])
    assert copper.censored.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(copper.limits, [0.5, np.nan, np.nan, 2.0])
    np.testing.assert_array_equal(copper.values, [np.nan, 4.0, np.nan, np.nan])


def test_flagged_values_are_their_own_limits_unless_they_are_zero():
    """A flagged 0 takes the declared limit, else the smallest value measured, and says so."""
    column = pd.Series([0.0, 0.4, 5.0, 0.9, 0.0])
    flags = pd.Series(["<", "<", None, "", "!"])
    assumed = geochem.parse_censored(column, style="flag", flags=flags)
    np.testing.assert_array_equal(assumed.limits, [0.9, 0.4, np.nan, np.nan, 0.9])
    assert assumed.assumed_limit == 0.9
    declared = geochem.parse_censored(column, style="flag", flags=flags, limit=0.2)
    np.testing.assert_array_equal(declared.limits, [0.2, 0.4, np.nan, np.nan, 0.2])
    assert declared.assumed_limit is None


def test_zero_means_below_detection_only_where_declared():
    """Style 'zero' censors zeros; style 'none' leaves them as measured."""
    column = pd.Series([0.0, 3.0, 2.0])
    assert geochem.parse_censored(column, style="zero").censored.tolist() == [True, False, False]
    assert not geochem.parse_censored(column).censored.any()


def test_a_missing_code_in_single_precision_is_recognised():
    """-3.4e38 from a float32 file is not the same double as the one declared."""
    column = pd.Series(np.array([-3.4e38, 1.0], dtype=np.float32))
    np.testing.assert_array_equal(
        geochem.parse_censored(column, missing_values=[-3.4e38]).values, [np.nan, 1.0]
    )


@pytest.mark.parametrize(
    ("cells", "style", "message"),
    [
        (["1", "n/d", "3"], "text", "'As_ppm', row 2 holds 'n/d', which is no number"),
        (["1", "3", "<0.5"], "none", "'As_ppm', row 3 holds '<0.5'.*censored = 'text'"),
        ([1.0, -0.5, 2.0], "none", "'As_ppm', row 2 holds -0.5.*censored = 'negative'"),
        ([1.0, 2.0, np.inf], "zero", "'As_ppm', row 3 holds inf"),
        ([-9999.0, -0.5, 2.0], "negative", r"row 1 holds -9999.*missing_values = \[-9999\]"),
    ],
)
def test_a_cell_that_is_no_concentration_is_named(cells, style, message):
    """Column, row and value, with the declaration that would explain it."""
    with pytest.raises(SurveyDataError, match=message):
        geochem.parse_censored(pd.Series(cells, name="As_ppm"), style=style)


def test_unknown_styles_and_methods_list_the_known_ones():
    """A typo in the study file gets the choices."""
    with pytest.raises(StudyError, match="'flags' is not known: use one of none, text"):
        geochem.parse_censored(pd.Series([1.0]), style="flags")
    with pytest.raises(StudyError, match="'half' is not known: use one of half-limit"):
        geochem.replace_censored([1.0], [False], [np.nan], "half")


def test_half_limit_reproduces_kolas_own_table(survey_data):
    """The Kola atlas publishes its C horizon with zeros and with half the detection limit."""
    with_zeros = pd.read_csv(survey_data / "kola" / "chorizonDL.csv").set_index("*ID")
    published = pd.read_csv(survey_data / "kola" / "chorizon.csv").set_index("ID")
    sites = published.index.intersection(with_zeros.index)
    for element, limit in (("Ag", None), ("As", None), ("Bi", 0.005), ("K", 200), ("S", 5)):
        column = with_zeros.loc[sites, element]
        parsed = geochem.parse_censored(column, style="zero", limit=limit)
        ours = geochem.replace_censored(parsed.values, parsed.censored, parsed.limits)
        assert parsed.censored.any()
        np.testing.assert_allclose(
            ours[parsed.censored], published.loc[sites, element][parsed.censored], err_msg=element
        )


@given(
    arrays(float, (5, 4), elements=st.floats(0.1, 100)),
    arrays(bool, (5, 3)),
)
def test_multiplicative_replacement_keeps_ratios_and_total(parts, below):
    """Measured parts keep their ratios; a closed composition stays closed (2003, section 3)."""
    below = np.column_stack([below, np.zeros(5, dtype=bool)])
    closed = geochem.closure(np.where(below, np.nan, parts), total=1e6)
    limits = np.where(below, 50.0, np.nan)
    replaced = geochem.replace_censored(closed, below, limits, "multiplicative")
    np.testing.assert_allclose(replaced.sum(axis=1), 1e6)
    np.testing.assert_allclose(replaced[below], 32.5)
    ratios = replaced / replaced[:, [3]]
    np.testing.assert_allclose(ratios[~below], (closed / closed[:, [3]])[~below])


def test_limit_over_root_two():
    """0.5 below detection stands as 0.3536; missing stays missing."""
    replaced = geochem.replace_censored(
        [np.nan, np.nan, 2.0], [True, False, False], [0.5, np.nan, np.nan], "limit/sqrt2"
    )
    np.testing.assert_allclose(replaced, [0.35355339, np.nan, 2.0])


def test_a_limit_nobody_knows_is_an_error():
    """An all-censored column has no measured value to take a limit from."""
    column = geochem.parse_censored(pd.Series([0.0, 0.0]), style="zero")
    with pytest.raises(SurveyDataError, match=r"Row 1 is below a detection limit.*`limits`"):
        geochem.replace_censored(column.values, column.censored, column.limits)


def test_sparse_elements_are_dropped_by_name():
    """More than 40 % censored or missing: out, with the share; exactly 40 %: in."""
    values = pd.DataFrame({"Cu": np.ones(10), "Au": np.ones(10), "Ir": np.full(10, np.nan)})
    values.loc[:1, "Au"] = np.nan
    censored = pd.DataFrame(False, index=values.index, columns=values.columns)
    censored.loc[2:3, "Au"] = True
    with pytest.warns(SurveyDataWarning, match=r"40% of the samples: Ir \(100%\)"):
        kept, dropped = geochem.drop_sparse(values, censored)
    assert kept == ["Cu", "Au"]
    assert dropped == {"Ir": 1.0}


# Units


@pytest.mark.parametrize(
    ("name", "element", "unit"),
    [
        ("Cu_ppm", "Cu", "ppm"),
        ("Au_ppb", "Au", "ppb"),
        ("SiO2_pct", "SiO2", "pct"),
        ("Fe2O3 (%)", "Fe2O3", "pct"),
        ("Al_ppm_511", "Al", "ppm"),
        ("Cuppm", "Cu", "ppm"),
        ("AU_PPB", "Au", "ppb"),
        ("ICP_MS_Cu_ppm", "Cu", "ppm"),
        ("Au g/t", "Au", "ppm"),
        ("Hg ng/g", "Hg", "ppb"),
        ("TFe2O3", "Fe2O3", None),
        ("MgO wt%", "MgO", "pct"),
        ("As_INAA", "As", None),
        ("Al_511P_T", "Al", None),
        ("Sample No", None, None),
        ("Y_coord", None, None),
        ("XCOO", None, None),
        ("LOI", None, None),
        ("cu", None, None),
        ("pH", None, None),
        ("Topography", None, None),
    ],
)
def test_names_tell_element_and_unit(name, element, unit):
    """As laboratories name their columns."""
    assert geochem.unit_of(name) == unit
    assert geochem.element_of(name) == element


def test_units_convert_to_ppm():
    """1 % is 10,000 ppm, 1 ppm is 1,000 ppb."""
    assert geochem.to_ppm(2.0, "pct") == 20_000
    assert geochem.to_ppm(np.array([500.0]), "ppb").tolist() == [0.5]
    assert geochem.to_ppm(3.0, "mg/kg") == 3.0
    with pytest.raises(StudyError, match="'ounces' is not known"):
        geochem.to_ppm(1.0, "ounces")


# Screening


def test_standard_error_meets_hanley_and_mcneils_own_example():
    """Their table of 109 CT images rated 1 to 5: area 0.893, standard error 0.032."""
    ratings = np.repeat([1, 2, 3, 4, 5] * 2, [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    abnormal = np.arange(109) >= 58
    screened = geochem.screen_elements(pd.DataFrame({"rating": ratings}), abnormal)
    assert screened.loc["rating", "auc"] == pytest.approx(0.893, abs=5e-4)
    assert screened.loc["rating", "standard_error"] == pytest.approx(0.032, abs=6e-4)
    assert screened.loc["rating", "keep"]


@given(
    arrays(float, (30, 3), elements=st.sampled_from([1.0, 2.0, 3.0, 5.0, np.nan])),
    arrays(bool, 30),
)
def test_auc_of_an_element_is_scikit_learns(values, positive):
    """Ties count half, missing samples do not count."""
    if positive.all() or not positive.any():
        return
    screened = geochem.screen_elements(values, positive)
    for element in range(3):
        seen = ~np.isnan(values[:, element])
        if len(np.unique(positive[seen])) == 2:
            expected = roc_auc_score(positive[seen], values[seen, element])
            assert screened.loc[element, "auc"] == pytest.approx(expected)
        else:
            assert np.isnan(screened.loc[element, "auc"])
            assert not screened.loc[element, "keep"]


def test_only_enrichment_is_kept():
    """A perfect element has an infinite Z; its mirror image, depleted at deposits, is left out."""
    positive = np.arange(20) < 5
    values = pd.DataFrame({"enriched": positive + 0.0, "depleted": 1.0 - positive, "flat": 1.0})
    screened = geochem.screen_elements(values, positive)
    assert screened["keep"].tolist() == [True, False, False]
    assert screened["z"].tolist() == [np.inf, -np.inf, 0.0]


def test_screening_needs_both_sides():
    """No deposit, nothing to compare."""
    with pytest.raises(LabelError, match="0 of 3 samples"):
        geochem.screen_elements(np.ones((3, 1)), np.zeros(3, dtype=bool))


# All steps


def test_duplicates_merge_to_their_geometric_mean():
    """In order of first appearance, around gaps; single samples stay as they are to the bit."""
    values = pd.DataFrame({"Cu": [2.0, 0.1 + 0.2, 8.0], "Zn": [np.nan, 3.0, 7.0]})
    places, merged, n_merged = geochem.merge_duplicates([[5, 5], [1, 1], [5, 5]], values)
    assert places.tolist() == [[5, 5], [1, 1]]
    assert merged.loc[1].tolist() == [0.1 + 0.2, 3.0]
    np.testing.assert_allclose(merged.loc[0], [4.0, 7.0])
    assert n_merged == 1


def test_every_step_leaves_its_account():
    """Censoring, units, dropping, replacement, duplicates and log-ratios in one go."""
    table = pd.DataFrame(
        {
            "Sample": ["a", "b", "c", "d"],
            "Cu_ppm": ["<2", "8", "10", "4"],
            "Au_ppb": ["5", "-9999", "20", "40"],
            "Fe2O3 (%)": ["5.0", "5.0", "5.0", "5.0"],
            "Ir_ppb": ["<1", "<1", "<1", "2"],
        }
    )
    places = [[0, 0], [9, 0], [9, 0], [np.nan, 0]]
    options = {"censored": "text", "missing_values": [-9999]}
    with (
        pytest.warns(SurveyDataWarning, match=r"Ir_ppb \(75%\)"),
        pytest.warns(SurveyDataWarning, match="1 of 4 samples that have no coordinates, rows 4"),
    ):
        plain = geochem.prepare_samples(table, places, transform="none", **options)
    np.testing.assert_allclose(
        plain.values, [[1.0, 0.005, 50_000], [np.sqrt(80), 0.02, 50_000]], rtol=1e-12
    )
    assert plain.values.columns.tolist() == ["Cu_ppm", "Au_ppb", "Fe2O3 (%)"]
    assert plain.report == {
        "n_samples": 4,
        "n_places": 2,
        "duplicates_merged": 1,
        "without_coordinates": 1,
        "units": {"Cu_ppm": "ppm", "Au_ppb": "ppb", "Fe2O3 (%)": "pct", "Ir_ppb": "ppb"},
        "censored_share": {"Cu_ppm": 0.25, "Au_ppb": 0.25, "Fe2O3 (%)": 0.0, "Ir_ppb": 0.75},
        "dropped": {"Ir_ppb": 0.75},
        "assumed_limits": {},
    }


@pytest.mark.parametrize(
    ("transform", "names"),
    [
        ("clr", ["Cu", "Zn", "Al"]),
        ("log", ["Cu", "Zn", "Al"]),
        ("ilr", ["ilr_1", "ilr_2"]),
        ("alr", ["ln(Cu/Zn)", "ln(Al/Zn)"]),
    ],
)
def test_transforms_name_their_variables(transform, names):
    """Elements are asked for by symbol or column; the variables are called as asked."""
    table = pd.DataFrame({"Cu_ppm": [1.0, 2.0], "Zn": [3.0, 4.0], "Al_pct": [5.0, 6.0]})
    prepared = geochem.prepare_samples(
        table,
        [[0, 0], [1, 1]],
        elements=["Cu", "Zn", "Al"],
        units={"Zn": "ppm"},
        transform=transform,
        denominator="Zn",
    )
    assert prepared.values.columns.tolist() == names
    ppm = np.array([[1.0, 3.0, 50_000], [2.0, 4.0, 60_000]])
    expected = {
        "clr": geochem.clr,
        "ilr": geochem.ilr,
        "log": np.log,
        "alr": lambda parts: geochem.alr(parts, denominator=1),
    }[transform](ppm)
    np.testing.assert_allclose(prepared.values, expected)


def test_kolari_till_flags(survey_data):
    """1,112 till samples: every flagged value is replaced, Th and Zr at an assumed limit."""
    till = gpd.read_file(survey_data / "kolari-till" / "till_geochem_511p.gpkg")
    elements = [name for name in till.columns if "_ppm_" in name]
    flags = {name: f"{name.split('_')[0]}_511P_T" for name in elements}
    with pytest.warns(SurveyDataWarning, match=r"smallest measured value.*Zr_ppm_511 \(0.011\)"):
        samples = geochem.prepare_samples(
            till, till.get_coordinates(), elements=elements, censored="flag", flags=flags
        )
    assert samples.values.shape == (1112, 22)
    assert np.isfinite(samples.values).all(axis=None)
    share = samples.report["censored_share"]
    assert share["Zr_ppm_511"] == (166 + 16) / 1112
    assert share["Al_ppm_511"] == 0
    assert set(samples.report["assumed_limits"]) == {
        f"{element}_ppm_511{end}"
        for element, end in (("Co", ""), ("Cr", ""), ("K", "P"), ("Ni", ""), ("Th", ""), ("Zr", ""))
    }


def test_jabal_al_hasir_is_complete(survey_data):
    """2,728 stream sediments, all in ppm, no gaps: the clr of 56 analytes, rows summing to zero."""
    table = pd.read_parquet(survey_data / "jabal-al-hasir" / "KSA_raw_data.parquet")
    places = table[["Longitude", "Latitude"]]
    with pytest.raises(SurveyDataError, match=r"No unit is told for 'Br', 'Cl'.*units = 'ppm'"):
        geochem.prepare_samples(table, places)
    samples = geochem.prepare_samples(table, places, units="ppm")
    assert "SiO2" in samples.values
    assert "LOI" not in samples.values
    assert len(samples.values) + samples.report["duplicates_merged"] == 2728
    np.testing.assert_allclose(samples.values.sum(axis=1), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elements": ["Cu_ppn"]}, "no column 'Cu_ppn'. Nearest: 'Cu_ppm'"),
        ({"elements": ["Zn"]}, "Several hold that element.*'Zn_ppm', 'Zn_INAA_ppm'"),
        ({"units": {"Cq": "ppm"}}, "units names 'Cq'"),
        ({"limits": {"Pb": 1.0}}, "limits names 'Pb'"),
        ({"censored": "flag"}, "needs the columns that hold the marks"),
        ({"transform": "crl"}, "'crl' is not known: use clr, ilr"),
        ({"transform": "alr", "denominator": "Al"}, "denominator = 'Al'.*Cu_ppm, Zn_ppm"),
        ({"elements": ["Cu"]}, "only 'Cu' is kept"),
    ],
)
def test_mistaken_options_are_explained(options, message):
    """What was asked, what there is, what to do."""
    table = pd.DataFrame({"Cu_ppm": [1.0, 2.0], "Zn_ppm": [3.0, 4.0], "Zn_INAA_ppm": [3.0, 5.0]})
    with pytest.raises((StudyError, SurveyDataError), match=message):
        geochem.prepare_samples(table, [[0, 0], [1, 1]], **options)


def test_an_undeclared_zero_stops_at_the_logarithm():
    """Nobody said what a zero means, so nobody may guess: the cell is named."""
    table = pd.DataFrame({"Cu_ppm": [1.0, 2.0], "Zn_ppm": [3.0, 0.0]})
    for transform in ("clr", "log"):
        with pytest.raises(SurveyDataError, match="row 2, column 'Zn_ppm' holds 0"):
            geochem.prepare_samples(table, [[0, 0], [1, 1]], transform=transform)


def test_an_area_where_nothing_was_detected_is_an_error():
    """All elements dropped: the message names them."""
    table = pd.DataFrame({"Au_ppb": [0.0, 0.0], "Ag_ppm": [0.0, 0.0]})
    with (
        pytest.warns(SurveyDataWarning, match="Left out"),
        pytest.raises(SurveyDataError, match="No element is left: all of Au_ppb, Ag_ppm"),
    ):
        geochem.prepare_samples(table, [[0, 0], [1, 1]], censored="zero")


def test_coordinates_must_go_with_the_samples():
    """A wrong shape, or none at all, is named."""
    table = pd.DataFrame({"Cu_ppm": [1.0, 2.0], "Zn_ppm": [3.0, 4.0]})
    with pytest.raises(SurveyDataError, match=r"shape \(1, 2\) do not go with 2 samples"):
        geochem.prepare_samples(table, [[0, 0]])
    with pytest.raises(SurveyDataError, match="No sample has coordinates"):
        geochem.prepare_samples(table, np.full((2, 2), np.nan))
