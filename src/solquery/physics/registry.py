"""The registry of physical parameters, and `measure`, which evaluates them on a batch of patches.

A parameter is a function from fields in gauss to one number per patch. Writing one and decorating it with
`parameter` is all that is needed: archives, steering and reports find it here.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..errors import NameTaken, SolqueryError
from ..lazy import deferred
from ..plugins import Registry, add_registry
from .given import as_fields, as_scale, checked_array, checked_scale, is_tensor

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..config import Preset
else:
    torch = deferred("torch")

__all__ = [
    "DuplicateParameter", "Parameter", "UnknownParameter", "accelerate", "as_fields", "as_scale", "checked_array",
    "get_parameter", "is_tensor", "measure", "measure_arrays", "measure_on_grid", "parameter", "parameters", "restore",
    "snapshot", "unit_of",
]  # fmt: skip

#: parameters of which `solquery.physics.smooth` has a version
SMOOTH_NAMES = ("tuf", "tpf", "tnf", "area", "psep", "tilt", "r")

Definition = Callable[["Tensor", "Tensor | None"], "Tensor"]

#: pixels worked on at a time: a few megabytes of float32, shared out over the threads; a GPU wants more
_CHUNK_PIXELS = {"cpu": 2**20, "cuda": 2**26}


class Accelerator(Protocol):
    """Compiled versions of definitions, for fields in main memory (`solquery.physics.fast`)."""

    def available(self) -> bool:
        """Whether they can be used."""
        ...

    def chosen_for(self, patches: int) -> bool:
        """Whether they are to measure so many patches."""
        ...

    def covered(self, chosen: Iterable[Parameter]) -> list[Parameter]:
        """Those of the parameters that have one."""
        ...

    def measure_fast(
        self, fields: np.ndarray, scale: np.ndarray | None, names: set[str]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Name to (N,) values, and the fields with 0 G where a pixel is missing."""
        ...


_accelerator: Accelerator | None = None


def accelerate(accelerator: Accelerator) -> None:
    """Make `measure` use compiled versions where they are available."""
    global _accelerator
    _accelerator = accelerator


class UnknownParameter(SolqueryError, ValueError):
    """A parameter name that nobody registered."""


class DuplicateParameter(NameTaken):
    """A parameter name registered twice."""


@dataclass(frozen=True)
class Parameter:
    """One physical parameter of a patch.

    Attributes
    ----------
    name
        What the user types, and the column of an archive, e.g. ``tuf``.
    function
        ``(fields (N, H, W) float32 in G, scale (N, 2) in Mm per pixel or None) -> (N,)``.
    unit
        Unit where the scale is known, as astropy reads it; empty for a pure number.
    grid_unit
        Unit where it is not known (scale None).
    symbol, title
        For tables and axis labels.
    source
        Where the definition comes from.
    definition
        The docstring of `function`.
    missing
        ``"zero"``: NaN pixels reach `function` as 0 G; ``"keep"``: they reach it as NaN.
    formula
        The definition in one line.
    domain
        Where it can be trusted.
    without
        What it is where its ingredients are not there: an empty text means 0.
    default
        Whether `measure` and archives measure it when nobody names it; False for what is costly or not for steering.
    """

    name: str
    function: Definition
    unit: str
    grid_unit: str
    symbol: str
    title: str
    source: str = ""
    definition: str = ""
    missing: str = "zero"
    formula: str = ""
    domain: str = ""
    without: str = ""
    default: bool = True

    @property
    def differentiable(self) -> bool:
        """Whether `solquery.physics.smooth` has a version of it with useful gradients."""
        return self.name in SMOOTH_NAMES

    def __call__(self, fields: ArrayLike, scale_mm: ArrayLike | None = None) -> Tensor:
        """Values (N,) float64 of this one parameter; see `measure` for the arguments."""
        return measure(fields, scale_mm, [self.name])[self.name]


_REGISTRY: dict[str, Parameter] = {}


