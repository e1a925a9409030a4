"""Predict: run a detector over a data set and keep scores, maps, answers and the recipe that made them.

Each unit is fitted once per process and its samples are judged batch by batch. One process alone writes, in the order
of the data set, so the files are the same whatever the number of workers. A batch is on the disk before the next one
is written; after a crash the same command goes on behind the last whole batch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from looktwice import detectors, modalities
from looktwice.benchmark.plan import Loader, Plan, Unit, Work, prepare
from looktwice.benchmark.processes import end_with_parent
from looktwice.benchmark.store import MADE, UNITS, Row, Run, UnitWriter, encode_map, encode_truth, locked, open_run
from looktwice.benchmark.store import recipe_hash as hash_of
from looktwice.data.items import Item, PointRows, Question, load_item
from looktwice.detectors.protocol import Attempting, Fitted, Reasoner
from looktwice.errors import BadFile, LookTwiceError, MissingExtra, NoReferences, StopRun, UsageError
from looktwice.findings import BadAnswer, check_answer
from looktwice.records import PointCloudData, Prediction, Sample, VideoData, Views
from looktwice.report.atomic import write_atomically
from looktwice.settings import Settings

# As MMAD's scripts put it (jam-cc/MMAD at bad03b4).
KNOWLEDGE = (
    "Following is the domain knowledge which contains some type of defect and the normal object characteristics: "
    "\n {text}\n"
)

log = logging.getLogger(__name__)

BATCH = 8  # samples judged together; a crash loses at most the batches in work
AHEAD = 8  # batches of one unit that may wait for a slower one before them

FATAL = ("talker_refused_key", "budget")  # kinds of errors that every further sample would meet too
Progress = Callable[[int, int, str], None]  # done, all, unit in work


@dataclass(frozen=True)
class Outcome:
    """What predicting came to."""

    run: Run
    samples: int
    failed: int
    earlier: int  # samples that an earlier try had finished
    messages: tuple[str, ...]


def predict(
    plan: Plan,
    root: Path | str,
    out: Path | str | None = None,
    *,
    workers: int = 1,
    batch: int = BATCH,
    retry: bool = False,
    sheets: Path | str | None = None,
    load: Loader = detectors.load,
    progress: Progress | None = None,
) -> Outcome:
    """Carry out a plan on the copy of its data set at `root`; go on with a run that is in `out` already.

    out: a folder of its own; None: runs/MODEL-DATASET-HASH. workers: processes; they change the time, not the files.
    retry: judge units with failed samples again. sheets: what is known of the categories, as in `prepare`. load: makes
    the detector from its name and options; with several workers it must be importable. A sample that fails is a row
    with its error. Raises UsageError and UnknownName for what is wrong with the plan, BadFile for an unreadable list,
    StopRun when a worker dies, the disk is full, a key is refused or a budget spent.
    """
    if workers < 1 or batch < 1:
        raise UsageError(f"workers and batch must be at least 1, got {workers} and {batch}")
    work = prepare(plan, root, load, sheets)
    folder = Path(out) if out is not None else default_folder(work)
    messages = list(work.messages)
    with locked(folder), _disk_errors(folder):
        goes_on = open_run(folder, work.recipe)
        pending = _pending(work, folder, batch, retry)
        done = earlier = sum(one.writer.done for one in pending)
        if goes_on:
            messages.append(f"going on with the run in {folder}: {earlier} finished before")
        started = time.time()
        _write_made(folder, work, workers, started, None)
        total = sum(len(unit.items) for unit in work.units)
        for unit, rows in _carry_out(pending, work.plan, workers, load):
            unit.writer.append(rows)
            done += len(rows)
            if progress:
                progress(done, total, unit.unit.described.name)
        _write_made(folder, work, workers, started, time.time())
    failed = sum(one.writer.failed for one in pending)
    return Outcome(Run(folder), total, failed, earlier, tuple(messages))


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StopRun(
            f"cannot write to {folder}: {error.strerror or error}. What is finished is kept: free some space and "
            f"run the same command again"
        ) from error


def default_folder(work: Work) -> Path:
    """runs/MODEL-DATASET-HASH: another plan gets another folder."""
    model = re.sub(r"[^A-Za-z0-9._-]+", "-", work.plan.model)  # hf:OWNER/NAME
    return Path("runs") / f"{model}-{work.plan.dataset}-{hash_of(work.recipe)[:8]}"


@dataclass
class _Open:
    """A unit in work: its jobs, and the batches that wait for earlier ones."""

    unit: Unit
    writer: UnitWriter
    jobs: list[Job]
    given: int = 0  # jobs handed to a worker
    written: int = 0
    waiting: dict[int, list[Row]] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        return self.given < min(len(self.jobs), self.written + AHEAD)

    def ready(self) -> Iterator[list[Row]]:
        """Take out, in order, the batches that nothing before them holds up."""
        while self.written in self.waiting:
            yield self.waiting.pop(self.written)
            self.written += 1


def _pending(work: Work, folder: Path, batch: int, retry: bool) -> list[_Open]:
    opened = []
    for unit in work.units:
        place = folder / UNITS / unit.described.name
        ids = [item.id for item in unit.items]
        writer = UnitWriter(place, ids)
        if retry and writer.failed:
            shutil.rmtree(place)
            writer = UnitWriter(place, ids)
        left = unit.items[writer.done :]
        jobs = [Job(work.root, unit, left[i : i + batch]) for i in range(0, len(left), batch)]
        opened.append(_Open(unit, writer, jobs))
    return opened


def _write_made(folder: Path, work: Work, workers: int, started: float, finished: float | None) -> None:
    """When, where and how fast: what differs between reruns stays out of all other files."""
    made = {
        "root": str(work.root.resolve()),
        "workers": workers,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds") if finished else None,
        "seconds": round(finished - started, 3) if finished else None,
    }
    write_atomically(folder / MADE, json.dumps(made, indent=1) + "\n")


# ---------------------------------------------------------------- one process or several


def _carry_out(opened: Sequence[_Open], plan: Plan, workers: int, load: Loader) -> Iterator[tuple[_Open, list[Row]]]:
    """Yield finished batches, those of one unit in order."""
    opened = [one for one in opened if one.jobs]
    workers = min(workers, sum(len(one.jobs) for one in opened))
    if workers <= 1:
        worker = Worker(plan, load)
        for one in opened:
            for job in one.jobs:
                yield one, worker.judge(job)
        return
    with ExitStack() as stack:
        lanes = [_Lane(stack, plan, load) for _ in range(workers)]
        running: dict[Future[list[Row]], tuple[_Lane, _Open, int]] = {}
        while True:
            for lane in lanes:
                while lane.busy < 2 and (new := _next(lane, opened)):  # one in work, one at hand
                    number = new.given
                    running[lane.give(new)] = (lane, new, number)
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                lane, one, number = running.pop(future)
                lane.busy -= 1
                one.waiting[number] = _result(future)
                for rows in one.ready():
                    yield one, rows


def _next(lane: _Lane, opened: Sequence[_Open]) -> _Open | None:
    """The unit that a lane goes on with: its own, else one nobody has begun, else the one with most left.

    So a detector is fitted once per unit as long as there are units for all lanes.
    """
    if lane.unit and lane.unit.free:
        return lane.unit
    new = next((one for one in opened if one.given == 0), None)
    return new or max((one for one in opened if one.free), key=lambda one: len(one.jobs) - one.given, default=None)


class _Lane:
    """One worker process, with the unit it works on."""

    def __init__(self, stack: ExitStack, plan: Plan, load: Loader) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start, initargs=(plan, load))
        stack.callback(self.pool.shutdown, wait=True, cancel_futures=True)
        self.unit: _Open | None = None
        self.busy = 0

    def give(self, one: _Open) -> Future[list[Row]]:
        self.unit = one
        self.busy += 1
        one.given += 1
        return self.pool.submit(_judge, one.jobs[one.given - 1])


def _result(future: Future[list[Row]]) -> list[Row]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise StopRun(
            "a worker process died, perhaps for lack of memory. What is finished is kept: run the same command again, "
            "with fewer --workers"
        ) from error


_worker: Worker | None = None  # of a worker process


def _start(plan: Plan, load: Loader) -> None:
    global _worker
    _worker = Worker(plan, load)
    end_with_parent()


def _judge(job: Job) -> list[Row]:
    assert _worker is not None
    return _worker.judge(job)


# ---------------------------------------------------------------- judging


@dataclass(frozen=True)
class Job:
    """Some samples of a unit."""

    root: Path
    unit: Unit
    items: tuple[Item, ...]

    def __reduce__(self) -> tuple[object, ...]:
        """Travel without the unit's other samples."""
        unit = self.unit
        return Job, (
            self.root,
            replace(unit, items=()),
            self.items,
        )


