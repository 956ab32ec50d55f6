"""Imagined frames beside what came: against copying the present, and against everybody keeping the velocity they have.

All are compared after tokenisation, since that is what a model can write; the constant-velocity view is shown as it was
drawn too, and what came itself, tokenised: no imagination of these codes can be better. The future is seen from where
the short-term predictor expects the ego. Moments are those of simulated test drives, seen from several vehicles.

Perceptual distances and FID are left out: they need a network that was trained on such pictures, or they mean nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.agents.drive.formats import FRAME, drive_form
from loopwright.agents.drive.prompts import Asked, frame_messages
from loopwright.errors import OperatorError
from loopwright.finetune.data.drive.build import asked_of
from loopwright.finetune.data.drive.moments import HORIZONS_S, Future, drives, futures, tracks
from loopwright.finetune.measure.rows import CHANGE, Bar, Row, averaged
from loopwright.finetune.networks.drive.fidelity import fidelity
from loopwright.models.asking import ask
from loopwright.models.networks.drive import ImageTokenizer
from loopwright.tools.drive.likeness import psnr_db, ssim
from loopwright.tools.drive.scenarios import SCENARIOS, ScenarioName, seeds_of
from loopwright.tools.drive.views import Picture, top_view

WHAT = "imagination"
MODEL, COPY, VELOCITY, DRAWN, TRUTH = "imagined", "copy", "constant velocity", "constant velocity, drawn", "what came"
FIGURES = ("car_iou", "found_2m", "right_2m", "psnr_db", "ssim")
"""Overlap of cells with a road user; road users drawn within 2 m; drawn ones within 2 m of one; and of the colours."""
CAMERAS, EVERY = 2, 12
"""Vehicles that a drive is seen from, and of a vehicle's moments each so many-th: neighbours are much alike."""
LONG_S = 1.5
"""From this horizon on, a model has to be better than constant velocity."""
AT_ONCE = 16
MOST_DB = 100.0
"""What a picture is given that is the same as what came."""


class Moment(NamedTuple):
    """One future, the drive that it belongs to, and what a model is told of it."""

    drive: str
    future: Future
    asked: Asked


def moments(n: int, tokenizer: ImageTokenizer, horizons_s: Sequence[float] = HORIZONS_S) -> dict[float, list[Moment]]:
    """`n` of test drives for each horizon, the scenarios in turn."""
    return {horizon_s: _some(n, tokenizer, horizon_s) for horizon_s in horizons_s}


def evaluate(
    found: Mapping[float, Sequence[Moment]],
    tokenizer: ImageTokenizer,
    model: Any = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Rows of every way to know the future, for each horizon; and of the model's gain on constant velocity.

    Args:
        found: the moments by horizon.
        tokenizer: what the model's tokens mean.
        model: a chat model that answers `frame_messages`; None: the baselines alone.
        on_progress: called with a line for each horizon.
    """
    rows = []
    for horizon_s, of_horizon in found.items():
        ways = _baselines(of_horizon, tokenizer)
        unread = 0
        if model is not None:
            codes, unread = imagined(model, [moment.asked for moment in of_horizon], tokenizer)
            ways = {MODEL: tokenizer.decode(codes)} | ways
        truth = np.stack([top_view(moment.future.then) for moment in of_horizon])
        clusters, variant = [moment.drive for moment in of_horizon], f"{horizon_s:g} s"
        measured = {name: _measured(pictures, truth, of_horizon) for name, pictures in ways.items()}
        for name, values in measured.items():
            row = averaged(WHAT, "drive", name, variant, values, clusters)
            counted = {"unread": float(unread)} if name == MODEL else {}
            rows.append(row.model_copy(update={"figures": row.figures | counted}))
        for other in (VELOCITY, COPY) if model is not None else ():
            gains: dict[str, ArrayLike] = {
                key: np.subtract(v, measured[other][key]) for key, v in measured[MODEL].items()
            }
            rows.append(averaged(WHAT, "drive", CHANGE, f"{variant}, {MODEL} - {other}", gains, clusters))
        on_progress(f"{variant}: {len(of_horizon)} moments of {len(set(clusters))} drives")
    return rows


def imagined(model: Any, asked: Sequence[Asked], tokenizer: ImageTokenizer) -> tuple[NDArray[np.int64], int]:
    """(N, T) codes that a model answers; where its answer cannot be read, the first code, and how often that was."""
    form = drive_form(FRAME, tokenizer.n_codes)

    def one(told: Asked) -> Sequence[int]:
        try:
            return ask(model, frame_messages((), told), form).value.visual or ()
        except OperatorError as error:
            if type(error) is not OperatorError:  # a failure of its own, such as memory
                raise
            return ()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        said = list(threads.map(one, asked))
    codes = [list(each) if each else [0] * tokenizer.n_tokens for each in said]
    return np.array(codes, dtype=np.int64), sum(not each for each in said)


def bars_of(rows: Sequence[Row]) -> list[Bar]:
    """Of the model: its road users overlap those that came better than a copy's do, and than at constant velocity."""
    bars = []
    for row in rows:
        if row.model != CHANGE:
            continue
        horizon, _, pair = row.variant.partition(", ")
        of_long = float(horizon.removesuffix(" s")) >= LONG_S
        if of_long == pair.endswith(VELOCITY):
            low = row.intervals.get("car_iou", (float("nan"),))[0]
            bars.append(Bar(f"car IoU at {horizon}, {pair}, lower bound", low, 0.0))
    return bars


def _baselines(of_horizon: Sequence[Moment], tokenizer: ImageTokenizer) -> dict[str, NDArray[np.uint8]]:
    def views(which: Callable[[Future], Any]) -> NDArray[np.uint8]:
        return np.stack([top_view(which(moment.future), tokenizer.size_px) for moment in of_horizon])

    def again(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return tokenizer.decode(tokenizer.encode(pictures))

    velocity = views(lambda future: future.moved)
    return {
        COPY: again(views(lambda future: future.now)),
        VELOCITY: again(velocity),
        DRAWN: velocity,
        TRUTH: again(views(lambda future: future.then)),
    }


def _measured(pictures: Iterable[Picture], truth: Iterable[Picture], of: Sequence[Moment]) -> dict[str, ArrayLike]:
    """Each figure of each picture; NaN where there is nothing that it could be a share of."""
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for picture, true, moment in zip(pictures, truth, of, strict=True):
        counts = fidelity(picture, true, moment.future.then)
        found["car_iou"].append(_share(counts.both, counts.either))
        found["found_2m"].append(_share(counts.found, counts.there))
        found["right_2m"].append(_share(counts.right, counts.drawn))
        found["psnr_db"].append(min(MOST_DB, psnr_db(picture, true)))
        found["ssim"].append(ssim(picture, true))
    return dict(found)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _some(n: int, tokenizer: ImageTokenizer, horizon_s: float) -> list[Moment]:
    kept: list[Moment] = []
    for scenario, seed in drives(seeds_of("test", n)):
        if len(kept) >= n:
            break
        kept += _of_drive(scenario, seed, tokenizer, horizon_s)
    return kept[:n]


def _of_drive(scenario: ScenarioName, seed: int, tokenizer: ImageTokenizer, horizon_s: float) -> Iterator[Moment]:
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    for track in tracks(scenario, seed, CAMERAS):
        for k, future in enumerate(futures(track, (horizon_s,), rng, planned=0.0)):
            if k % EVERY == 0:
                yield Moment(f"{scenario}-{seed}", future, asked_of(future, "top", tokenizer)[0])
