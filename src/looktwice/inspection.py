"""The main job: files in, results out; with progress, resume, and no sample able to stop the run.

    path, folder, glob -> Sample -> Views -> Prediction -> Result -> report

Every finished sample is on disk before its result is handed out. The same command again goes on where it stopped;
other settings start a new run beside the old one.
"""

from __future__ import annotations

import glob
import logging
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from looktwice import __version__, detectors, modalities
from looktwice.calibration import Calibration, calibrate, needed
from looktwice.detectors.protocol import Attempting, Detector, Fitted, Reasoner, Seen
from looktwice.errors import BadFile, LookTwiceError, NoReferences, StopRun, UsageError
from looktwice.findings import FINDERS, Answers, BadAnswer, Desk, Judge, check_answer
from looktwice.records import Failure, Prediction, Result, Sample, Spec, Views
from looktwice.report import SAMPLE_FORMATS
from looktwice.report import formats as known_formats
from looktwice.report.sheet import contact_sheet
from looktwice.run_folder import RunFolder, own_names, settings_hash, write_reports
from looktwice.settings import Settings
from looktwice.sheets import load_references

log = logging.getLogger(__name__)

FORMATS = ("html", "jsonl", "ply", "mp4")
THRESHOLD = 0.5
VIDEO_FRAMES = 12  # of a video that is asked about
TALKS = "choose a model that does (-m openai:MODEL, hf:REPO), or add --explain-with openai:MODEL"
Clock = time.perf_counter