@dataclass(frozen=True)
class _Ready:
    item: Item
    sample: Sample
    views: Views | None  # None: a video, streamed when it is judged


class Worker:
    """Fits and judges, in whatever process; keeps the detector of the unit it is at."""

    def __init__(self, plan: Plan, load: Loader) -> None:
        self.plan = plan
        self.detector = load(plan.model, **plan.options)
        self._key: object = None
        self._fit: Fitted | Exception | None = None

    def judge(self, job: Job) -> list[Row]:
        """One row per sample, in order; raises MissingExtra, and UsageError when the detector cannot be used so."""
        found: list[Row | _Ready] = [self._ready(job, item) for item in job.items]
        rows: list[Row] = []
        for references, group in itertools.groupby(found, lambda one: self._references(job, one)):
            members = list(group)
            ready = [one for one in members if isinstance(one, _Ready)]
            judged = iter(self._judged(job, references, ready) if ready else [])
            rows += [one if isinstance(one, Row) else next(judged) for one in members]
        return rows

    def _references(self, job: Job, one: Row | _Ready) -> tuple[Item, ...] | tuple[Path, ...]:
        if not self.plan.named:
            return job.unit.references
        if isinstance(one, Row):
            return ()
        own = one.item.references if self.plan.references == "own" else one.item.similar
        return own if job.unit.shots == "full" else own[: job.unit.shots]

    def _ready(self, job: Job, item: Item) -> Row | _Ready:
        try:
            sample = load_item(item, self.plan.settings)
            blind = sample.model_copy(update={"truth": None})
            if sample.modality == "video":
                views = None
            elif self.plan.task == "answer" and sample.modality == "image" and len(item.paths) > 1:
                views = _several(item, self.plan.settings)
            else:
                views = next(modalities.views(blind, self.plan.settings))
        except MissingExtra:
            raise
        except Exception as error:
            return _failed(job, item, error)
        return _Ready(item, sample, views)

    def _judged(self, job: Job, references: tuple[Item, ...] | tuple[Path, ...], ready: list[_Ready]) -> list[Row]:
        fitted: Fitted | Exception
        if self.plan.named and job.unit.shots != 0 and not references:
            fitted = NoReferences("the data set names no reference for this sample")
        else:
            fitted = self._fitted(job, references)
        if isinstance(fitted, Exception):
            return [_failed(job, one.item, fitted, one.sample) for one in ready]
        if self.plan.task == "answer":
            return [self._answered(job, fitted, one) for one in ready]
        predictions = iter(self._predictions(fitted, [one.views for one in ready if one.views is not None]))
        return [
            self._video(job, fitted, one) if one.views is None else self._row(job, one, one.views, next(predictions))
            for one in ready
        ]

    def _predictions(self, fitted: Fitted, still: list[Views]) -> list[Prediction | Exception]:
        """One answer each; where the batch fails, asked one by one: a sample must not take its batch with it."""
        if not still:
            return []
        try:
            answers = self._asked(fitted, still)
        except (MissingExtra, StopRun):
            raise
        except Exception as error:
            if len(still) == 1:
                return [_not_fatal(error)]
            return [self._predictions(fitted, [views])[0] for views in still]
        return answers

    def _asked(self, fitted: Fitted, batch: list[Views]) -> list[Prediction | Exception]:
        """Raises BadAnswer when the detector answers something else than it was asked."""
        answers = list(fitted.attempt(batch) if isinstance(fitted, Attempting) else fitted.predict(batch))
        if len(answers) != len(batch):
            raise BadAnswer(f"{self.plan.model} gave {len(answers)} predictions for {len(batch)} samples")
        return [
            _not_fatal(answer) if isinstance(answer, Exception) else check_answer(self.plan.model, views, answer)
            for views, answer in zip(batch, answers, strict=True)
        ]

    def _fitted(self, job: Job, references: tuple[Item, ...] | tuple[Path, ...]) -> Fitted | Exception:
        """The detector fitted to these references; fitted when the unit or they change."""
        key = (job.unit.described.name, tuple(r.path if isinstance(r, Item) else r for r in references))
        if key != self._key:
            self._key, self._fit = key, None
            try:
                spec = job.unit.spec.model_copy(update={"references": tuple(map(self._reference, references))})
                self._fit = self.detector.fit(spec, self.plan.settings)
            except MissingExtra:
                raise
            except LookTwiceError as error:
                if not isinstance(error, BadFile) and not self.plan.named:
                    raise
                _not_fatal(error)
                self._fit = error
        assert self._fit is not None
        return self._fit

    def _reference(self, reference: Item | Path) -> Sample | str:
        """A path, so that many references need not be in memory; a sample where the file holds more than it."""
        if isinstance(reference, Path):
            return str(reference)
        if reference.crop is None and not isinstance(reference.truth, PointRows):
            return str(reference.path)
        return load_item(reference, self.plan.settings).model_copy(update={"truth": None})

    def _row(self, job: Job, one: _Ready, views: Views, prediction: Prediction | Exception) -> Row:
        if isinstance(prediction, Exception):
            return _failed(job, one.item, prediction, one.sample)
        line = _line(job, one.item, one.sample)
        line["score"] = prediction.score
        if prediction.explanation is not None:
            line["explanation"] = prediction.explanation.model_dump(mode="json", exclude_defaults=True)
        arrays: dict[str, bytes] = {}
        valid = one.sample.data.valid if isinstance(one.sample.data, PointCloudData) else None
        if prediction.anomaly_map is not None and self.plan.maps != "none":
            values = prediction.anomaly_map[0] if valid is None else views.scatter(prediction.anomaly_map)[valid]
            line["map"] = {"kind": self.plan.maps, "shape": list(values.shape)}
            arrays["map"] = encode_map(values, self.plan.maps)
        mask = one.sample.truth.mask if one.sample.truth else None
        if mask is not None:
            mask = mask if valid is None else mask[valid]
            line["truth"] = {"shape": list(mask.shape)}
            arrays["truth"] = encode_truth(mask)
        return Row(line, arrays, prediction.seconds)

    def _video(self, job: Job, fitted: Fitted, one: _Ready) -> Row:
        """Judge a video chunk by chunk: the highest score of a chunk, and one score a frame."""
        assert isinstance(one.sample.data, VideoData)
        scores: list[float] = []
        highest, seconds = 0.0, 0.0
        try:
            for views in modalities.views(one.sample.model_copy(update={"truth": None}), self.plan.settings):
                (prediction,) = self._asked(fitted, [views])
                if isinstance(prediction, Exception):
                    raise prediction
                scores += prediction.view_scores or [prediction.score] * len(views.images)
                highest = max(highest, prediction.score)
                seconds += prediction.seconds
        except (MissingExtra, StopRun):
            raise
        except Exception as error:
            return _failed(job, one.item, _not_fatal(error), one.sample)
        line = _line(job, one.item, one.sample)
        line["score"] = highest
        mask = one.sample.truth.mask if one.sample.truth else None
        labels = None if mask is None else mask[: len(scores)].astype(int).tolist()
        line["frames"] = {"scores": scores, "labels": labels}
        return Row(line, {}, seconds)

    def _answered(self, job: Job, fitted: Fitted, one: _Ready) -> Row:
        if not isinstance(fitted, Reasoner):
            raise UsageError(
                f"{self.plan.model} cannot answer questions: choose a model that explains (looktwice models)"
            )
        start = time.perf_counter()
        asked = questions_of(one.item, self.plan.question)
        if self.plan.shuffle:
            asked = tuple(shuffled(question, one.item.id) for question in asked)
        try:
            if not asked:
                raise UsageError(f"the data set asks nothing about {one.item.id}: give --question")
            if self.plan.knowledge and not one.item.knowledge:
                raise UsageError(f"the data set's copy knows nothing of {one.item.category}: leave out --knowledge")
            views = one.views or next(modalities.views(one.sample, self.plan.settings))
            answers = self._said(fitted, views, asked, one.item.knowledge if self.plan.knowledge else "")
        except (MissingExtra, StopRun):
            raise
        except Exception as error:
            return _failed(job, one.item, _not_fatal(error), one.sample)
        line = _line(job, one.item, one.sample)
        line["answers"] = [
            {
                "question": question.text,
                "kind": question.kind,
                "options": dict(question.options),
                "reference": question.answer,
                "answer": answer,
            }
            for question, answer in zip(asked, answers, strict=True)
        ]
        return Row(line, {}, time.perf_counter() - start)

    def _said(self, fitted: Reasoner, views: Views, asked: Sequence[Question], knowledge: str = "") -> list[str]:
        """The answers; a dialogue carries what was said, questions with options must not tell of one another."""
        history = self.plan.history
        if history is None:
            history = not any(question.options for question in asked)
        before = KNOWLEDGE.format(text=knowledge) if knowledge else ""
        if history:
            seen = fitted.look(views)
            return [seen.ask(("" if i else before) + ask_text(question)) for i, question in enumerate(asked)]
        return [fitted.look(views).ask(before + ask_text(question)) for question in asked]


