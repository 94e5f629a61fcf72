"""What a column of a geochemical table holds, read off its name: element or oxide, and unit."""

from __future__ import annotations

import re
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from gossan.exceptions import StudyError

_Values = TypeVar("_Values", pd.DataFrame, pd.Series, npt.NDArray[np.float64], float)

_PPM = {"ppm": 1.0, "ppb": 1e-3, "pct": 1e4}
_SYNONYMS = {
    "ppm": ("ppm", "mg/kg", "mg_kg", "mg kg-1", "g/t", "gpt", "ug/g", "µg/g", "μg/g"),
    "ppb": ("ppb", "ng/g", "ug/kg", "µg/kg", "μg/kg", "mg/t"),
    "pct": ("wt%", "wt.%", "wt %", "wt. %", "wt_pct", "wtpct", "pct", "percent", "perc", "%"),
}
_CANONICAL = {spelling: unit for unit, spellings in _SYNONYMS.items() for spelling in spellings}
# The longest spelling first, so that "wt%" is not read as "wt" and "%". A unit may follow a symbol
# at once, as in "Cuppm", but no letter may follow it.
_UNIT = re.compile(
    "|".join(map(re.escape, sorted(_CANONICAL, key=len, reverse=True))).join(
        ["(", ")(?![A-Za-z])"]
    ),
    re.IGNORECASE,
)

# The elements that rocks, soils and sediments are analysed for. No is a number, not nobelium.
_ELEMENTS = (
    "Ag", "Al", "As", "Au", "B", "Ba", "Be", "Bi", "Br", "C", "Ca", "Cd", "Ce", "Cl", "Co",
    "Cr", "Cs", "Cu", "Dy", "Er", "Eu", "F", "Fe", "Ga", "Gd", "Ge", "Hf", "Hg", "Ho", "I",
    "In", "Ir", "K", "La", "Li", "Lu", "Mg", "Mn", "Mo", "N", "Na", "Nb", "Nd", "Ni", "Os", "P",
    "Pb", "Pd", "Pr", "Pt", "Rb", "Re", "Rh", "Ru", "S", "Sb", "Sc", "Se", "Si", "Sm", "Sn",
    "Sr", "Ta", "Tb", "Te", "Th", "Ti", "Tl", "Tm", "U", "V", "W", "Y", "Yb", "Zn", "Zr",
)  # fmt: skip
_OXIDES = (
    "Al2O3", "As2O3", "B2O3", "BaO", "BeO", "CaO", "Ce2O3", "CeO2", "CoO", "Cr2O3", "Cs2O",
    "CuO", "Fe2O3", "FeO", "Ga2O3", "GeO2", "HfO2", "K2O", "La2O3", "Li2O", "MgO", "MnO",
    "MnO2", "MoO3", "Na2O", "Nb2O5", "NiO", "P2O5", "PbO", "Rb2O", "SO3", "Sb2O3", "Sc2O3",
    "SiO2", "SnO2", "SrO", "Ta2O5", "ThO2", "TiO2", "U3O8", "UO2", "V2O5", "WO3", "Y2O3", "ZnO",
    "ZrO2",
)  # fmt: skip
_SYMBOLS = {symbol: symbol for symbol in (*_ELEMENTS, *_OXIDES)} | {
    spelling: iron
    for iron in ("Fe", "FeO", "Fe2O3")
    for spelling in (f"T{iron}", f"{iron}T", f"{iron}t", f"{iron}tot")
}
_ANY_CASE = {symbol.lower(): canonical for symbol, canonical in _SYMBOLS.items()}
_PLACE_WORDS = {"coord", "coords", "coordinate", "utm", "wgs84", "m", "north", "northing"}


def unit_of(column_name: str) -> str | None:
    """Unit that a column's name states.

    Parameters
    ----------
    column_name : str

    Returns
    -------
    {"ppm", "ppb", "pct"} or None
        None where the name states none. ``g/t`` and ``mg/kg`` are ppm; ``wt%`` is pct.

    Examples
    --------
    >>> [unit_of(name) for name in ("Cu_ppm", "Au ppb", "Fe2O3 (%)", "Al_ppm_511", "Cu")]
    ['ppm', 'ppb', 'pct', 'ppm', None]
    """
    stated = _UNIT.search(str(column_name))
    return _CANONICAL[stated.group(1).lower()] if stated else None


def element_of(column_name: str) -> str | None:
    """Element or oxide that a column's name states.

    The symbol comes first in the name, spelled as chemists do; in a name that states a unit it
    may come later, and in capitals or small letters.

    Parameters
    ----------
    column_name : str

    Returns
    -------
    str or None
        Such as ``"Cu"`` or ``"Fe2O3"``; total iron (``TFe2O3``, ``Fe2O3T``) is plain iron oxide.

    Examples
    --------
    >>> [element_of(name) for name in ("CU_PPM", "Al2O3 (%)", "As_INAA", "Sample No", "Y_coord")]
    ['Cu', 'Al2O3', 'As', None, None]
    """
    name = str(column_name)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _UNIT.sub(" ", name)) if word]
    if not words or _PLACE_WORDS.intersection(word.lower() for word in words):
        return None
    if unit_of(name) is None:
        return _SYMBOLS.get(words[0])
    spelled = [_SYMBOLS[word] for word in words if word in _SYMBOLS]
    lenient = [_ANY_CASE[word.lower()] for word in words if word.lower() in _ANY_CASE]
    return next(iter(spelled + lenient), None)


def to_ppm(values: _Values, unit: str) -> _Values:
    """Convert concentrations to parts per million.

    Parameters
    ----------
    values : float, array, Series or DataFrame
    unit : str
        ``"ppm"``, ``"ppb"``, ``"pct"`` or a spelling of them such as ``"g/t"`` or ``"wt%"``.

    Returns
    -------
    Same type as ``values``

    Raises
    ------
    StudyError
        If the unit is not known.

    Examples
    --------
    >>> to_ppm(2.5, "pct"), to_ppm(2.5, "g/t")
    (25000.0, 2.5)
    """
    canonical = _CANONICAL.get(unit.strip().lower())
    if canonical is None:
        raise StudyError(f"Unit {unit!r} is not known: use 'ppm', 'ppb' or 'pct'.")
    return values * _PPM[canonical]
