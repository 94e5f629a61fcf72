"""Whether ground like some of the known deposits holds the others: held out, on a run's folds."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossan import io
from gossan.exceptions import LabelError
from gossan.methods import make_model, make_sampler
from gossan.pipeline.inputs import OpenStudy
from gossan.pipeline.keys import hash_of, room_code
from gossan.pipeline.settings import study_splitter
from gossan.regions import most_alike
from gossan.study import Study
from gossan.validate import cross_validate

_FILE = ".stages/likeness-result.json"
_STAGE = "likeness"


def likeness_stage(study: Study, at_hand: OpenStudy) -> dict[str, Any]:
    """Hold deposits out and rank them by likeness to the others, with nothing learnt.

    Returns
    -------
    dict
        ``held_out`` as in ``evaluation.json``, and ``deposits``, one a deposit, as
        :class:`gossan.report.AnaloguesShown` holds them. Of deposits that cannot be held out,
        ``reason`` tells why, and there are none.
    """
    run = at_hand.run
    key = hash_of(
        at_hand.keys["labels"], study.validation.model_dump(), study.seed, room_code("regions")
    )
    if not run.finished(_STAGE, key, [_FILE]):
        with run.making(_STAGE, key, [_FILE]):
            io.write_json(run.path / _FILE, _ranked(study, at_hand))
    return io.read_json(run.path / _FILE)


def _ranked(study: Study, at_hand: OpenStudy) -> dict[str, Any]:
    evidence, labels = at_hand.evidence, at_hand.labels
    try:
        found = cross_validate(
            make_model("analogues", random_state=study.seed),
            evidence,
            labels,
            splitter=study_splitter(study),
            negatives=make_sampler("all-unlabelled"),
            background_folds=study.validation.background_folds,
            n_bootstrap=study.validation.bootstrap,
            random_state=study.seed,
            progress=at_hand.run.steps(_STAGE),
        )
    except LabelError as error:  # a method of patches runs where cells leave too few deposits
        return {"held_out": None, "deposits": [], "reason": str(error)}
    cells = np.asarray(labels.attrs["deposit_cells"])[found.deposits]
    alike, likeness = most_alike(evidence, cells, found.folds, random_state=study.seed)
    names = at_hand.deposits["name"].astype(str).to_numpy()[found.deposits]
    deposits = [
        {
            "name": name,
            "fold": int(fold),
            "rank": float(rank),
            "alike": None if other < 0 else str(names[other]),
            "likeness": None if other < 0 else float(cosine),
        }
        for name, fold, rank, other, cosine in zip(
            names, found.folds, found.ranks, alike, likeness, strict=True
        )
    ]
    return {"held_out": found.held_out, "deposits": deposits, "reason": None}