def inspect(
    paths: str | Path | Iterable[str | Path],
    model: str | Detector | None = None,
    spec: Spec | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Inspect pictures, point clouds and videos; yield one Result each, in order.

    paths: a path, or several: files, folders (searched for files), globs. model: a name of `looktwice models`, or a
    detector of your own; without one, `memory` when the spec has references, else `selfsim`. options: those of
    `Inspection`. A bad file yields a Result with its error. Raises UsageError for what is wrong with the call itself,
    BadFile for a reference that cannot be read, StopRun when the results cannot be written any more.
    """
    return iter(Inspection(paths, model, spec, **options))


def look(
    path: str | Path,
    model: str | Detector | None = None,
    spec: Spec | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    explain_with: str | None = None,
    talking: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    modality: str | None = None,
) -> Seen:
    """Show one part to a model that talks; what comes back answers questions about it with `ask`.

    A video is shown as VIDEO_FRAMES frames spread over it, unless the settings say which. Parameters as those of
    `Inspection`. Raises UsageError for a model that does not talk, BadFile for a part or reference that cannot be read.
    """
    settings = settings or Settings()
    video = settings.video
    if (video.fps, video.count, video.every) == (None, None, None):
        video = video.model_copy(update={"count": VIDEO_FRAMES, "chunk": VIDEO_FRAMES})
        settings = settings.model_copy(update={"video": video})
    spec = spec or Spec()
    references = tuple(load_references(spec, settings))
    name, detector = _detector(model, dict(options or {}), bool(references), explain_with, dict(talking or {}))
    sample = modalities.load(path, settings, modality)
    own = tuple(one for one in references if isinstance(one, Sample) and one.modality == sample.modality)
    fitted = detector.fit(spec.model_copy(update={"references": own}), settings)
    if not isinstance(fitted, Reasoner):
        raise UsageError(f"{name} does not talk: {TALKS}")
    return fitted.look(next(modalities.views(sample, settings)))


class Inspection:
    """One run: set up and checked at once, carried out by iterating.

    `messages` tells what opening the results folder had to decide, `problems`, after the run, which report could not
    be written; both are sentences for a person.
    """

    def __init__(
        self,
        paths: str | Path | Iterable[str | Path],
        model: str | Detector | None = None,
        spec: Spec | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        explain_with: str | None = None,
        talking: Mapping[str, Any] | None = None,
        out: str | Path | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        batch: int = 1,
        settings: Settings | None = None,
        formats: str | Sequence[str] = FORMATS,
        modality: str | None = None,
        command: str = "",
    ) -> None:
        """Set up a run.

        options: the detector's own (`looktwice models NAME`). explain_with: a talker ("openai:gpt-4o") that explains
        what the detector finds. talking: options of that talker, or of a model that talks itself (`looktwice models
        customizable-vlm`). out: the folder for results; None keeps them in
        memory. threshold: score in [0, 1] from which a part is anomalous, 0.5 where neither it nor a calibration is
        given. batch: samples judged together; a crash loses at most these. formats: the reports to write. modality:
        treat every path as this. command: how the run was started, for the report.
        """
        _check_numbers(threshold, calibration, batch)
        if modality is not None:
            modalities.MODALITIES.target(modality)
        self.settings = settings or Settings()
        self.batch, self.modality = batch, modality
        self.formats = known_formats(formats if isinstance(formats, str) else ",".join(formats))
        spec = spec or Spec()
        names = [str(r.path) if isinstance(r, Sample) else r for r in spec.references]
        references = tuple(load_references(spec, self.settings))
        self.spec = spec.model_copy(update={"references": references})
        self.model, self.detector = _detector(
            model, dict(options or {}), bool(references), explain_with, dict(talking or {})
        )
        self.described = self._describe(dict(options or {}), threshold, calibration)
        _check_calibration(calibration, self.model, self.described)
        self.items = find([paths] if isinstance(paths, (str, Path)) else list(paths), modality)
        self.problems: list[str] = []
        self._fitted: dict[str, Fitted | Exception] = {}
        self.folder = None if out is None else RunFolder(Path(out), self.described, self._shown(command, names))
        self.messages: list[str] = list(self.folder.messages) if self.folder else []
        self.desk = Desk(
            model=self.model,
            spec=self.spec,
            judge=Judge(THRESHOLD if threshold is None else threshold, calibration),
            settings_hash=settings_hash(self.described),
            folder=self.folder.folder if self.folder else None,
            formats=tuple(name for name in self.formats if name in SAMPLE_FORMATS),
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Generator[Result, None, None]:
        """Carry the run out; yields every result in order, those finished by an earlier try included."""
        if self.folder is not None:
            self.folder.lock()
        try:
            yield from self._results()
        finally:  # also when stopped: the report shows what there is
            self._finish()

    # ------------------------------------------------------------ one sample after the other

    def _results(self) -> Iterator[Result]:
        waiting: list[_Ready] = []
        for item in self.items:
            one = self._prepare(item)
            if waiting and not (isinstance(one, _Ready) and one.joins(waiting[0])):
                yield from self._judge(waiting)
                waiting = []
            if isinstance(one, Result):
                yield one
            elif isinstance(one, _Failed):
                yield self._keep(self._failure(one))
            else:
                waiting.append(one)
                if len(waiting) >= self.batch or one.views is None:
                    yield from self._judge(waiting)
                    waiting = []
        if waiting:
            yield from self._judge(waiting)

    def _prepare(self, item: Item) -> _Ready | _Failed | Result:
        """Load one item; or return the result it has already, or why it cannot have one."""
        start, sample = Clock(), None
        try:
            if item.error is not None:
                raise item.error
            _check_file(item.path)
            stored = self._stored(item)
            if stored is not None:
                return stored
            sample = modalities.load(item.path, self.settings, self.modality)
            # a video is streamed when it is judged; everything else is one set of pictures
            views = None if sample.modality == "video" else next(modalities.views(sample, self.settings))
            seconds = Clock() - start  # without fitting, which is done once for all samples
            self.fitted(sample.modality)
        except StopRun:
            raise
        except Exception as error:
            return _Failed(item, sample, error, Clock() - start)
        return _Ready(item, sample, views, seconds)

    def _stored(self, item: Item) -> Result | None:
        path = path_text(item.path)
        if self.folder is None or not self.folder.knows(path):
            return None
        return self.folder.done(path, modalities.sha256_of(item.path))

    @property
    def spent(self) -> str:
        """What answers of a chat model have cost so far, in words; empty where none was asked."""
        return str(getattr(self.detector, "spent", ""))

    def fitted(self, modality: str) -> Fitted:
        """Return the detector fitted to the references of one modality; fitted once, when first needed.

        Raises NoReferences where the sheet has references of other modalities only and the detector needs some.
        """
        if modality not in self._fitted:
            try:
                self._fitted[modality] = self._fit(modality)
            except StopRun:
                raise
            except Exception as error:  # fitting can take long: it fails once, not once per sample
                self._fitted[modality] = error
        found = self._fitted[modality]
        if isinstance(found, Exception):
            raise found.with_traceback(None)
        return found

    def _fit(self, modality: str) -> Fitted:
        own = tuple(r for r in self.spec.references if isinstance(r, Sample) and r.modality == modality)
        if self.spec.references and not own and not _zero_shot(self.model):
            has = ", ".join(sorted({r.modality for r in self.spec.references if isinstance(r, Sample)}))
            raise NoReferences(
                f"{self.model} needs references of the modality {modality}, there are only: {has}. "
                f"Add --reference FILE, or choose a zero-shot model (looktwice models)"
            )
        try:
            fitted = self.detector.fit(self.spec.model_copy(update={"references": own}), self.settings)
        except (LookTwiceError, MemoryError):
            raise
        except Exception as error:
            raise BadAnswer(f"{self.model} could not learn from the sheet: {_one_line(error)}") from error
        if own and self.folder is not None:
            self._show_reference(own[0])
        return fitted

    def _show_reference(self, reference: Sample) -> None:
        """Draw one reference for the report, once per run."""
        views = next(modalities.views(reference, self.settings))
        several = len(views.images) > 1
        picture = contact_sheet(views.images[:6], views.names[:6])[0] if several else views.images[0]
        try:
            name = self.desk.jpeg(f"references/{reference.id}.jpg", np.asarray(picture))
        except OSError as error:
            raise self._stopped(error) from error
        self.desk.references[reference.modality] = name

    # ------------------------------------------------------------ from views to a result

    def _judge(self, waiting: Sequence[_Ready]) -> Iterator[Result]:
        fitted = self.fitted(waiting[0].sample.modality)
        if waiting[0].views is None:
            yield self._written(waiting[0], self._frames(waiting[0], fitted))
            return
        start = Clock()
        answers = self._answers(fitted, [ready.views for ready in waiting if ready.views is not None])
        each = (Clock() - start) / len(waiting)
        for ready, answer in zip(waiting, answers, strict=True):
            ready.seconds += each
            if isinstance(answer, Prediction):
                assert ready.views is not None
                yield self._written(ready, [(ready.views, answer)])
            else:
                yield self._keep(self._failure(_Failed(ready.item, ready.sample, answer, ready.seconds)))

    def _answers(self, fitted: Fitted, batch: Sequence[Views]) -> list[Prediction | Exception]:
        """Ask about a batch; where that fails, one by one: a sample must not take its batch with it."""
        try:
            return list(self._ask(fitted, batch))
        except StopRun:
            raise
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [self._answers(fitted, [views])[0] for views in batch]

    def _ask(self, fitted: Fitted, batch: Sequence[Views]) -> list[Prediction | Exception]:
        """Raises BadAnswer when the detector fails or answers something else than it was asked."""
        try:
            answers = list(fitted.attempt(batch) if isinstance(fitted, Attempting) else fitted.predict(batch))
        except (LookTwiceError, MemoryError):
            raise
        except Exception as error:
            raise BadAnswer(f"{self.model} failed: {_one_line(error)}") from error
        if len(answers) != len(batch):
            raise BadAnswer(f"{self.model} gave {len(answers)} predictions for {len(batch)} samples")
        return [
            answer if isinstance(answer, LookTwiceError) else check_answer(self.model, views, answer)
            for views, answer in zip(batch, answers, strict=True)
        ]

    def _frames(self, ready: _Ready, fitted: Fitted) -> Answers:
        """Judge a video chunk by chunk while it is read."""
        chunks = modalities.views(ready.sample, self.settings)
        while True:
            try:
                views = next(chunks, None)
            except OSError as error:  # of reading, not of writing: it concerns this file alone
                raise BadFile("unreadable", ready.item.path, f"reading stopped: {error.strerror or error}") from error
            if views is None:
                return
            (answer,) = self._ask(fitted, [views])
            if isinstance(answer, Exception):
                raise answer
            yield views, answer

    def _written(self, ready: _Ready, answers: Answers) -> Result:
        """Make a Result of the answers, with its files, and keep it. Only a full disk stops the run."""
        start, sample = Clock(), ready.sample
        try:
            found: Result = FINDERS.load(sample.modality)(self.desk, sample, answers, path_text(ready.item.path))
            return self._keep(found.model_copy(update={"seconds": ready.seconds + Clock() - start}))
        except StopRun:
            raise
        except Exception as error:
            # without a number it is a complaint of an encoder about this sample, not of the disk
            if isinstance(error, OSError) and error.errno is not None:
                raise self._stopped(error) from error
            failed = _Failed(ready.item, sample, error, ready.seconds + Clock() - start)
        return self._keep(self._failure(failed))

    def _failure(self, failed: _Failed) -> Result:
        sample = failed.sample
        kind, message = _explained(failed.error, failed.item.path)
        if kind == "internal":
            log.info("%s", failed.item.path, exc_info=failed.error)
        return Result(
            id=sample.id if sample else modalities.sample_id(Path(path_text(failed.item.path))),
            path=path_text(failed.item.path),
            modality=sample.modality if sample else None,
            model=self.model,
            error=Failure(kind=kind, message=message),
            seconds=failed.seconds,
            sha256=sample.sha256 if sample else "",
            settings_hash=self.desk.settings_hash,
            version=__version__,
        )

    # ------------------------------------------------------------ on disk

    def _keep(self, result: Result) -> Result:
        if self.folder is not None:
            try:
                self.folder.keep(result)
            except (OSError, BadFile) as error:
                raise self._stopped(error) from error
        return result

    def _stopped(self, error: OSError | BadFile) -> StopRun:
        assert self.folder is not None
        why = error.why if isinstance(error, BadFile) else error.strerror or str(error)
        return StopRun(
            f"cannot write to {self.folder.folder}: {why}. What is finished is kept in {self.folder.results}: "
            f"free some space and run the same command again"
        )

    def _finish(self) -> None:
        """Tidy up and write the reports; what fails here is told, not raised: all results are out and on disk."""
        if self.folder is None:
            return
        self.problems = []
        try:
            if self.folder.results.exists():
                self.folder.tidy()
                self.problems = write_reports(self.folder.folder, self.formats)[1]
        except (OSError, LookTwiceError) as error:
            self.problems.append(f"no report could be written: {error}. All results are in {self.folder.results}")
        finally:
            self.folder.unlock()
        for problem in self.problems:
            log.warning("%s", problem)

    def _shown(self, command: str, references: Sequence[str]) -> dict[str, Any]:
        made = {
            "Version": f"looktwice {__version__}",
            "Model": self.model,
            "Verdict by": self.described["verdict"]["words"],
            "Settings hash": settings_hash(self.described),
        }
        return {"made": made | ({"Command": command} if command else {}), "references": list(references)}

    def _describe(
        self, options: dict[str, Any], threshold: float | None, calibration: Calibration | None
    ) -> dict[str, Any]:
        """Everything that can change a result, as JSON."""
        sheet = self.spec.model_dump(mode="json", include={"task", "object", "context", "rules", "defects"})
        config = getattr(self.detector, "config", None)
        if calibration is None:
            border = THRESHOLD if threshold is None else threshold
            verdict: dict[str, Any] = {"threshold": border, "words": f"score of at least {border:g}"}
        else:
            words = "; ".join(calibration.words(name) for name in calibration.scores)
            verdict = {"calibration": settings_hash(calibration.model_dump(mode="json")), "words": words}
        return {
            "version": __version__,
            "model": self.model,
            "options": config.model_dump(mode="json") if isinstance(config, BaseModel) else options,
            "sheet": sheet,
            "references": [r.sha256 for r in self.spec.references if isinstance(r, Sample)],
            "settings": self.settings.model_dump(mode="json"),
            "modality": self.modality,
            "verdict": verdict,
            "files": [name for name in SAMPLE_FORMATS if name in self.formats and name != "jsonl"],
        }


@dataclass
class _Ready:
    """A loaded sample that waits to be judged; a video has no views yet."""

    item: Item
    sample: Sample
    views: Views | None
    seconds: float  # spent on it so far

    def joins(self, other: _Ready) -> bool:
        return self.views is not None and self.sample.modality == other.sample.modality


@dataclass
class _Failed:
    """An item that cannot have a verdict, and why."""

    item: Item
    sample: Sample | None
    error: Exception
    seconds: float


def path_text(path: Path) -> str:
    """A path as text for JSON; bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def _explained(error: Exception, path: Path) -> tuple[str, str]:
    """(kind, message) of whatever went wrong with a sample; its own path need not stand in the message."""
    if isinstance(error, BadFile):
        return error.kind, error.why if error.path == str(path) else str(error)
    if isinstance(error, LookTwiceError):
        return error.kind, str(error)
    if isinstance(error, MemoryError):
        return "too_large", "this machine has not enough memory for it: make it smaller, or judge fewer at once"
    if isinstance(error, OSError):
        return "unreadable", f"cannot be read: {error.strerror or error}"
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(place[0].filename).name}, line {place[0].lineno})" if place else ""
    return "internal", f"{_one_line(error)}{where}"


