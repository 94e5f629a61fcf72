"""Open surveys fetched by name, every file checked against its SHA-256."""

from __future__ import annotations

import logging
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import pooch
from rich.console import Console
from rich.progress import track

from gossan.exceptions import StudyError, SurveyDataError
from gossan.io import replacing
from gossan.mistakes import suggest
from gossan.study import find_survey, survey_cache


@dataclass(frozen=True)
class Survey:
    """An open survey: where its files come from, on what terms, and whom to cite.

    ``address`` is the folder on the web, pinned to a commit; ``files`` has the SHA-256 of every
    file by its path inside that folder.
    """

    name: str
    title: str
    address: str
    licence: str
    citation: str
    files: Mapping[str, str]

    def url(self, path: str) -> str:
        """The address of one file."""
        return f"{self.address}/{quote(path)}"


def _registry(name: str) -> dict[str, str]:
    """SHA-256 by path of one survey's files, from ``registry.txt`` beside this module."""
    registry = resources.files("gossan.datasets").joinpath("registry.txt").read_text("utf-8")
    entries = (line.split(maxsplit=1) for line in registry.splitlines())
    return {
        path.removeprefix(f"{name}/"): digest
        for digest, path in entries
        if path.startswith(f"{name}/")
    }


SURVEYS = {
    survey.name: survey
    for survey in (
        Survey(
            "jabal-al-hasir",
            "Stream sediments of the Jabal al Hasir quadrangle, south-west Saudi Arabia: 2,728 "
            "samples, 57 analytes, 59 mineral occurrences",
            "https://raw.githubusercontent.com/MinersAI/geochemical_anomaly_detection/"
            "370f72539e4c60440b8fccc3dc321958645ec187/data_files",
            "MIT (repository); the data are from the Saudi Geological Survey's open portal",
            "MinersAI, geochemical_anomaly_detection, "
            "https://github.com/MinersAI/geochemical_anomaly_detection; samples and occurrences: "
            "Saudi Geological Survey",
            _registry("jabal-al-hasir"),
        ),
        Survey(
            "nanling",
            "Lithium in the Nanling range, south China: rasters of 39 elements, faults, granite "
            "and strata, 23 deposit cells",
            "https://raw.githubusercontent.com/kiritonfan/An-interpretable-DCN-Transformer-hybrid-"
            "model-with-attribution-for-mineral-prospectivity-mapping/"
            "3477c14cb820c2f7a9687e2e78d6beda1cfa5ce4/data",
            "MIT",
            "Hao, Y. & Xiong, Y. (2026), Considering mineralization local-global geological "
            "features: an interpretable DCN-Transformer hybrid model with attribution for mineral "
            "prospectivity mapping, EGUsphere preprint, doi 10.5194/egusphere-2026-2616",
            _registry("nanling"),
        ),
        Survey(
            "cloncurry",
            "Iron oxide copper-gold around Cloncurry, Queensland: 100 m rasters of faults, "
            "breccia and strata, 258 deposits, and the published weights-of-evidence answer",
            "https://raw.githubusercontent.com/GeoscienceAustralia/MPM-WofE/"
            "7df6b7a23c03a289580e50cdbcf813c18e1e76f5/TESTDATA",
            "Apache-2.0, © Commonwealth of Australia (Geoscience Australia) 2023",
            "Geoscience Australia (2023), Mineral Potential Mapping – Weights of Evidence R "
            "Scripts, https://github.com/GeoscienceAustralia/MPM-WofE; geology: Stewart et al. "
            "(2020), doi 10.26186/135277; deposits: Huston et al. (2021), doi "
            "10.11636/Record.2021.020, and Kucka et al. (2022), doi 10.26186/146983",
            _registry("cloncurry"),
        ),
    )
}


