"""Heads on a pretrained backbone: few labels, honest folds, scores that explain themselves."""

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from scipy.special import expit

import gossan as gs
from gossan import io
from gossan.evidence import CellFeatures
from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.explain import explain_cells
from gossan.nn.masked_autoencoder import Backbone, PretrainedClassifier, Pretraining, pretrain
from gossan.nn.masked_autoencoder.classifier import _split
from gossan.nn.masked_autoencoder.heads import (
    HeadSettings,
    drawn_odds,
    linear_head,
    linear_odds,
    smoothed_targets,
    temperature,
)
from gossan.validate import ModelView, study_cells

SHAPE = (36, 40)
QUICK_PRETRAINING = {"window": 5, "epochs": 2, "windows_per_epoch": 256, "accelerator": "cpu"}
QUICK = {"backbone_window": 5, "epochs": 2, "windows_per_epoch": 256, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def area():
    """Four layers; deposits lie where the first is high, and the others say nothing."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(SHAPE)
    waves = [np.sin(rows / a) + np.cos(columns / b) for a, b in ((3, 4), (5, 3), (4, 6), (6, 5))]
    values = np.stack(waves).astype("float32") + 0.1 * rng.normal(size=(4, *SHAPE))
    values[3] = values[3] > 0
    values[:, :2, :3] = np.nan
    grid = gs.Grid.from_bounds((0, 0, 4000, 3600), 100, "EPSG:32650")
    evidence = grid.to_dataarray(values.astype("float32"), layers=["ore", "Pb", "Zn", "granite"])
    best = np.argsort(np.where(np.isfinite(values[0]), values[0], -9), axis=None)[::-1]
    chosen = [best[0]]
    for cell in best:
        places = np.array(np.unravel_index([*chosen, cell], SHAPE))
        if np.abs(places[:, :-1] - places[:, -1:]).max(axis=0).min() > 4:
            chosen.append(cell)
        if len(chosen) == 12:
            break
    places = grid.coordinates(*np.unravel_index(chosen, SHAPE))
    deposits = gpd.GeoDataFrame(
        {"name": [f"D{k}" for k in range(12)]}, geometry=gpd.points_from_xy(*places.T), crs=grid.crs
    )
    return evidence, gs.label_cells(evidence, deposits)


@pytest.fixture(scope="module")
def backbone(area):
    return pretrain(area[0], Pretraining(window=5, epochs=8, windows_per_epoch=512))


def fitted(model, area, n_draws=2):
    evidence, labels = area
    if model.head == "finetune":  # every member is a network
        model.set_params(members=1)
    cells = study_cells(evidence, labels)
    model, features = ModelView(model, cells).within()
    ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(3.0), n_draws)
    groups = cells.deposits
    return ensemble.fit(features, cells.training_labels, cells.coordinates, groups=groups), cells


def test_a_linear_head_finds_the_direction_and_is_repeatable():
    """Of ten columns one matters; rare positives weigh as much as the rest."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 10))
    positive = X[:, 3] > 1.2
    head = linear_head(X, positive, HeadSettings(), seed=1)
    slope = head["weights"]["slope"]
    assert np.abs(slope).argmax() == 3
    odds = linear_odds(head, X)
    assert (odds[positive] > 0).mean() > 0.8
    assert (odds[~positive] < 0).mean() > 0.8
    again = linear_head(X, positive, HeadSettings(), seed=1)
    np.testing.assert_array_equal(again["weights"]["slope"], slope)


def test_smoothed_targets_by_hand():
    """One positive of four, smoothing 0.2: 0.9 and 0.1; each class weighs one half in all."""
    target, weight = smoothed_targets(np.array([True, False, False, False]), 0.2)
    np.testing.assert_allclose(target, [0.9, 0.1, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(weight, [2.0, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)


def test_temperature_mends_overconfidence_and_leaves_sound_odds():
    """Odds three times too large are divided by about three; sound ones by about one."""
    rng = np.random.default_rng(0)
    true = rng.normal(scale=1.5, size=40_000)
    positive = rng.random(40_000) < expit(true)
    assert temperature(3 * true, positive) == pytest.approx(3, rel=0.1)
    assert temperature(true, positive) == pytest.approx(1, rel=0.1)
    assert temperature(true, np.zeros(40_000, dtype=bool)) == 1.0


def test_draws_of_dropout_scatter_about_the_head():
    """Their mean is the head's own odds, and without dropout there is no scatter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    head = linear_head(X, X[:, 0] > 0, HeadSettings(), seed=0)
    draws = drawn_odds(head, X, 0.3, 4_000, seed=0)
    np.testing.assert_allclose(draws.mean(axis=0), linear_odds(head, X), atol=0.15)
    assert draws.std(axis=0).min() > 0
    np.testing.assert_allclose(drawn_odds(head, X, 0.0, 3, 0), [linear_odds(head, X)] * 3)


@pytest.mark.parametrize(
    ("head", "embedding"),
    [
        ("probe", "dense"),
        ("probe", "exact"),
        ("forest", "dense"),
        ("finetune", "dense"),
        ("analogues", "dense"),
    ],
)
def test_it_finds_the_ground_of_the_deposits(area, backbone, head, embedding):
    """The map is high where the deposits' layer is, and has a spread."""
    model = PretrainedClassifier(backbone, head=head, embedding=embedding, random_state=0)
    ensemble, _ = fitted(model, area)
    score = gs.predict_map(ensemble, area[0])
    known = np.isfinite(area[0].values).any(axis=0)
    assert np.isfinite(score.values).sum() == known.sum()
    rank = np.corrcoef(score.values[known], area[0].values[0][known])[0, 1]
    assert rank > 0.5
    assert (np.nanmax(score["spread"]) > 0) or head == "analogues"  # which is one number a draw


@pytest.mark.parametrize("head", ["probe", "forest", "finetune", "analogues"])
def test_a_cell_that_lacks_layers_gets_a_score(area, backbone, head):
    """Two of four layers missing in every third cell: each has a score, its own."""
    ensemble, _ = fitted(PretrainedClassifier(backbone, head=head, random_state=0), area)
    thin = area[0].copy()
    thin[1:3, ::3] = np.nan
    whole, found = (gs.predict_map(ensemble, evidence).values for evidence in (area[0], thin))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(whole))
    assert not np.allclose(found[3::3], whole[3::3], atol=1e-3)


def test_a_head_alone_tells_its_spread(area, backbone):
    """Heads and draws of dropout disagree; without either there is no spread."""
    model = PretrainedClassifier(backbone, random_state=0)
    ensemble, _ = fitted(model, area, n_draws=1)
    assert np.nanmin(gs.predict_map(ensemble, area[0])["spread"]) > 0
    model.set_params(members=1, dropout_draws=0)
    ensemble, _ = fitted(model, area, n_draws=1)
    assert np.nanmax(gs.predict_map(ensemble, area[0])["spread"]) == 0


def test_the_same_seed_gives_the_same_map_in_a_fresh_process(area, tmp_path):
    """From pretraining to the map, and after the disk."""
    import subprocess
    import sys

    maps = []
    for run in ("first", "second"):
        ensemble, _ = fitted(PretrainedClassifier(**QUICK, random_state=0), area)
        io.save_model(tmp_path / run, ensemble, {})
        maps.append(gs.predict_map(ensemble, area[0]).values)
    np.testing.assert_array_equal(*maps)
    for file in ("model.skops", io.WEIGHTS):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    area[0].drop_vars("spatial_ref").to_netcdf(tmp_path / "evidence.nc")
    code = (
        "import sys, numpy as np, xarray as xr, gossan as gs\n"
        "from gossan.evidence import CellFeatures\n"
        "model, _ = gs.io.load_model(sys.argv[1] + '/first')\n"
        "evidence = xr.open_dataarray(sys.argv[1] + '/evidence.nc', engine='h5netcdf').load()\n"
        "evidence = evidence.rio.write_crs('EPSG:32650')\n"
        "np.save(sys.argv[1] + '/map.npy', gs.predict_map(model, evidence))\n"
        "cells = CellFeatures(evidence, [9, 20], [9, 20])\n"
        "why = gs.explain.explain_cells(model, cells, np.array([0]), background=np.array([1]))\n"
        "np.save(sys.argv[1] + '/why.npy', why)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "map.npy"), maps[0], atol=1e-6)
    cells = CellFeatures(area[0], [9, 20], [9, 20])
    why = explain_cells(ensemble, cells, np.array([0]), background=np.array([1]))
    np.testing.assert_allclose(np.load(tmp_path / "why.npy"), why, atol=1e-5)


def test_without_labels_means_without_labels(area):
    """Other deposits, the same backbone: it never sees them."""
    evidence, labels = area
    models = [PretrainedClassifier(**QUICK, random_state=0).learn_evidence(evidence)]
    moved = labels.copy(data=labels.values[::-1, ::-1])
    cells = study_cells(evidence, moved)
    models.append(ModelView(PretrainedClassifier(**QUICK, random_state=0), cells).within()[0])
    for name, value in models[0].backbone.learned["weights"].items():
        np.testing.assert_array_equal(models[1].backbone.learned["weights"][name], value)


def test_strictly_even_evidence_of_held_out_ground_is_not_seen(area, monkeypatch):
    """Every fold pretrains on its training cells alone; otherwise once, on all."""
    from gossan.nn.masked_autoencoder import classifier

    seen = []

    def watch(evidence, settings, *, learnt_from=None, progress=None):
        seen.append(learnt_from)
        return pretrain(evidence, settings, learnt_from=learnt_from, progress=progress)

    monkeypatch.setattr(classifier, "pretrain", watch)
    settings = {"splitter": gs.DepositClusterFolds(2), "n_bootstrap": 10}
    settings["negatives"] = gs.RandomNegatives()
    for strict in (False, True):
        seen.clear()
        model = PretrainedClassifier(strict=strict, random_state=0, **QUICK)
        found = gs.cross_validate(model, *area, **settings)
        if not strict:
            assert seen == [None]
            continue
        assert len(seen) == 4
        cells = study_cells(*area)
        for fold, (_, test) in enumerate(
            settings["splitter"].split(cells.coordinates, cells.labels, cells.deposits)
        ):
            for part in seen[2 * fold : 2 * fold + 2]:
                assert not part[cells.rows[test], cells.columns[test]].any()
                assert part.sum() < 0.7 * len(cells.labels)
        assert 0 <= found.held_out["auc_background"] <= 1


def test_unpretrained_is_the_same_network_untaught(area, backbone):
    """The ablation has the architecture and scales of the other, and other weights."""
    model = PretrainedClassifier(backbone, pretrained=False)
    plain = model.learn_evidence(area[0])
    assert plain.backbone.architecture == backbone.architecture
    assert plain.backbone.layers == backbone.layers
    assert not np.allclose(
        plain.backbone.learned["weights"]["embedding.weight"],
        backbone.learned["weights"]["embedding.weight"],
    )
    fresh = PretrainedClassifier(pretrained=False, **QUICK).learn_evidence(area[0])
    assert fresh.backbone.description["areas"] == []


@pytest.mark.parametrize(
    ("head", "embedding"), [("probe", "dense"), ("probe", "exact"), ("finetune", "dense")]
)
def test_integrated_gradients_add_up(area, backbone, head, embedding):
    """To the score less the baseline's, within 1 %, with gaps and at the edge."""
    model = PretrainedClassifier(backbone, head=head, embedding=embedding, random_state=0)
    ensemble, cells = fitted(model, area)
    evidence = area[0]
    chosen = np.flatnonzero(np.isin(cells.rows, [2, 17]) & np.isin(cells.columns, [3, 20]))
    background = np.arange(0, len(cells.labels), 7)
    why = explain_cells(ensemble, cells.features, chosen, background=background)
    means = np.nanmean(cells.features[background], axis=0)
    ordinary = xr.where(np.isfinite(evidence), means[:, None, None], np.nan).astype("float32")
    ordinary = ordinary.transpose("layer", "y", "x").assign_coords(evidence.coords)
    score, baseline = (gs.predict_map(ensemble, e).values for e in (evidence, ordinary))
    for cell, found in zip(chosen, why, strict=True):
        place = cells.rows[cell], cells.columns[cell]
        difference = float(score[place] - baseline[place])
        assert found.sum() == pytest.approx(difference, abs=0.011 * abs(difference) + 2e-4)


@pytest.mark.parametrize(
    ("head", "share"), [("probe", 0.95), ("forest", 0.95), ("finetune", 0.95), ("analogues", 0.85)]
)
def test_the_layer_that_drives_the_deposits_comes_first(area, backbone, head, share):
    """In at least that share of the deposits' cells; likeness weighs all of an embedding alike."""
    ensemble, cells = fitted(PretrainedClassifier(backbone, head=head, random_state=0), area)
    deposits = np.flatnonzero(cells.labels == 1)[::5]
    background = np.arange(0, len(cells.labels), 7)
    why = explain_cells(ensemble, cells.features, deposits, background=background)
    assert (why.argmax(axis=1) == 0).mean() >= share


@pytest.mark.filterwarnings("ignore:The backbone knows:gossan.exceptions.SurveyDataWarning")
@pytest.mark.parametrize("head", ["probe", "finetune"])
def test_a_layer_that_the_backbone_lacks_adds_nothing(area, backbone, head):
    """Layers are matched by name, whatever their order, in maps and in explanations."""
    evidence, labels = area
    more = xr.concat(
        [evidence[[2]], evidence[[0]].assign_coords(layer=["Ag"]), evidence[[0, 1, 3]]], "layer"
    )
    model = PretrainedClassifier(backbone, head=head, random_state=0)
    ensemble, cells = fitted(model, (evidence, labels))
    np.testing.assert_allclose(
        gs.predict_map(ensemble, more), gs.predict_map(ensemble, evidence), atol=1e-5
    )
    other = study_cells(more, labels)
    background = np.arange(0, len(cells.labels), 7)
    why, mixed = (
        explain_cells(ensemble, part.features, np.array([500]), background=background)[0]
        for part in (cells, other)
    )
    np.testing.assert_allclose(mixed, [why[2], 0.0, why[0], why[1], why[3]], atol=1e-4)


@pytest.mark.filterwarnings("ignore:The backbone knows:gossan.exceptions.SurveyDataWarning")
def test_a_forest_is_explained_by_layers_that_the_backbone_lacks_too(area):
    """It looks at them beside the embedding, which stays as it is without them."""
    evidence, labels = area
    blind = pretrain(evidence[1:], Pretraining(**QUICK_PRETRAINING))
    model = PretrainedClassifier(blind, head="forest", random_state=0)
    ensemble, cells = fitted(model, (evidence, labels))
    deposits = np.flatnonzero(cells.labels == 1)[::5]
    background = np.arange(0, len(cells.labels), 7)
    looks = CellFeatures(ensemble.look_at(evidence), cells.rows, cells.columns)[deposits]
    without = looks.copy()
    without[:, 0] = np.nanmean(cells.features[background][:, 0])
    whole, less = (ensemble.predict_proba(X)[:, 1] for X in (looks, without))
    assert np.abs(whole - less).max() > 0.05
    for explainer in ("auto", "removal"):
        why = explain_cells(
            ensemble, cells.features, deposits, background=background, explainer=explainer
        )
        np.testing.assert_allclose(why[:, 0], whole - less, atol=1e-6)
    with pytest.raises(StudyError, match="it can by removal"):
        explain_cells(
            ensemble, cells.features, deposits, background=background, explainer="gradients"
        )


def test_the_cells_of_a_deposit_are_calibrated_by_together():
    """Those that calibrate are whole deposits that no head learnt from, and cells of none."""
    positive = np.repeat([True, False], [90, 60])
    groups = np.r_[np.repeat(np.arange(10), 9), -1 - np.arange(60)]
    taught, judged = _split(positive, groups, np.random.default_rng(0))
    assert sorted([*taught, *judged]) == list(range(150))
    assert not set(groups[taught]) & set(groups[judged])
    assert positive[judged].sum() == 18
    assert (~positive[judged]).sum() == 12
    few = np.r_[np.repeat(np.arange(10) % 4, 9), groups[90:]]
    taught, judged = _split(positive, few, np.random.default_rng(0))
    assert len(taught) == 150
    assert len(judged) == 0


def test_near_copies_do_not_sharpen_the_temperature(area, backbone):
    """Nine like cells a deposit: split by cells they seem sure; by deposits they are not."""
    rng = np.random.default_rng(1)
    deposits = rng.normal(size=(20, 40)) + 0.25
    X = np.concatenate([np.repeat(deposits, 9, axis=0), rng.normal(size=(180, 40))])
    X[:180] += 0.01 * rng.normal(size=(180, 40))
    y = np.repeat([1, 0], 180)
    groups = np.r_[np.repeat(np.arange(20), 9), np.full(180, -1)]
    model = PretrainedClassifier(backbone, random_state=0)
    told, alone = (
        np.mean([m["temperature"] for m in model.fit(X, y, groups=g).members_])
        for g in (groups, None)
    )
    assert told > 1.5 * alone


def test_an_ensemble_tells_its_members_the_deposits(area, backbone):
    """Of the cells that each draw takes, whatever their order."""
    seen = []

    class Told(PretrainedClassifier):
        def _fit_groups(self, X, positive, groups):
            seen.append((positive, groups))
            super()._fit_groups(X, positive, groups)

    _, cells = fitted(Told(backbone, random_state=0), area)
    assert len(seen) == 2
    for positive, groups in seen:
        own = np.sort(cells.deposits[cells.deposits >= 0])
        np.testing.assert_array_equal(np.sort(groups[positive]), own)
        assert len(np.unique(groups[~positive])) == (~positive).sum()


def test_one_deposit_can_be_fine_tuned_on(area, backbone):
    """One cell of it: none is spared, and the training is stopped by what it learns from."""
    windows = np.random.default_rng(0).normal(size=(6, 4, 5, 5))
    model = PretrainedClassifier(backbone, head="finetune", members=1, random_state=0)
    score = model.fit(windows, [1, 0, 0, 0, 0, 0]).predict_proba(windows)[:, 1]
    assert np.isfinite(score).all()
    assert model.members_[0]["temperature"] == 1.0


def test_the_scales_of_an_untaught_network_keep_to_the_fold_where_it_is_strict(area):
    """What lies on held-out ground changes nothing of it."""
    evidence, _ = area
    shown = np.zeros(SHAPE, dtype=bool)
    shown[:, :20] = True
    changed = evidence.copy()
    changed[:3, :, 20:] += 50.0
    model = PretrainedClassifier(**QUICK, strict=True, pretrained=False, random_state=0)
    one, other = (model.learn_evidence(e, shown).backbone for e in (evidence, changed))
    np.testing.assert_array_equal(one.learned["centre"], other.learned["centre"])
    np.testing.assert_array_equal(one.learned["scale"], other.learned["scale"])


def test_an_untaught_copy_says_that_it_learnt_nothing(backbone):
    """No areas and no losses of the network that it is a copy of."""
    assert backbone.untrained().description["areas"] == []
    assert "training_loss" not in backbone.untrained().description


@pytest.mark.parametrize("head", ["probe", "finetune"])
def test_other_units_are_refused_and_other_cells_told_of(area, backbone, head):
    """Percent in place of ppm would be other ground without a word."""
    evidence, _ = area
    units = xr.DataArray(["ppm", "ppm", "ppm", ""], dims="layer")
    learnt = pretrain(evidence.assign_coords(unit=units), Pretraining(**QUICK_PRETRAINING))
    model = PretrainedClassifier(learnt, head=head)
    other = evidence.assign_coords(unit=("layer", ["ppm", "pct", "ppm", ""]))
    with pytest.raises(StudyError, match="'Pb' is in pct here and in ppm"):
        model.look_at(other)
    with pytest.warns(SurveyDataWarning, match="3 layers, such as 'Pb', is not known here"):
        model.look_at(evidence)
    coarse = evidence.assign_coords(x=evidence["x"] * 3, y=evidence["y"] * 3, unit=units)
    with pytest.warns(SurveyDataWarning, match="300 m across here and 100 m where"):
        model.look_at(coarse)
    more = xr.concat([evidence, evidence[[0]].assign_coords(layer=["Ag"])], "layer")
    model.set_params(backbone=pretrain(evidence, Pretraining(**QUICK_PRETRAINING)))
    with pytest.warns(SurveyDataWarning, match="knows 4 of the study's 5 layers.*blind to Ag"):
        model.look_at(more)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "tree"}, "head is 'tree': one of probe, forest, finetune, analogues"),
        ({"embedding": "quick"}, "embedding is 'quick'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"members": 0}, "members is 0"),
        ({"backbone": "file.safetensors"}, "give a Backbone"),
        ({"preset": "large"}, "Unknown preset 'large'"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    """Before anything is learnt."""
    with pytest.raises(StudyError, match=message):
        PretrainedClassifier(**settings).check()


def test_layers_cannot_be_screened():
    """The backbone has seen them all."""
    with pytest.raises(StudyError, match="Leave out `screen`"):
        gs.make_model("masked-pretraining", screen=2.58)


def test_a_backbone_is_needed_before_a_map(area):
    """What is to be done is said."""
    with pytest.raises(StudyError, match="call learn_evidence"):
        PretrainedClassifier().look_at(area[0])


def test_a_clone_keeps_its_backbone(backbone, tmp_path):
    """It is not learnt anew for every fold; from disk it is equal."""
    from sklearn.base import clone

    assert clone(PretrainedClassifier(backbone)).backbone is backbone
    assert "Backbone(4 layers, window=5, width=96)" in repr(PretrainedClassifier(backbone))
    backbone.save(tmp_path / "b.safetensors")
    assert Backbone.load(tmp_path / "b.safetensors").layers == backbone.layers


def test_likeness_of_embeddings_is_that_of_the_plain_method(area, backbone):
    """Each deposit is one place, whatever its cells; no draw of negatives moves it."""
    from gossan.models import Analogues

    evidence, labels = area
    model = PretrainedClassifier(backbone, head="analogues", random_state=0)
    embedded = model.look_at(evidence)
    cells = study_cells(embedded, labels)
    X, y = cells.features[:], np.where(cells.labels == 1, 1, 0)
    found = model.fit(X, y, groups=cells.deposits).predict_proba(X)
    plain = Analogues().fit(X, y, groups=cells.deposits).predict_proba(X)
    np.testing.assert_array_equal(found, plain)
    assert np.isnan(model.predict_with_spread(X)[1]).all()