def _one_line(error: Exception) -> str:
    """An error of anybody's code: its name, and the first thing it says."""
    if isinstance(error, ValidationError):
        return str(error.errors(include_url=False)[0]["msg"])
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no words'}"


# ---------------------------------------------------------------- what a run is made with


def _detector(
    model: str | Detector | None,
    options: dict[str, Any],
    references: bool,
    explain_with: str | None,
    talking: dict[str, Any],
) -> tuple[str, Detector]:
    """The name and the detector; raises UsageError for what cannot work with any sample."""
    if model is None:
        model = "memory" if references else "selfsim"
    if isinstance(model, str) and explain_with is None:
        card = detectors.CARDS.get(model)
        if talking and card is not None and not card.explains:
            raise UsageError(f"{', '.join(talking)}: {model} does not talk; {TALKS}")
        options |= talking
    elif talking and explain_with is None:
        raise UsageError(f"options of a talker go with explain_with: set up {type(model).__name__} before it is given")
    if not isinstance(model, str):
        if options:
            raise UsageError(f"options go with the name of a model: set up {type(model).__name__} before it is given")
        name, detector = type(model).__name__, model
    else:
        name, detector = model, detectors.load(model, **options)
        if not references and not _zero_shot(model):
            raise NoReferences(
                f"{model} needs references: name normal samples with --reference or in a sheet, "
                f"or choose a zero-shot model (looktwice models)"
            )
    if explain_with is None:
        return name, detector
    return f"{name} + {explain_with}", detectors.explaining(detector, name, explain_with, **talking)