def questions_of(item: Item, question: str = "") -> tuple[Question, ...]:
    """What is asked about an item: `question`, else its own, else what the user says in its dialogue.

    Of a dialogue, what was answered is the reference.
    """
    if question:
        return (Question(question),)
    pairs = zip(item.turns[::2], item.turns[1::2], strict=False)
    return item.questions or tuple(Question(said.text, answered.text) for said, answered in pairs)


def shuffled(question: Question, salt: str) -> Question:
    """The same options under other letters, in an order drawn from `salt` and the question; the answer goes along.

    >>> shuffled(Question("Is there a defect?", "A", (("A", "Yes."), ("B", "No."))), "7")
    Question(text='Is there a defect?', answer='B', options=(('A', 'No.'), ('B', 'Yes.')), kind='')
    """
    if not question.options:
        return question
    digest = hashlib.sha256(f"{salt}\0{question.text}".encode()).digest()
    order = np.random.default_rng(list(digest)).permutation(len(question.options))
    letters = [letter for letter, _ in question.options]
    moved = [question.options[i] for i in order]
    answer = next((new for new, (old, _) in zip(letters, moved, strict=True) if old == question.answer), "")
    options = tuple((new, words) for new, (_, words) in zip(letters, moved, strict=True))
    return replace(question, answer=answer, options=options)


