"""A calibration from load-test results to a profile: what `drydock calibrate` does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.errors import UsageError
from drydock.simulator.calibration import Comparison, compare, cross_validate, fit, starting_slopes
from drydock.simulator.measurements import Point, read_points
from drydock.simulator.profile import Profile, as_data, setup, starting_profile
from drydock.simulator.timing import Coefficients

if TYPE_CHECKING:
    from drydock.progress import Progress
    from drydock.simulator.requests import Limits

Scope = Literal["start", "fit", "unseen"]
"""Whose errors are reported: of the profile to start from, of the fit itself, or on points that a fit has not seen."""


@dataclass(frozen=True, kw_only=True)
class CalibrationRequest:
    """What was measured, and how to fit.

    Attributes:
        results: CSV files, or folders that `drydock loadtest -o` wrote.
        gpu, model: names in the catalogue of what was measured.
        engine: version of vLLM.
        engine_args: of `vllm serve`, for results that have none.
        arrival: of open loops in results that do not say it.
        max_in_flight: requests that the client kept open at most.
        synchronous: whether the engine scheduled without overlap (vLLM before 0.14).
        origin: profile to start from; `roofline` starts from data sheets, None from the nearest measured one.
        name: of the profile.
        folds: parts of the cross-validation; below 2 it is left out.
        evaluations: maximum of solver rounds.
        check: report the errors of the profile to start from, and fit nothing.
    """

    results: Sequence[Path]
    gpu: str
    model: str
    engine: str
    engine_args: str = ""
    arrival: str = "poisson"
    max_in_flight: int | None = None
    synchronous: bool = False
    origin: str | None = None
    name: str = "calibrated"
    folds: int = 5
    evaluations: int = 12
    check: bool = False


@dataclass(frozen=True)
class Fold:
    """One part of a cross-validation: the fit to the other parts, and the points that it has not seen."""

    coefficients: Coefficients
    unseen: Sequence[Point]


@dataclass(frozen=True)
class Calibration:
    """A fitted profile and what is known of its errors.

    Attributes:
        start: profile that the fit began with.
        profile: the fitted one; with the coefficients of `start` where nothing was fitted.
        scope: which errors `errors` are.
        errors: of each measure of each point.
        folds: of the cross-validation; empty without one.
    """

    start: Profile
    profile: Profile
    scope: Scope
    errors: Sequence[Comparison]
    folds: Sequence[Fold] = ()

    def folds_data(self) -> list[dict[str, object]]:
        """The folds for YAML: labels of the points that each has not seen, and its coefficients."""
        return [
            {
                "unseen": [point.label for point in fold.unseen],
                "coefficients": as_data(replace(self.start, coefficients=fold.coefficients))["coefficients"],
            }
            for fold in self.folds
        ]


def calibrate(request: CalibrationRequest, progress: "Progress") -> Calibration:
    """Fit a profile to measurements, and find its errors on points that it has not seen.

    Raises:
        UsageError: a name is not in the catalogue, or the results have no measure.
    """
    device, model = find_gpu(request.gpu), find_model(request.model)
    start = starting_profile(
        device, model, parse_line(f"--model {request.model}"), synchronous=request.synchronous, name=request.origin
    )
    points = _points(request, start)
    source = f"{', '.join(path.name for path in request.results)}, fitted by drydock calibrate"
    profile = Profile(request.name, device, model, request.engine, start.coefficients, source)
    if request.check:
        return Calibration(start, profile, "start", compare(start.coefficients, points))
    with progress.step(f"effect of each coefficient on {len(points)} points"):
        slopes = starting_slopes(points, start.coefficients)
    with progress.step(f"fit to {len(points)} points"):
        profile = replace(
            profile, coefficients=fit(points, start.coefficients, evaluations=request.evaluations, slopes=slopes)
        )
    parts = min(request.folds, len(points))
    if parts < 2:  # noqa: PLR2004
        return Calibration(start, profile, "fit", compare(profile.coefficients, points))
    with progress.step(f"cross-validation in {parts} parts"):
        validated = cross_validate(
            points, start.coefficients, folds=request.folds, evaluations=request.evaluations, slopes=slopes
        )
        folds = tuple(Fold(*part) for part in validated)
        errors = [error for fold in folds for error in compare(fold.coefficients, fold.unseen)]
    return Calibration(start, profile, "unseen", errors, folds)


def _points(request: CalibrationRequest, start: Profile) -> list[Point]:
    def limits(arguments: str) -> "Limits":
        line = f"--model {request.model} {arguments or request.engine_args}"
        return setup(start.gpu, start.model, parse_line(line), profile=start).limits

    points = [
        point
        for path in request.results
        for point in read_points(path, limits, arrival=request.arrival, max_in_flight=request.max_in_flight)
    ]
    if not any(point.measured for point in points):
        raise UsageError(
            f"{', '.join(map(str, request.results))}: no line has a measure, such as tpot_ms, ttft_p50_ms or "
            "completed_rps",
            remedy="Give results of which at least one load was answered.",
        )
    return points