def _zero_shot(model: str) -> bool:
    """Whether a model judges without references; one from outside says so itself when it is fitted."""
    card = detectors.CARDS.get(model)
    return card is None or card.zero_shot


def _check_numbers(threshold: float | None, calibration: Calibration | None, batch: int) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"threshold must be in [0, 1], got {threshold}")
    if threshold is not None and calibration is not None:
        raise UsageError("give a threshold or a calibration: both decide the verdict")
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}")


def scores_hash(described: Mapping[str, Any]) -> str:
    """Hash of what can change a score: a calibration holds for another run of the same only."""
    keys = ("model", "options", "sheet", "references", "settings")
    return settings_hash({key: described[key] for key in keys})


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


# ---------------------------------------------------------------- what there is to inspect


@dataclass(frozen=True)
class Item:
    """One thing to inspect, or the reason why there is none at this path."""

    path: Path
    error: BadFile | None = None


def find(paths: Sequence[str | Path], modality: str | None = None) -> list[Item]:
    """List what is to be inspected: files as they are, folders searched in sorted order, globs expanded.

    Each file once, under the first name it was given. In folders and globs only what a modality recognises counts;
    hidden files and what a results folder holds of its own are passed over. A path that leads to nothing is an Item
    with its error.
    """
    found: dict[str, Item] = {}
    for given in paths:
        for item in _find(Path(given), str(given), modality):
            found.setdefault(os.path.abspath(item.path), item)
    return list(found.values())