def ask_text(question: Question) -> str:
    """A question as a model is asked it: with its options, and how to choose one.

    >>> print(ask_text(Question("Is there a defect?", "A", (("A", "Yes."), ("B", "No.")))))
    Is there a defect?
    A: Yes.
    B: No.
    Answer with the letter of the right option alone.
    """
    if not question.options:
        return question.text
    options = [f"{letter}: {words}" for letter, words in question.options]
    return "\n".join([question.text, *options, "Answer with the letter of the right option alone."])


def _several(item: Item, settings: Settings) -> Views:
    """All pictures of one thing, as a dialogue about several views speaks of them; smaller ones get a grey margin."""
    pictures = [next(modalities.views(modalities.load(path, settings, "image"), settings)) for path in item.paths]
    height, width = np.max([one.images.shape[1:3] for one in pictures], axis=0)
    images = np.full((len(pictures), height, width, 3), 127, np.uint8)
    for image, one in zip(images, pictures, strict=True):
        h, w = one.images.shape[1:3]
        image[:h, :w] = one.images[0]
    return Views(images=images, names=tuple(f"view {k}" for k in range(1, len(images) + 1)), way=pictures[0].way)


def _not_fatal(error: Exception) -> Exception:
    """The error; raises StopRun where every further sample would meet it too."""
    if isinstance(error, LookTwiceError) and error.kind in FATAL:
        raise StopRun(f"{error}. What is finished is kept: run the same command again to go on") from error
    return error