def fetch_survey(
    name: str, *, folder: str | os.PathLike[str] | None = None, progressbar: bool = True
) -> Path:
    """Bring an open survey to this computer, unless it is here already.

    Looked for first in ``GOSSAN_DATA/<name>``, in a ``shared/data/<name>`` beside the working
    folder or the checkout, and in the cache of earlier downloads.

    Parameters
    ----------
    name : str
        A key of :data:`SURVEYS`.
    folder : path-like, optional
        Put the files here. Default: leave them where they are found, or download them to the
        cache of this user (``gossan.study.survey_cache()``).
    progressbar : bool
        Show the files as they come in, on stderr.

    Returns
    -------
    Path
        The folder that holds the survey's files, each checked against its SHA-256.

    Raises
    ------
    StudyError
        If there is no such survey; the nearest names are listed.
    SurveyDataError
        If a file at hand is damaged or missing, or a download fails; the message names the file
        or address and the remedy.
    """
    survey = _find(name)
    cache = survey_cache() / name
    at_hand = _at_hand(name)
    if at_hand is None or at_hand == cache:
        target = cache if folder is None else Path(folder)
        _download(survey, target, progressbar)
        return target
    _verify(survey, at_hand)
    if folder is None or Path(folder).resolve() == at_hand.resolve():
        return at_hand
    for path in survey.files:
        with replacing(Path(folder) / path) as partial:
            shutil.copyfile(at_hand / path, partial)
    return Path(folder)


def describe_survey(name: str) -> str:
    """What an open survey holds, its licence and whom to cite.

    Examples
    --------
    >>> print(describe_survey("nanling").splitlines()[0])
    nanling: Lithium in the Nanling range, south China: rasters of 39 elements, faults,
    """
    survey = _find(name)
    lines = (
        f"{survey.name}: {survey.title}.",
        f"Files: {len(survey.files)}, from {survey.address}",
        f"Licence: {survey.licence}.",
        f"Cite: {survey.citation}.",
    )
    wrap = textwrap.TextWrapper(
        88, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrap.fill(line) for line in lines)


def _find(name: str) -> Survey:
    if name not in SURVEYS:
        raise StudyError(f"There is no open survey {name!r}.{suggest(name, list(SURVEYS))}")
    return SURVEYS[name]


def _at_hand(name: str) -> Path | None:
    """Where the survey lies already: seen from the working folder, then from the checkout."""
    cached = survey_cache() / name
    beside = [find_survey(name, start) for start in (Path.cwd() / "study.toml", Path(__file__))]
    found = [path for path in beside if path is not None]
    return next((path for path in found if path != cached), found[0] if found else None)


def _verify(survey: Survey, folder: Path) -> None:
    """Raise unless ``folder`` holds every file of the survey, unharmed."""
    remedy = (
        "Copy the file again, or set GOSSAN_DATA to a folder that holds no "
        f"{survey.name!r} and `gossan fetch {survey.name}` downloads it."
    )
    for path, digest in survey.files.items():
        if not (folder / path).is_file():
            raise SurveyDataError(f"{folder} lacks {path} of {survey.name!r}. {remedy}")
        found = pooch.file_hash(str(folder / path), alg="sha256")
        if found != digest:
            raise SurveyDataError(
                f"{folder / path} is not the published file: its SHA-256 is {found[:12]}…, not "
                f"{digest[:12]}…. {remedy}"
            )


def _download(survey: Survey, folder: Path, progressbar: bool) -> None:
    """Fetch what ``folder`` lacks; a file is there whole and checked, or not at all."""
    shelf = pooch.create(
        path=folder,
        base_url=f"{survey.address}/",
        registry={path: f"sha256:{digest}" for path, digest in survey.files.items()},
        urls={path: survey.url(path) for path in survey.files},
        retry_if_failed=1,
    )
    files = track(
        survey.files,
        description=f"Fetching {survey.name}",
        console=Console(stderr=True),
        disable=not progressbar,
        transient=True,
    )
    with _quiet_pooch():
        for path in files:
            try:
                shelf.fetch(path, downloader=pooch.HTTPDownloader(timeout=30))
            # requests' errors are OSErrors; a download with another hash is a ValueError.
            except (OSError, ValueError) as error:
                raise SurveyDataError(
                    f"{survey.url(path)} could not be fetched: {error} Check the connection and "
                    "run the same command again: what has arrived is kept. Without a connection, "
                    f"copy the survey to a folder {survey.name!r} and set GOSSAN_DATA to the "
                    "folder that holds it."
                ) from error


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Pooch's line for every file would tear the progress bar."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