def _find(path: Path, text: str, modality: str | None) -> Iterator[Item]:
    if os.path.isdir(path) and not _is_one(path, modality):
        inside = list(_walk(path, modality, set()))
        if not inside:
            yield Item(path, BadFile("empty", path, f"the folder holds no {_kinds(modality)}"))
        yield from inside
    elif os.path.exists(path):
        yield Item(path)
    elif glob.has_magic(text):
        found = sorted(Path(one) for one in glob.glob(text, recursive=True))
        matches = [match for match in found if os.path.isdir(match) or _is_one(match, modality)]
        if not matches:
            why = f"what matches this pattern is no {_kinds(modality)}" if found else "no file matches this pattern"
            yield Item(path, BadFile("missing_file", path, why))
        for match in matches:
            yield from _find(match, str(match), modality)
    elif os.path.islink(path):
        yield Item(path, BadFile("missing_file", path, "a link that leads to no file"))
    else:
        yield Item(path, BadFile("missing_file", path, "no such file"))


def _kinds(modality: str | None) -> str:
    return "picture, point cloud or video" if modality is None else modality.replace("_", " ")


def _walk(folder: Path, modality: str | None, seen: set[str]) -> Iterator[Item]:
    real = os.path.realpath(folder)
    if real in seen:  # a link may lead back up
        return
    seen.add(real)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield Item(folder, BadFile("unreadable", folder, f"the folder cannot be opened: {error.strerror}"))
        return
    passed_over = own_names(folder)
    for name in names:
        entry = folder / name
        if name.startswith(".") or name in passed_over:
            continue
        if _is_one(entry, modality):
            yield Item(entry)
        elif os.path.isdir(entry):
            yield from _walk(entry, modality, seen)
        elif os.path.islink(entry) and not os.path.exists(entry) and _named_like_one(entry, modality):
            yield Item(entry, BadFile("missing_file", entry, "a link that leads to no file"))


