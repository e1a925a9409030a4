"""The main job: files in, results out; with progress, resume, and no sample able to stop the run.

    path, folder, glob -> Sample -> Views -> Prediction -> Result -> report

Every finished sample is on disk before its result is handed out. The same command again goes on where it stopped;
other settings start a new run beside the old one.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from looktwice import __version__, detectors, modalities
from looktwice.calibration import Calibration, calibrate
from looktwice.detectors.protocol import Fitted
from looktwice.errors import BadFile, LookTwiceError, NoReferences, UsageError
from looktwice.findings import Desk, Judge, path_text
from looktwice.records import Prediction, Result, Sample, Spec, Views
from looktwice.report import SAMPLE_FORMATS, run_report
from looktwice.report import formats as known_formats
from looktwice.report.sheet import contact_sheet
from looktwice.run_folder import RunFolder, settings_hash
from looktwice.settings import Settings
from looktwice.sheets import load_references

log = logging.getLogger(__name__)

FORMATS = ("html", "jsonl", "ply", "mp4")


class StopRun(LookTwiceError):
    """The run cannot go on (the disk takes no more); what is finished is on disk."""

    kind = "stopped"


def inspect(paths: Any, model: str | None = None, spec: Spec | None = None, **options: Any) -> Iterator[Result]:
    """Inspect pictures, point clouds and videos; yield one Result each, in order.

    paths: a path, or several: files, folders (searched for files), globs. model: a name of `looktwice models`;
    without one, `memory` when the spec has references, else `selfsim`. options: those of `Inspection`.
    A bad file yields a Result with its error. Raises UsageError for what is wrong with the call itself.
    """
    return iter(Inspection(paths, model, spec, **options))


@dataclass(frozen=True)
class Item:
    """One thing to inspect, or the reason why there is none at this path."""

    path: Path
    error: BadFile | None = None


class Inspection:
    """One run: set up and checked at once, carried out by iterating."""

    def __init__(
        self,
        paths: str | Path | Iterable[str | Path],
        model: str | None = None,
        spec: Spec | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        out: str | Path | None = None,
        threshold: float = 0.5,
        calibration: Calibration | None = None,
        batch: int = 1,
        settings: Settings | None = None,
        formats: Sequence[str] = FORMATS,
        modality: str | None = None,
        command: str = "",
    ) -> None:
        """Set up a run.

        options: the detector's own (`looktwice models NAME`). out: the folder for results; None keeps them in
        memory. threshold: score in [0, 1] from which a part is anomalous, unless a calibration decides. batch:
        samples judged together; a crash loses at most these. modality: treat every path as this.
        """
        if not 0 <= threshold <= 1:
            raise UsageError(f"threshold must be in [0, 1], got {threshold}")
        if batch < 1:
            raise UsageError(f"batch must be at least 1, got {batch}")
        if modality is not None:
            modalities.MODALITIES.target(modality)
        self.settings = settings or Settings()
        self.batch, self.modality, self.command = batch, modality, command
        self.formats = known_formats(",".join(formats))
        self.spec = spec or Spec()
        references = load_references(self.spec, self.settings)
        self.spec = self.spec.model_copy(update={"references": tuple(references)})
        self.model = model or ("memory" if references else "selfsim")
        self.detector = detectors.load(self.model, **(options or {}))
        self.described = self._describe(dict(options or {}), threshold, calibration)
        _check_calibration(calibration, self.model, self.described)
        self.folder = RunFolder(Path(out), self.described) if out is not None else None
        self.messages: list[str] = list(self.folder.messages) if self.folder else []
        given = [paths] if isinstance(paths, (str, Path)) else list(paths)
        self.items = find(given, modality, Path(out) if out is not None else None)
        self.desk = Desk(
            model=self.model,
            spec=self.spec,
            judge=Judge(threshold, calibration),
            settings_hash=settings_hash(self.described),
            folder=Path(out) if out is not None else None,
            formats=tuple(name for name in self.formats if name in SAMPLE_FORMATS),
        )
        self._fitted: dict[str, Fitted] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Result]:
        """Carry the run out; yields every result, those finished by an earlier try included."""
        finished: list[Result] = []
        try:
            for result in self._results():
                finished.append(result)
                yield result
        finally:  # also when stopped: the report shows what there is
            self._report(finished)

    def fitted(self, modality: str) -> Fitted:
        """Return the detector fitted to the references of one modality; fitted once, when first needed."""
        if modality not in self._fitted:
            own = tuple(r for r in self.spec.references if isinstance(r, Sample) and r.modality == modality)
            if self.spec.references and not own and not detectors.CARDS[self.model].zero_shot:
                has = ", ".join(sorted({r.modality for r in self.spec.references if isinstance(r, Sample)}))
                raise NoReferences(
                    f"{self.model} needs references of the modality {modality}, the sheet has only: {has}. "
                    f"Add --reference FILE, or choose a zero-shot model (looktwice models)"
                )
            self._fitted[modality] = self.detector.fit(self.spec.model_copy(update={"references": own}), self.settings)
            if own and self.desk.folder is not None:
                self.desk.references[modality] = self._reference_picture(own[0])
        return self._fitted[modality]

    def _results(self) -> Iterator[Result]:
        waiting: list[_Ready] = []
        for item in self.items:
            ready = self._prepare(item)
            if waiting and not (isinstance(ready, _Ready) and ready.joins(waiting[0])):
                yield from self._judge(waiting)
                waiting = []
            if isinstance(ready, Result):
                yield ready
                continue
            waiting.append(ready)
            if len(waiting) == self.batch or ready.views is None:
                yield from self._judge(waiting)
                waiting = []
        if waiting:
            yield from self._judge(waiting)

    def _prepare(self, item: Item) -> _Ready | Result:
        """Load one item; or return the result it has already, or why it cannot have one."""
        path, sample = path_text(item.path), None
        try:
            if item.error is not None:
                raise item.error
            if self.folder is not None and self.folder.finished(path):
                stored = self.folder.done(path, modalities.sha256_of(item.path))
                if stored is not None:
                    return stored
            sample = modalities.load(item.path, self.settings, self.modality)
            # a video is streamed when it is judged; everything else is one picture set
            views = None if sample.modality == "video" else next(modalities.views(sample, self.settings))
            self.fitted(sample.modality)
        except Exception as error:
            return self._failed(item, sample, error)
        return _Ready(item, sample, views)

    def _judge(self, waiting: Sequence[_Ready]) -> Iterator[Result]:
        fitted = self._fitted[waiting[0].sample.modality]
        if waiting[0].views is None:
            yield self._video(waiting[0], fitted)
            return
        try:
            predictions: Sequence[Prediction | Exception] = fitted.predict([w.views for w in waiting if w.views])
        except Exception:  # one sample must not take its batch with it
            predictions = [_alone(fitted, ready.views) for ready in waiting if ready.views]
        for ready, prediction in zip(waiting, predictions, strict=True):
            yield self._found(ready, prediction)

    def _found(self, ready: _Ready, prediction: Prediction | Exception) -> Result:
        if isinstance(prediction, Exception):
            return self._failed(ready.item, ready.sample, prediction)
        assert ready.views is not None
        write = self.desk.image if ready.sample.modality == "image" else self.desk.cloud
        try:
            return self._keep(write(ready.sample, ready.views, prediction, path_text(ready.item.path)))
        except OSError as error:
            raise self._stopped(error) from error
        except StopRun:
            raise
        except Exception as error:
            return self._failed(ready.item, ready.sample, error)

    def _video(self, ready: _Ready, fitted: Fitted) -> Result:
        def stream() -> Iterator[tuple[Views, Prediction]]:
            try:
                for views in modalities.views(ready.sample, self.settings):
                    yield views, fitted.predict([views])[0]
            except OSError as error:  # of reading, not of writing: it concerns this file alone
                raise BadFile("unreadable", ready.item.path, f"reading stopped: {error.strerror or error}") from error

        try:
            return self._keep(self.desk.video(ready.sample, stream(), path_text(ready.item.path)))
        except OSError as error:
            raise self._stopped(error) from error
        except StopRun:
            raise
        except Exception as error:
            return self._failed(ready.item, ready.sample, error)

    def _failed(self, item: Item, sample: Sample | None, error: Exception) -> Result:
        expected = isinstance(error, LookTwiceError)
        if not expected:
            log.warning("%s: %s", item.path, error, exc_info=True)
        kind = error.kind if isinstance(error, LookTwiceError) else "internal"
        what = error if isinstance(error, LookTwiceError) else LookTwiceError(f"{type(error).__name__}: {error}")
        name, modality = modalities.sample_id(item.path), sample.modality if sample else None
        sha256 = sample.sha256 if sample else ""
        return self._keep(self.desk.fail(name, path_text(item.path), modality, what, kind, sha256))

    def _keep(self, result: Result) -> Result:
        if self.folder is not None:
            try:
                self.folder.keep(result)
            except OSError as error:
                raise self._stopped(error) from error
        return result

    def _stopped(self, error: OSError) -> StopRun:
        folder = self.folder.folder if self.folder else Path(".")
        return StopRun(
            f"cannot write to {folder}: {error.strerror or error}. What is finished is kept in "
            f"{folder / 'results.jsonl'}: free some space and run the same command again"
        )

    def _report(self, finished: Sequence[Result]) -> None:
        if self.folder is None or not finished:
            return
        made = {
            "Version": f"looktwice {__version__}",
            "Model": self.model,
            "Verdict by": self.described["verdict"]["words"],
            "Settings hash": self.folder.hash,
        }
        if self.command:
            made["Command"] = self.command
        for name in self.formats:
            if name not in SAMPLE_FORMATS:
                try:
                    run_report(name)(self.folder.folder, finished, self.spec, made)
                except OSError as error:
                    raise self._stopped(error) from error

    def _describe(self, options: dict[str, Any], threshold: float, calibration: Calibration | None) -> dict[str, Any]:
        """Everything that can change a result, as JSON."""
        spec = self.spec.model_dump(mode="json", include={"task", "object", "context", "rules", "defects"})
        spec["references"] = [r.sha256 for r in self.spec.references if isinstance(r, Sample)]
        verdict: dict[str, Any] = {"threshold": threshold, "words": f"score of at least {threshold:g}"}
        if calibration is not None:
            verdict = {
                "calibration": calibration.model_dump(mode="json"),
                "words": " ".join(calibration.words(name) for name in calibration.scores),
            }
        return {
            "version": __version__,
            "model": self.model,
            "options": options,
            "sheet": spec,
            "settings": self.settings.model_dump(mode="json"),
            "modality": self.modality,
            "verdict": verdict,
            "files": [name for name in self.formats if name in SAMPLE_FORMATS],
        }

    def _reference_picture(self, reference: Sample) -> str:
        """Draw one reference for the report, once per run."""
        views = next(modalities.views(reference, self.settings))
        several = len(views.images) > 1
        picture = contact_sheet(views.images[:6], views.names[:6])[0] if several else views.images[0]
        return self.desk._jpeg(f"references/{reference.id}.jpg", np.asarray(picture))


@dataclass(frozen=True)
class _Ready:
    """A loaded sample that waits to be judged; a video has no views yet."""

    item: Item
    sample: Sample
    views: Views | None

    def joins(self, other: _Ready) -> bool:
        return self.views is not None and self.sample.modality == other.sample.modality


def _alone(fitted: Fitted, views: Views) -> Prediction | Exception:
    try:
        return fitted.predict([views])[0]
    except Exception as error:
        return error


def scores_hash(described: Mapping[str, Any]) -> str:
    """Hash of what can change a score: a calibration holds for another run of the same only."""
    return settings_hash({key: described[key] for key in ("model", "options", "sheet", "settings")})


def _check_calibration(calibration: Calibration | None, model: str, described: Mapping[str, Any]) -> None:
    if calibration is None:
        return
    if calibration.model != model:
        raise UsageError(f"the calibration was made with the model {calibration.model}, this run uses {model}")
    if calibration.settings_hash != scores_hash(described):
        raise UsageError(
            "the calibration was made with another sheet, other references, options or settings: "
            "run looktwice calibrate again with those of this run"
        )


def find(paths: Sequence[str | Path], modality: str | None = None, out: Path | None = None) -> list[Item]:
    """List what is to be inspected: files as they are, folders searched in sorted order, globs expanded.

    Each file once. In folders only what a modality recognises counts; hidden files and the results folder `out`
    are passed over. A path that leads to nothing is an Item with its error.
    """
    found: dict[Path, Item] = {}
    for given in paths:
        for item in _find(Path(given), str(given), modality, out):
            found.setdefault(item.path, item)
    return list(found.values())


def _find(path: Path, text: str, modality: str | None, out: Path | None) -> Iterator[Item]:
    if path.is_dir() and modality != "video" and not _is_one(path):
        inside = list(_walk(path, out.resolve() if out else None))
        if not inside:
            yield Item(path, BadFile("empty", path, "the folder holds no picture, point cloud or video"))
        yield from (Item(one) for one in inside)
    elif path.exists():
        yield Item(path)
    elif glob.has_magic(text):
        matches = sorted(Path(one) for one in glob.glob(text, recursive=True))
        if not matches:
            yield Item(path, BadFile("missing_file", path, "no file matches this pattern"))
        for match in matches:
            yield from _find(match, str(match), modality, out)
    else:
        yield Item(path, BadFile("missing_file", path, "no such file"))


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or (out is not None and entry.resolve() == out):
            continue
        if entry.is_dir() and not _is_one(entry):
            if not entry.is_symlink():  # a link may lead back up
                yield from _walk(entry, out)
        elif _is_one(entry):
            yield entry


def _is_one(path: Path) -> bool:
    """Whether a modality takes this file, or this folder as a whole (a folder of frames)."""
    return any(modalities.modality(name).recognises(path) for name in modalities.MODALITIES)


def calibrate_on(
    normal: str | Path | Iterable[str | Path],
    model: str | None = None,
    spec: Spec | None = None,
    *,
    alpha: float = 0.01,
    watch: Callable[[Iterable[Result], int], Iterable[Result]] | None = None,
    **options: Any,
) -> Calibration:
    """Judge normal parts that are not references, and return the calibration they give.

    options: those of `Inspection`. watch: wraps the results as they come, to show progress. Raises UsageError
    when there are too few parts for `alpha`, when one is a reference, or when one cannot be read.
    """
    run = Inspection(normal, model, spec, **options)
    results = list(watch(run, len(run)) if watch else run)
    failed = [result for result in results if result.error is not None]
    if failed:
        first = failed[0].error
        raise UsageError(
            f"{len(failed)} of {len(results)} normal parts cannot be judged, the first: {first and first.message}. "
            f"Mend or remove them: a part left out in silence would bias the guarantee"
        )
    scores: dict[str, list[float]] = {}
    for result in results:
        scores.setdefault(str(result.modality), []).append(float(result.score or 0.0))
    return calibrate(
        scores,
        alpha,
        model=run.model,
        settings_hash=scores_hash(run.described),
        sha256s=tuple(result.sha256 for result in results),
        reference_sha256s=tuple(r.sha256 for r in run.spec.references if isinstance(r, Sample)),
    )