def parameter(
    name: str,
    unit: str,
    *,
    grid_unit: str | None = None,
    symbol: str | None = None,
    title: str | None = None,
    source: str = "",
    missing: str = "zero",
    formula: str = "",
    domain: str = "",
    without: str = "",
    default: bool = True,
    replace: bool = False,
) -> Callable[[Definition], Definition]:
    """Register the decorated function as the definition of parameter `name`.

    Parameters
    ----------
    name
        A Python identifier in lower case.
    unit, grid_unit
        Units with and without a physical scale; `grid_unit` defaults to `unit`.
    symbol, title, source
        For tables, labels and the record; symbol and title default to the name.
    missing
        ``"zero"`` (default) if missing pixels count as 0 G, ``"keep"`` if the function deals with NaN itself.
    formula, domain, without
        For the record: the definition in one line, where it can be trusted, and what it is where it does not exist.
    default
        False for a parameter that is measured only when it is named.
    replace
        Allow an existing definition of that name to be replaced, as when a notebook cell is run again.

    Raises
    ------
    DuplicateParameter
        When the name is taken and `replace` is false.
    ValueError
        When the name is no lower-case identifier, or `missing` is neither of the two.

    Examples
    --------
    >>> from solquery.physics import measure, parameter
    >>> @parameter("peak", "G", title="Strongest field", replace=True)
    ... def peak(fields, scale):
    ...     '''Largest absolute field of the patch.'''
    ...     return fields.abs().amax((1, 2))
    >>> measure([[1.0, -3.0], [2.0, 0.0]], names=["peak"])["peak"].item()
    3.0
    """
    if not name.isidentifier() or name != name.lower():
        raise ValueError(f"a parameter's name is a lower-case identifier such as 'peak_field', got {name!r}")
    if missing not in ("zero", "keep"):
        raise ValueError(f"missing must be 'zero' or 'keep', got {missing!r}")

    def register(function: Definition) -> Definition:
        if name in _REGISTRY and not replace:
            raise DuplicateParameter(
                f"parameter {name!r} is already defined in {_REGISTRY[name].function.__module__}; "
                "choose another name or pass replace=True"
            )
        _REGISTRY[name] = Parameter(
            name=name,
            function=function,
            unit=unit,
            grid_unit=unit if grid_unit is None else grid_unit,
            symbol=symbol or name,
            title=title or name,
            source=source,
            definition=inspect.getdoc(function) or "",
            missing=missing,
            formula=formula,
            domain=domain,
            without=without,
            default=default,
        )
        return function

    return register


def parameters(on_demand: bool = False) -> dict[str, Parameter]:
    """Registered parameters by name, in the order of their registration (a copy).

    Those that are measured only when they are named (``default=False``) are among them if `on_demand` is true.
    """
    return {name: p for name, p in _REGISTRY.items() if p.default or on_demand}


def snapshot() -> dict[str, Parameter]:
    """The registry as it stands, for `restore`."""
    return dict(_REGISTRY)


def restore(before: dict[str, Parameter]) -> None:
    """Make the registry what it was at a `snapshot`."""
    _REGISTRY.clear()
    _REGISTRY.update(before)


