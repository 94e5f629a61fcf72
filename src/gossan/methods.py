"""The catalogue: a name → its method or sampler, with sound defaults for few deposits."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from gossan import io
from gossan.annotate import RecursiveNegatives
from gossan.exceptions import StudyError
from gossan.labels import (
    AllUnlabelled,
    BufferedNegatives,
    DissimilarNegatives,
    NegativeSampler,
    OtherDepositNegatives,
    RandomNegatives,
    SpyNegatives,
    make_named,
)
from gossan.mistakes import check_setting, deep_module, suggest
from gossan.models import (
    Analogues,
    BaggingPU,
    CellClassifier,
    CellDecisionTree,
    CellExtraTrees,
    CellGradientBoosting,
    CellIsolationForest,
    CellKNeighbors,
    CellLogisticRegression,
    CellRandomForest,
    CellSVM,
    ElkanNoto,
    LayerScreen,
    WeightsOfEvidence,
)


@dataclass(frozen=True)
class LearntFile:
    """A setting that a study file gives as the name of a file, which a command has made.

    Attributes
    ----------
    build : str
        ``"module:Class"`` with a method ``load(file)``.
    made_by : str
        The command, as it is typed.
    """

    build: str
    made_by: str

    def load(self, file: Path) -> Any:
        """What is in the file.

        Raises
        ------
        StudyError
            If it needs PyTorch and that is not installed.
        SurveyDataError
            If the file is damaged or holds something else.
        """
        module, _, name = self.build.partition(":")
        return getattr(deep_module(module, f"The file {file}"), name).load(file)


@dataclass(frozen=True)
class Method:
    """One entry of the catalogue.

    Attributes
    ----------
    name : str
        As a study file gives it.
    title : str
        As a report prints it.
    build : type or str
        Estimator class, or where it is, ``"module:Class"``, if importing it imports torch.
    summary : str
        What it does, in one sentence.
    when_to_use : str
        When to choose it and when not, in three sentences.
    negatives : str
        Name of the default sampler in :data:`SAMPLERS`. A method that learns from
        unlabelled cells gets the sampled cells as unlabelled.
    draws : int
        Default number of models fitted to as many draws of the sampler, and averaged.
    negatives_parameters : Mapping
        Settings of the sampler.
    parameters : Mapping
        Settings of the estimator where the catalogue's default differs from the class's.
    max_negatives : int or None
        Cells of ``all-unlabelled`` that a comparison gives it, where its time grows faster than
        the cells it learns from; ``None`` for as many as the sampler takes.
    ablation : Mapping
        Settings that leave out what the method is about: every comparison has a row of them.
    files : Mapping
        Settings that are a file in a study: name → :class:`LearntFile`.
    """

    name: str
    title: str
    build: type[CellClassifier] | str
    summary: str
    when_to_use: str
    negatives: str = "all-unlabelled"
    draws: int = 1
    negatives_parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    max_negatives: int | None = None
    ablation: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, LearntFile] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def deep(self) -> bool:
        """Whether it learns with a network of PyTorch."""
        return isinstance(self.build, str)

    @property
    def code(self) -> str:
        """Hash of the code of its network; empty without one."""
        return io.network_code(self.build.partition(":")[0]) if isinstance(self.build, str) else ""

    @property
    def estimator(self) -> type[Any]:
        """The estimator class.

        Raises
        ------
        StudyError
            If it needs PyTorch and that is not installed.
        """
        if not isinstance(self.build, str):
            return self.build
        module, _, name = self.build.partition(":")
        return getattr(deep_module(module, f"The method {self.name!r}"), name)

    def idle(self, settings: Mapping[str, Any]) -> list[str]:
        """Those of some settings that make no difference beside the others."""
        names = getattr(self.estimator(**{**self.parameters, **settings}), "idle", ())
        return [name for name in settings if name in names]

    @property
    def missing_values(self) -> str:
        """How the method copes with missing layers, in one sentence."""
        return self.estimator.missing_values


DEFAULT_METHOD = "extra-trees"

_PIXEL_PAIRS = "gossan.nn.pixel_pairs:PixelPairClassifier"
# One network a draw, on a sample of its pairs: all of them would take many times as long. Each
# compares few cells, and ten draws together as many as one network does by the class's defaults.
_PAIR_SETTINGS = {"members": 1, "pairs_per_epoch": 6_400, "ring_pairs": 8, "references": 8}

_PRETRAINED = "gossan.nn.masked_autoencoder:PretrainedClassifier"
_UNTAUGHT = MappingProxyType({"pretrained": False})
_BACKBONE = MappingProxyType(
    {"backbone": LearntFile("gossan.nn.masked_autoencoder:Backbone", "gossan pretrain")}
)

_TRANSFER = "gossan.nn.selective_transfer:SelectiveTransferClassifier"
_SOURCE = LearntFile("gossan.nn.selective_transfer:Source", "gossan train-source")

_ENTRIES = [
    Method(
        "weights-of-evidence",
        "Weights of evidence",
        WeightsOfEvidence,
        "Adds up, layer by layer, how much more often deposits lie on one side of a threshold "
        "than by chance.",
        "Choose it where every step must be explained: one threshold and two weights a layer, in a "
        "table that a geologist can check. With weak evidence it often holds up better than "
        "methods that learn more. It counts correlated layers twice, so read its scores as a "
        "ranking wherever the conditional-independence test fails.",
        parameters=MappingProxyType({"cells_per_deposit": 9.0}),
    ),
    Method(
        "logistic-regression",
        "Logistic regression",
        CellLogisticRegression,
        "Weighs the normal scores of the layers into log-odds, under a strong L2 penalty.",
        "Choose it as the plainest trained method: one coefficient a layer, and nothing to tune. "
        "It does well where prospectivity rises or falls steadily with each layer, as in "
        "multi-element geochemistry. It sees no interaction and no optimum in the middle of a "
        "layer's range.",
    ),
    Method(
        "k-nearest-neighbours",
        "k nearest neighbours",
        CellKNeighbors,
        "Scores a cell by the share of positives among the training cells most like it.",
        "Choose it to ask which ground resembles the known deposits, with no model in between. It "
        "suits a dozen informative layers; irrelevant ones blur what is near, so screen them. It "
        "is slow on large maps.",
        negatives="random",
        draws=10,
        max_negatives=5_000,
    ),
    Method(
        "analogues",
        "Analogues",
        Analogues,
        "Scores a cell by whether the layers that are high and low at known deposits are so there.",
        "Choose it with a handful of deposits, or to see where ground like theirs lies before any "
        "method is trained: it needs no negatives, and nothing can be tuned. It finds more of the "
        "same and nothing else. Every layer counts alike, so leave out those that have no bearing.",
    ),
    Method(
        "svm",
        "Support vector machine",
        CellSVM,
        "Separates positives from negatives by the widest margin under a radial kernel.",
        "Choose it to compare with published work that uses it, or with few deposits and smooth "
        "evidence. Its score ranks cells but is no probability. Training slows with the square of "
        "the cells, so it learns from draws of negatives.",
        negatives="random",
        draws=10,
        max_negatives=5_000,
    ),
    Method(
        "decision-tree",
        "Decision tree",
        CellDecisionTree,
        "Splits the ground by a few thresholds, one after another.",
        "Choose it to read off rules that a geologist may argue with. Its map has a few steps, and "
        "another draw of deposits gives another tree. For a map to drill from, take a forest.",
        negatives="random",
        draws=10,
        negatives_parameters=MappingProxyType({"ratio": 5.0}),
    ),
    Method(
        "random-forest",
        "Random forest",
        CellRandomForest,
        "Averages trees grown on bootstrap samples with the best thresholds on random layers.",
        "Choose it to compare with published work, where it is the usual yardstick. It takes "
        "layers of any scale, gaps included, and finds interactions by itself. Extra trees are "
        "faster, and on most areas measured the two cannot be told apart.",
        negatives="random",
        draws=10,
        negatives_parameters=MappingProxyType({"ratio": 5.0}),
        parameters=MappingProxyType({"n_estimators": 30}),
    ),
    Method(
        "extra-trees",
        "Extra trees",
        CellExtraTrees,
        "Averages trees with random thresholds on random layers, over ten draws of negatives.",
        "Choose it first: it is fast, needs no tuning, takes layers of any scale, gaps included, "
        "and its spread shows where draws of negatives disagree. It is the default and not the "
        "best: `bagging-pu`, `random-forest` and `logistic-regression` have a better "
        "mean rank over the areas measured, though on most areas none of them can be told from "
        "it. Compare it with them, and where evidence is weak with weights of evidence, which "
        "learns less and may hold better.",
        negatives="random",
        draws=10,
        negatives_parameters=MappingProxyType({"ratio": 5.0}),
        parameters=MappingProxyType({"n_estimators": 30}),
    ),
    Method(
        "gradient-boosting",
        "Gradient boosting",
        CellGradientBoosting,
        "Adds shallow trees, each mending the errors of those before.",
        "Choose it with hundreds of deposits and subtle interactions. With tens of deposits it "
        "tends to fit their noise more than a forest. Its scores crowd near 0 and 1, so use them "
        "as a ranking.",
        negatives="random",
        draws=10,
        negatives_parameters=MappingProxyType({"ratio": 5.0}),
    ),
    Method(
        "bagging-pu",
        "Bagging for positive-unlabelled labels",
        BaggingPU,
        "Averages trees that each tell all positives from a small random draw of unlabelled cells.",
        "Choose it where many deposits may be undiscovered: one among the unlabelled spoils few "
        "members. It scores training cells out of bag, so it shows which unlabelled cells look "
        "like deposits. Its blunt members also hold up well where evidence is weak.",
    ),
    Method(
        "elkan-noto",
        "Elkan–Noto",
        ElkanNoto,
        "Divides the chance of being a known deposit by the share of deposits that are known.",
        "Choose it to see what correcting for undiscovered deposits does to a forest's scores; it "
        "ranks much like the forest. Read them as chances of ore only where ore stands clear of "
        "other ground and the method learns from every unlabelled cell: from draws of them, or "
        "where ore and other ground overlap, they are many times too high. Where discovery "
        "followed roads the correction is wrong by as much.",
        negatives="random",
        draws=5,
        negatives_parameters=MappingProxyType({"ratio": 20.0}),
        parameters=MappingProxyType({"n_estimators": 30}),
    ),
    Method(
        "isolation-forest",
        "Isolation forest",
        CellIsolationForest,
        "Scores how few random cuts set a cell apart from all others; deposits are not used.",
        "Choose it as the unsupervised yardstick, or where deposits are too few to learn from. It "
        "finds what is unusual, of which ore is one kind among many. Give it elements that "
        "matter, since it cannot choose layers by itself.",
    ),
    Method(
        "pixel-pairs",
        "Pixel pairs, dual window",
        _PIXEL_PAIRS,
        "Scores how unlike a cell is to the ring of cells round it, by a deep network that learnt "
        "from pairs of labelled cells.",
        "Choose it for multi-element geochemistry where ore stands out from its surroundings, and "
        "to compare with the published method. It finds what differs from its neighbours, so ore "
        "within a broad anomaly is lost on it. It needs no layer to be scaled, but many layers.",
        negatives="random",
        draws=10,
        parameters=MappingProxyType(_PAIR_SETTINGS),
    ),
    Method(
        "pixel-pairs-reference",
        "Pixel pairs, reference cells",
        _PIXEL_PAIRS,
        "Scores how much less unlike a cell is to known deposits than to barren ground, by the "
        "same network of pairs.",
        "Choose it over the dual window wherever deposits are to be found by what they are and "
        "not by how they stand out: it looks at no neighbour. It takes longer over the map. "
        "With one deposit's cells alone it learns that deposit and nothing more.",
        negatives="random",
        draws=10,
        parameters=MappingProxyType({**_PAIR_SETTINGS, "scoring": "reference"}),
    ),
    Method(
        "pixel-pairs-both",
        "Pixel pairs, dual window and reference cells",
        _PIXEL_PAIRS,
        "Averages the ranks that a cell has against its ring and against the labelled cells.",
        "Choose it where ore both resembles known deposits and stands out from its surroundings. "
        "Compare it with the two it is made of before you trust it over either. It takes the time "
        "of both.",
        negatives="random",
        draws=10,
        parameters=MappingProxyType({**_PAIR_SETTINGS, "scoring": "both"}),
    ),
    Method(
        "masked-pretraining",
        "Masked pretraining, linear head",
        _PRETRAINED,
        "Learns without labels to fill in hidden parts of the evidence, then separates deposits "
        "from barren ground by what it has learnt.",
        "Choose it where one backbone is to serve several areas, and not where layers are missing: "
        "a forest loses less there. Compare it with `pretrained = false` and with extra trees: on "
        "full evidence of one small area they often do as well. It takes minutes to pretrain.",
        negatives="random",
        draws=10,
        negatives_parameters=MappingProxyType({"ratio": 5.0}),
        parameters=MappingProxyType({"members": 1}),
        ablation=_UNTAUGHT,
        files=_BACKBONE,
    ),
    Method(
        "masked-pretraining-forest",
        "Masked pretraining, forest",
        _PRETRAINED,
        "Grows extra trees on the layers and on what masked pretraining makes of them.",
        "Choose it where extra trees do well and the surroundings of a cell should count too. It "
        "adds to extra trees what neighbouring cells say; where that is little, it adds noise. It "
        "takes minutes to pretrain.",
        negatives="random",
        draws=10,
        negatives_parameters=MappingProxyType({"ratio": 5.0}),
        parameters=MappingProxyType({"head": "forest"}),
        ablation=_UNTAUGHT,
        files=_BACKBONE,
    ),
    Method(
        "masked-pretraining-finetune",
        "Masked pretraining, fine-tuned",
        _PRETRAINED,
        "Goes on teaching the pretrained network by the labelled cells, with a linear head.",
        "Choose it with a hundred deposits or more, or to see whether the linear head misses what "
        "the network could learn. With few deposits it learns them by heart. It trains a network "
        "for every draw.",
        negatives="random",
        draws=10,
        parameters=MappingProxyType({"head": "finetune", "members": 1}),
        ablation=_UNTAUGHT,
        files=_BACKBONE,
    ),
    Method(
        "masked-pretraining-analogues",
        "Masked pretraining, analogues",
        _PRETRAINED,
        "Scores a cell by how like that of known deposits is what a pretrained network makes of it "
        "and its surroundings.",
        "Choose it over plain analogues where what lies round a cell should count too. It needs no "
        "negatives, so it is a check on methods that choose them. Compare it with `analogues`, "
        "which looks at the layers of the cell alone.",
        parameters=MappingProxyType({"head": "analogues"}),
        ablation=_UNTAUGHT,
        files=_BACKBONE,
    ),
    Method(
        "selective-transfer",
        "Selective transfer between areas",
        _TRANSFER,
        "Tells patches with a deposit from others by networks of several scales, which take of a "
        "network that learnt another area what helps.",
        "Choose it where a well-explored area has the layers of yours and deposits of the same "
        "kind: `gossan train-source` learns that area first. It scores patches and not cells, so "
        "its map is coarse, and it needs dozens of patches with a deposit. Compare it with "
        "`transfer = false` and with extra trees before you trust it.",
        # Few networks vote: by shares of votes much ground ties, and targets need an order.
        parameters=MappingProxyType({"epochs": 10, "batch_size": 32, "vote": "chance"}),
        ablation=MappingProxyType({"transfer": False}),
        files=MappingProxyType({"source": _SOURCE}),
    ),
]

METHODS: dict[str, Method] = {method.name: method for method in _ENTRIES}
"""Name in a study file → method."""

SAMPLERS: dict[str, type[NegativeSampler]] = {
    "all-unlabelled": AllUnlabelled,
    "random": RandomNegatives,
    "buffered": BufferedNegatives,
    "dissimilar": DissimilarNegatives,
    "other-deposits": OtherDepositNegatives,
    "spy": SpyNegatives,
    "recursive": RecursiveNegatives,
}
"""Name in a study file → sampler of negatives."""


_ELSEWHERE = {"draws": "negatives", "sampler": "negatives", "ratio": "negatives"}
_ELSEWHERE |= {"folds": "validation", "splitter": "validation", "dead_zone": "validation"}


def make_sampler(name: str, **parameters: Any) -> NegativeSampler:
    """A negative sampler by its name in :data:`SAMPLERS`.

    Raises
    ------
    StudyError
        If the name or a parameter is unknown; suggests the nearest.

    Examples
    --------
    >>> make_sampler("random", ratio=2.0)
    RandomNegatives(ratio=2.0)
    """
    return make_named("negative sampler", SAMPLERS, name, parameters)


def make_model(
    name: str = DEFAULT_METHOD,
    *,
    random_state: int | None = None,
    screen: float | None = None,
    **parameters: Any,
) -> Any:
    """The unfitted estimator of a method.

    Parameters
    ----------
    name : str
        A key of :data:`METHODS`.
    random_state : int, optional
        Seed, for the methods that use one.
    screen : float, optional
        Fit only layers whose ``|Z|`` on the training deposits exceeds this, chosen in every fit
        (:class:`gossan.models.LayerScreen`).
    **parameters
        Settings of the method that differ from its defaults.

    Raises
    ------
    StudyError
        If the method or a parameter is unknown (suggests the nearest), or a value of the wrong
        type.

    Examples
    --------
    >>> make_model("extra-trees", n_estimators=50, random_state=0)
    CellExtraTrees(n_estimators=50, random_state=0)
    >>> make_model("extra-tree")
    Traceback (most recent call last):
    gossan.exceptions.StudyError: Unknown method 'extra-tree'. Did you mean 'extra-trees'?
    """
    if name not in METHODS:
        raise StudyError(f"Unknown method {name!r}.{suggest(name, METHODS)}")
    method = METHODS[name]
    types = get_type_hints(method.estimator.__init__, include_extras=True)
    known = [p for p in inspect.signature(method.estimator).parameters if p != "random_state"]
    for parameter, value in parameters.items():
        if parameter not in known:
            table = _ELSEWHERE.get(parameter)
            hint = f" It belongs in [{table}]." if table else suggest(parameter, known)
            raise StudyError(f"The method {name!r} has no parameter {parameter!r}.{hint}")
        check_setting(f"The method {name!r}", parameter, value, types[parameter])
    settings = {**method.parameters, **parameters}
    if "random_state" in types:
        settings["random_state"] = random_state
    model = method.estimator(**settings)
    if screen is not None and hasattr(model, "learn_evidence"):
        raise StudyError(
            f"The method {name!r} learns from all layers before it sees a label, so they cannot be "
            "screened by the deposits. Leave out `screen`."
        )
    if screen is not None and hasattr(model, "fit_area"):
        raise StudyError(
            f"The method {name!r} learns from patches of an area and weighs the layers itself, so "
            "they cannot be screened cell by cell. Leave out `screen`."
        )
    return model if screen is None else LayerScreen(model, z=screen)