def _line(job: Job, item: Item, sample: Sample | None) -> dict[str, Any]:
    """What every line holds; keys always in this order."""
    label = sample.truth.label if sample is not None and sample.truth is not None else item.label
    base = _base(job.root)
    path = item.path.relative_to(base) if item.path.is_relative_to(base) else item.path
    return {
        "id": item.id,
        "path": path.as_posix(),
        "category": item.category,
        "label": label,
        "defect_type": item.defect_type,
        "modality": item.modality,
        "size": list(sample.size) if sample is not None else None,
        "sha256": sample.sha256 if sample is not None else "",
        "score": None,
        "map": None,
        "truth": None,
        "frames": None,
        "answers": None,
        "explanation": None,
        "error": None,
    }


def _failed(job: Job, item: Item, error: Exception, sample: Sample | None = None) -> Row:
    expected = isinstance(error, LookTwiceError)
    if not expected:
        log.warning("%s: %s", item.path, error, exc_info=error)
    kind = error.kind if isinstance(error, LookTwiceError) else "internal"
    words = str(error) if expected else f"{type(error).__name__}: {error}"
    # machines differ in where the data lies; runs must not
    base = str(_base(job.root))
    words = words.replace(base + os.sep, "").replace(base, ".")
    line = _line(job, item, sample)
    line["error"] = {"kind": kind, "message": words}
    return Row(line, {}, 0.0)


def _base(root: Path) -> Path:
    """The folder that paths are relative to: the root may be a CSV."""
    return root if root.is_dir() else root.parent