def _is_one(path: Path, modality: str | None) -> bool:
    """Whether this is one thing to inspect: a file, or a folder of frames, that a modality (this one) takes."""
    if modality == "video" and os.path.isdir(path):
        return _holds_frames(path)
    known = any(modalities.modality(name).recognises(path) for name in modalities.MODALITIES)
    if modality is None or not known:
        return known
    chosen = modalities.modality(modality)
    return chosen.recognises(path) or path.suffix.lower() in chosen.suffixes


def _holds_frames(folder: Path) -> bool:
    """Whether a folder asked to be a video is one: named so, or with pictures in it and no video."""
    video, image = modalities.modality("video"), modalities.modality("image")
    if video.recognises(folder):
        return True
    try:
        entries = [folder / name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return False
    pictures = any(entry.suffix.lower() in image.suffixes for entry in entries)
    return pictures and not any(video.recognises(entry) for entry in entries)


def _named_like_one(path: Path, modality: str | None) -> bool:
    names = modalities.MODALITIES if modality is None else (modality,)
    return any(path.suffix.lower() in modalities.modality(name).suffixes for name in names)


def _check_file(path: Path) -> None:
    """Refuse what no modality needs to look at; raises BadFile, OSError."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise BadFile("unsupported", path, "its name holds bytes that are not UTF-8: rename it") from None
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise BadFile("empty", path, "the file has no bytes: copy it again")


# ---------------------------------------------------------------- calibration


def calibrate_on(
    normal: str | Path | Iterable[str | Path],
    model: str | Detector | None = None,
    spec: Spec | None = None,
    *,
    alpha: float = 0.01,
    watch: Callable[[Generator[Result, None, None], int], Iterator[Result]] | None = None,
    **options: Any,
) -> Calibration:
    """Judge normal parts that are not references, and return the calibration they give.

    options: those of `Inspection`. watch: wraps the results as they come, to show progress. Raises UsageError
    when there are too few parts for `alpha`, when one is a reference, or when one cannot be read.
    """
    least, given = needed(alpha), [normal] if isinstance(normal, (str, Path)) else list(normal)
    count = len(find(given, options.get("modality")))
    if count < least:  # said before an hour of work, not after it
        raise UsageError(
            f"alpha {alpha:g} needs at least {least} normal parts that are not references, got {count}: "
            f"add normal parts, or raise alpha"
        )
    run = Inspection(given, model, spec, **options)
    with closing(iter(run)) as judged:
        results = list(watch(judged, len(run)) if watch else judged)
    failed = [result.error for result in results if result.error is not None]
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(results)} normal parts cannot be judged, the first: {failed[0].message}. "
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
        sha256s={result.path: result.sha256 for result in results},
        reference_sha256s=tuple(r.sha256 for r in run.spec.references if isinstance(r, Sample)),
    )