def get_parameter(name: str) -> Parameter:
    """The parameter of that name.

    Raises
    ------
    UnknownParameter
        Naming those that exist, and the closest of them.
    """
    try:
        return _REGISTRY[name]
    except (KeyError, TypeError):
        close = difflib.get_close_matches(str(name).lower(), _REGISTRY, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UnknownParameter(f"no parameter named {name!r}{hint}; there are: {', '.join(_REGISTRY)}") from None


def unit_of(name: str, physical: bool) -> str:
    """Unit of a parameter: with a physical scale (``physical=True``) or on a bare grid; '' for a pure number."""
    found = get_parameter(name)
    return found.unit if physical else found.grid_unit


def measure(
    fields: ArrayLike,
    scale_mm: ArrayLike | None = None,
    names: Iterable[str] | str | None = None,
) -> dict[str, Tensor]:
    """Measure physical parameters on one patch or a batch of equal size.

    Parameters
    ----------
    fields
        (H, W) or (N, H, W), gauss; numpy or torch, on any device. Row 0 is the southernmost, column 0 the
        easternmost. Pixels that are not finite are missing and count as 0 G (`Parameter.missing` names exceptions).
    scale_mm
        Megametres per pixel as (y, x) for all, or (N, 2); None where the grid has no physical scale: the results
        are then in `grid_unit` (gauss and pixels).
    names
        Which parameters; None for all but those that are measured on demand only.

    Returns
    -------
    One (N,) float64 tensor per parameter, on the device of `fields`. NaN: unknown for this patch.

    Raises
    ------
    UnknownParameter
        Listing the parameters that exist.
    ValueError
        When shape or scale do not fit.
    """
    chosen = _chosen(names)
    batch = as_fields(fields)
    n, height, width = batch.shape
    scale = as_scale(scale_mm, n, batch.device)
    out = {p.name: torch.empty(n, dtype=torch.float64, device=batch.device) for p in chosen}
    step = max(1, _CHUNK_PIXELS.get(batch.device.type, 2**22) // (height * width))
    fast = _accelerator if batch.device.type == "cpu" else None
    quick = fast.covered(chosen) if fast is not None and fast.chosen_for(n) else []
    others = [p for p in chosen if p not in quick]
    with torch.no_grad():
        for start in range(0, n, step):
            part = slice(start, start + step)
            raw = batch[part].to(torch.float32)
            here = None if scale is None else scale[part]
            if fast is not None and quick:
                steps = None if here is None else here.numpy()
                got, clean = fast.measure_fast(raw.numpy(), steps, {p.name for p in quick})
                finite = torch.from_numpy(clean)
                for p in quick:
                    out[p.name][part] = torch.from_numpy(got[p.name])
            else:
                finite = torch.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
            for p in others:
                given = finite if p.missing == "zero" else torch.where(torch.isfinite(raw), raw, torch.nan)
                values = p.function(given, here)
                if values.shape != (len(raw),):
                    raise ValueError(
                        f"parameter {p.name!r} returned shape {tuple(values.shape)} for {len(raw)} patches; "
                        "its function must return one number per patch"
                    )
                out[p.name][part] = values.to(torch.float64)
    return out


def _chosen(names: Iterable[str] | str | None) -> list[Parameter]:
    wanted = list(parameters()) if names is None else [names] if isinstance(names, str) else list(names)
    return [get_parameter(name) for name in wanted]


def measure_arrays(
    fields: ArrayLike, scale_mm: ArrayLike | None = None, names: Iterable[str] | str | None = None
) -> dict[str, np.ndarray]:
    """`measure` as numpy arrays (N,) float64, without importing torch where compiled versions measure all of it.

    Parameters
    ----------
    fields, scale_mm, names
        As `measure` takes them; values of tensors come to main memory.
    """
    chosen, fast = _chosen(names), _accelerator
    batch = None if is_tensor(fields) else checked_array(fields)
    if batch is None or fast is None or len(fast.covered(chosen)) < len(chosen) or not fast.available():
        return {name: values.cpu().numpy() for name, values in measure(fields, scale_mm, names).items()}
    n, height, width = batch.shape
    scale = checked_scale(scale_mm, n)
    scale = None if scale is None else np.broadcast_to(scale, (n, 2))
    out = {p.name: np.empty(n) for p in chosen}
    step = max(1, _CHUNK_PIXELS["cpu"] // (height * width))
    for start in range(0, n, step):
        part = slice(start, start + step)
        got, _ = fast.measure_fast(batch[part], None if scale is None else scale[part], set(out))
        for name, values in out.items():
            values[part] = got[name]
    return out


def measure_on_grid(x: ArrayLike, preset: Preset, names: Iterable[str] | str | None = None) -> dict[str, Tensor]:
    """Measure patches in the units of a preset, on its grid; see `measure`.

    Parameters
    ----------
    x
        (H, W) or (N, H, W) in preset units, as generators make them and `prepare` gives them.
    preset
        Gives the field in gauss and the scale.
    names
        Which parameters; None for all but those that are measured on demand only.
    """
    return measure(preset.to_gauss(x if is_tensor(x) else np.asarray(x)), preset.scale_mm, names)


def _own() -> dict[str, Parameter]:
    """Parameters of the package, as against those of plug-ins."""
    return {name: found for name, found in _REGISTRY.items() if found.function.__module__.startswith("solquery.")}


add_registry("parameters", Registry(snapshot, restore, _own))
