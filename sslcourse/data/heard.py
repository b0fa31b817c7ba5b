"""Recordings as `Data`: what `sslcourse data` prepared, your own, and audio-visual digits made of two.

    after `sslcourse data`  esc50(), spoken_digits()
    your own                npz(path)
    constructed pairs       av_digits(pictures, sounds)

All three read one kind of file, a `.npz` that `np.savez` writes and `npz` describes; their commands write
it with `store`. Sounds are
int16, one channel, of one length: shorter ones lie in the middle of silence, of longer ones the loudest
stretch is kept."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslcourse import runtime
from sslcourse.data import download, folders, moving_digits
from sslcourse.data.datasets import Data, Samples, numbered, open_labels, split, with_splits, words
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import COUNT, REAL, SEED, WHOLE, Number, takes
from sslcourse.runtime.shapes import explained

FOLDS = 5  # of ESC-50

# -------------------------------------------------------------------------------------- sound as numbers


@explained
@takes(old=COUNT, new=COUNT, block=COUNT)
def resampled(audio: Tensor | np.ndarray, old: int, new: int, *, block: int = 256) -> Tensor:
    """Sounds at another rate, by windowed sinc interpolation; nothing is moved in time.

    Args:
        audio: (..., L) int16, or float within -1..1.
        old, new: samples per second.
        block: sounds at once; no influence on the result.

    Returns:
        (..., ceil(L new / old)) of the same type. int16 is rounded, and clipped where the filter overshoots.
    """
    from torchaudio.functional import resample

    audio = torch.as_tensor(audio)
    if not (old >= 1 and new >= 1 and old == int(old) and new == int(new)):
        raise CourseError(
            f"from {old} to {new} samples a second; pass whole numbers, such as 44100 and 16000"
        )
    if old == new:
        return audio
    flat = audio.reshape(-1, audio.shape[-1])
    parts = []
    for part in flat.split(block):
        part = resample(part.float(), int(old), int(new), lowpass_filter_width=32)
        parts.append(
            part.round().clamp(-32768, 32767).to(torch.int16) if audio.dtype == torch.int16 else part
        )
    return torch.cat(parts).view(*audio.shape[:-1], -1) if parts else audio


def decoded(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """The samples (L,) int16 of a sound file (.wav, .flac, .ogg), its channels averaged, and its rate.

    soundfile reads it: librosa, which the course needs anyway, brings it along, and 16-bit samples come out
    as they were written. `torchaudio.load` would need a further package. Files of floats, which reach from -1
    to 1, are scaled; where they reach further, so that the loudest sample is the largest number there is.

    Args:
        data: the bytes of the file.
        name: for the error message.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, floats = file.samplerate, file.subtype in ("FLOAT", "DOUBLE")
            # Read as int16, floats would be cut to -1, 0 and 1: silence.
            audio = file.read(dtype="float64" if floats else "int16", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise CourseError(f"{name} cannot be decoded ({error}); fetch its archive again") from None
    if floats:
        loudest = np.abs(audio).max() if audio.size else 0.0
        if not np.isfinite(loudest):
            raise CourseError(f"{name} holds numbers that are no sound (NaN or infinity)")
        audio = audio * (32767 / max(1.0, loudest))
        return audio.mean(1).round().astype(np.int16), rate
    return audio[:, 0] if audio.shape[1] == 1 else audio.mean(1).round().astype(np.int16), rate


@explained
def fitted(audio: np.ndarray, length: np.ndarray, samples: int) -> np.ndarray:
    """Recordings of many lengths as (N, samples) int16: the short ones in the middle of silence, of the long
    ones their loudest stretch.

    Args:
        audio: (sum of the lengths,) int16, end to end.
        length: (N,) samples that each has.
    """
    out = np.zeros((len(length), samples), np.int16)
    for row, end, count in zip(out, np.cumsum(length), length):
        x = audio[end - count : end]
        if count <= samples:
            first = (samples - count) // 2
            row[first : first + count] = x
        else:
            energy = np.concatenate([[0.0], np.cumsum(x.astype(np.float64) ** 2)])
            first = int((energy[samples:] - energy[:-samples]).argmax())
            row[:] = x[first : first + samples]
    return out


# ----------------------------------------------------------------------------------- files of recordings


def store(path: str | Path, **arrays) -> None:
    """Write a file that `npz` reads; it appears under its name when it is complete."""
    path = Path(path)
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    download.need_space(path.parent, sum(value.nbytes for value in arrays.values()))
    # a file: to a name `savez` would add .npz
    with runtime.atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def shapes(path: str | Path) -> dict[str, tuple[int, ...]] | None:
    """Name -> shape of the arrays of a `.npz` file, read from their headers; None where there is no such
    file, or a damaged one.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as opened:
            for name in opened.namelist():
                with opened.open(name) as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    found[name.removesuffix(".npy")] = read(file)[0]
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return found


def place_of(
    source: str | Path | None, names: Sequence[str], urls: Sequence[str], downloads: Path, quiet: bool
) -> Path:
    """Where the files of a data set are that nobody publishes a checksum of: an archive, or an unpacked
    folder.

    Args:
        source: None to download; an archive, a folder that holds one of them, or a folder into which it was
            unpacked.
        names: that the archive may have, the server's own first: GitHub and browsers call the same archive
            differently.
        urls: of the archive.
        downloads: the folder in which a fetched archive lies.
    """
    if source is None:
        return download.download_unsigned(urls, downloads / names[0], whole_zip, quiet=quiet)
    place = Path(source).expanduser()
    if not place.exists():
        raise CourseError(f"there is no file or folder {place}")
    archives = [place] if place.is_file() else [place / name for name in names if (place / name).is_file()]
    if archives and (wrong := whole_zip(archives[0])):
        raise CourseError(f"{archives[0]} is damaged: {wrong}; fetch it again")
    return archives[0] if archives else place


def whole_zip(path: Path) -> str | None:
    """What is wrong with a zip archive in half a sentence, or None where every file in it has the CRC-32 that
    it should have.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            bad = opened.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return f"it cannot be read ({error})"
    return f"{bad} has the wrong checksum" if bad else None


def files_in(place: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the wanted files of an archive or of an unpacked folder, each once, in no particular
    order; nothing is written.

    Raises:
        CourseError: one is missing, or stands there twice.
    """
    if place.is_file():
        for name, size, stream in download.members(place, wanted):
            yield name, download.read_exactly(stream, size, name)
        return
    found: dict[str, Path] = {}
    for path in folders.files_below(place):
        if path.name in wanted:
            if path.name in found:
                raise CourseError(f"{place} holds {path.name!r} twice; pass the folder that holds it once")
            found[path.name] = path
    if missing := sorted(set(wanted) - set(found)):
        raise CourseError(
            f"{place} lacks {len(missing):,} of {len(wanted):,} files, such as {missing[0]}; is it the "
            "whole set?"
        )
    for name, path in found.items():
        yield name, path.read_bytes()


_EXAMPLE = "np.savez({!r}, audio=audio, rate=8000, label=label)"


@takes(
    seed=SEED,
    seconds=REAL,
    validation=REAL,
    test=REAL,
)
def npz(
    path: str | Path,
    *,
    seconds: float | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> Data:
    """Your own recordings from one `.npz` file. No pickled objects are loaded.

    Args:
        path: a file with the arrays

            audio       (N, L) int16, or float within -1..1; or (M,), recordings of many lengths end to end,
            length      and then (N,) samples that each of them has
            rate        samples per second of all of them
            label       (N,) whole numbers from 0, or names; without it they are unlabelled
            classes     names of the classes, where the labels are numbers
            anything    (N,) numbers or names: a factor, such as the speaker, or a fold to cross-validate
            test_audio, test_length, test_label, test_anything: your own test split, if you have one
            name        (N,) names of the recordings, not read

        seconds: of every recording, see `fitted`. By default the length of the arrays or, of recordings of
            many lengths, so much that 99 of 100 have room.
        validation, test: shares that are set aside, class by class; the second only without a test split of
            your own.
        seed: of that choice.
        name: what to call the data; by default the name of the file.

    Raises:
        CourseError: arrays are missing, or do not fit together.
    """
    path = Path(path).expanduser()
    found = folders.arrays_of(path, _EXAMPLE.format(path.name))
    found.pop("name", None), found.pop("test_name", None)
    if "audio" not in found or "rate" not in found:
        raise CourseError(
            f"{path} has the arrays {', '.join(sorted(found)) or 'none'}; sounds need at least audio and rate"
        )
    rate, classes = _one_rate(path, found.pop("rate")), words(found.pop("classes", []))
    tested = {key.removeprefix("test_"): found.pop(key) for key in [*found] if key.startswith("test_")}
    if tested and set(tested) != set(found):
        alone = sorted({*found} ^ {*tested})
        raise CourseError(
            f"{path}: {', '.join(alone)} {'are' if len(alone) > 1 else 'is'} given for one of the two "
            "splits; write each array twice, as in label and test_label"
        )
    for part in filter(None, (found, tested)):
        if np.ndim(part["audio"]) < 1 or not np.size(part["audio"]):
            raise CourseError(
                f"{path}: audio of shape {np.shape(part['audio'])} holds no sound; expected (N, L)"
            )
    lengths = np.concatenate(
        [
            part.get("length", np.full(len(part["audio"]), np.shape(part["audio"])[-1]))
            for part in (found, tested)
            if part
        ]
    )
    if seconds is not None and not 0.05 <= seconds <= 600:
        raise CourseError(f"seconds={seconds}; pass 0.05 to 600")
    samples = (
        round(seconds * rate)
        if seconds is not None
        else math.ceil(np.percentile(lengths, 99))
        if "length" in found
        else int(lengths[0])
    )
    for part in filter(None, (found, tested)):
        part["audio"] = _of_one_length(path, part["audio"], part.pop("length", None), samples)
    columns, names = _numbered(found, tested, classes)
    named = names.pop("label", tuple(classes))
    make = lambda part: dict(
        audio=part["audio"],
        rate=rate,
        factors={k: part[k] for k in columns if k != "label"},
        factor_names=names,
        classes=named,
        name=name or path.stem,
    )
    if not tested:
        return split(None, found.get("label"), validation=validation, test=test, seed=seed, **make(found))
    whole = Samples(label=found.get("label"), **make(found))
    own = Samples(label=tested.get("label"), split="test", **make(tested))
    return with_splits({"train": whole, "test": own}, validation=validation, seed=seed)


def _one_rate(path: Path, rate: np.ndarray) -> int:
    """Samples per second, from a number, an array of one, or one number for each recording."""
    values = np.unique(rate) if rate.dtype.kind in "iuf" else np.array([])
    if len(values) > 1:
        raise CourseError(
            f"{path}: the recordings have {len(values)} rates, {values[0]:g} to {values[-1]:g}; bring them "
            f"to one: "
            "heard.resampled(audio, old, new)"
        )
    if not len(values) or not np.isfinite(values[0]) or values[0] != int(values[0]) or values[0] < 1:
        raise CourseError(f"{path}: rate={rate}; expected samples per second, a whole number such as 8000")
    return int(values[0])


def _of_one_length(path: Path, audio: np.ndarray, length: np.ndarray | None, samples: int) -> np.ndarray:
    """(N, samples) int16."""
    if audio.dtype != np.int16:
        if audio.dtype.kind != "f" or not (np.abs(audio) <= 1).all():  # also false for NaN
            raise CourseError(f"{path}: audio of type {audio.dtype}; expected int16, or float from -1 to 1")
        audio = (audio * 32767).round().astype(np.int16)
    if length is None:
        if audio.ndim != 2:
            raise CourseError(
                f"{path}: audio of shape {audio.shape}; expected (N, L), or (M,) together with length (N,)"
            )
        recordings, each = audio.shape
        if each == samples:
            return audio
        audio, length = audio.reshape(-1), np.full(recordings, each)
    if (
        audio.ndim != 1
        or length.ndim != 1
        or length.dtype.kind not in "iu"
        or (length.size and int(length.min()) < 1)
        or length.sum() != len(audio)
    ):
        raise CourseError(
            f"{path}: length should be (N,) whole numbers from 1 that add up to the {audio.shape} samples of "
            "audio, one after another"
        )
    return fitted(audio, length.astype(np.int64), samples)


def _numbered(found: dict, tested: dict, classes: list[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Columns of names become columns of numbers, in place. Returns the names of the columns, and what their
    numbers mean.
    """
    columns, names = [key for key in found if key != "audio"], {}
    for key in columns:
        both = [part[key] for part in (found, tested) if part]
        if key == "label" and both[0].dtype.kind not in "US":
            found[key], number_of, names_of = numbered(
                found[key], tested.get(key), classes, ("label", "test_label")
            )
            if number_of is not None:
                tested[key] = number_of
            classes[:] = names_of
        elif both[0].dtype.kind in "US":
            texts = [words(column) for column in both]
            order = classes if key == "label" and classes else sorted({v for text in texts for v in text})
            number = {value: i for i, value in enumerate(order)}
            if unknown := [v for text in texts for v in text if v not in number]:
                raise CourseError(f"{key} {unknown[0]!r} is none of the {len(order)} classes")
            for part, text in zip(filter(None, (found, tested)), texts):
                part[key] = np.array([number[v] for v in text], np.int64)
            names[key] = tuple(order)
    return columns, names


# --------------------------------------------------------------------------------- after a data script


@takes(fold=WHOLE, rate=WHOLE)
def esc50(fold: int = 1, *, rate: int | None = None, path: str | Path | None = None) -> Data:
    """ESC-50: 2,000 recordings of five seconds, 50 kinds of sounds of 40 each, in the five folds of its
    author.

    One fold tests, the next one validates, three train; clips from one source always share a fold. The factor
    `fold` stays with every recording, and `evaluate.esc50.esc` goes through all five. The author warns that
    some sources were filtered beforehand in a way that may depend on their class; nobody has mended that, so
    that results stay comparable.

    Args:
        fold: 1 to 5, which of them tests.
        rate: samples per second; by default those of the file.
        path: of the file, if not the default one.

    Raises:
        CourseError: the file is not there; the message says what to type.

    Source: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
    """
    if fold not in range(1, FOLDS + 1):
        raise CourseError(f"fold={fold!r}; ESC-50 has the folds 1 to {FOLDS}")
    file = _prepared("esc50", path)
    found = folders.arrays_of(file, _EXAMPLE.format(file.name))
    audio, there = found["audio"], int(found["rate"])
    wave = audio if rate is None or rate == there else resampled(audio, there, rate)
    folds = found["fold"].astype(np.int64)
    where = {"test": fold, "validation": fold % FOLDS + 1}
    rows = {part: np.flatnonzero(folds == number) for part, number in where.items()}
    rows["train"] = np.flatnonzero(~np.isin(folds, list(where.values())))
    make = lambda part: Samples(
        audio=wave[rows[part]],
        rate=rate or there,
        label=found["label"][rows[part]],
        classes=[str(c) for c in found["classes"]],
        factors={"fold": folds[rows[part]] - 1},
        factor_names={"fold": tuple(str(f + 1) for f in range(FOLDS))},
        extra={"source": torch.from_numpy(found["source"][rows[part]].astype(np.int64))},
        split=part,
        name="ESC-50",
    )
    return Data(make("train"), make("validation"), make("test"))


@takes(seed=SEED, seconds=REAL, validation=REAL)
def spoken_digits(
    seconds: float = 1.0, *, validation: float = 0.1, seed: int = 0, path: str | Path | None = None
) -> Data:
    """Free Spoken Digit Dataset: ten digits, six speakers, fifty recordings of each; the first five of the
    fifty test, as its authors say.

    Factors: `speaker`, `take` (0 to 49). For other speakers in the test than in the training,
        `evaluate.esc50.esc` with folds="speaker".

    Args:
        seconds: of every recording, see `fitted`; nearly all are shorter than one.
        validation: share of the training recordings that is set aside.
        path: of the file, if not the default one.

    Source: Z. Jackson et al., Free Spoken Digit Dataset, CC BY-SA 4.0, doi:10.5281/zenodo.1342401.
    """
    return npz(
        _prepared("spoken_digits", path),
        seconds=seconds,
        validation=validation,
        seed=seed,
        name="spoken digits",
    )


def _prepared(name: str, path: str | Path | None) -> Path:
    file = Path(path).expanduser() if path else runtime.data_dir(name, f"{name}.npz")
    if not file.is_file():
        raise CourseError(
            f"no {name} in {file.parent}; type: sslcourse data {name}"
            + (f" --to {file.parent}" if path else "")
        )
    return file


# ------------------------------------------------------------------------------------- constructed pairs


@takes(
    seed=SEED,
    train=WHOLE,
    validation=WHOLE,
    test=WHOLE,
    size=WHOLE,
    frames=Number(1, 100_000),
)
def av_digits(
    pictures: Data | None = None,
    sounds: Data | None = None,
    train: int = 1200,
    validation: int = 300,
    test: int = 600,
    *,
    frames: int = 16,
    size: int = 32,
    seed: int = 0,
) -> Data:
    """Audio-visual digits, *constructed pairs*: a handwritten digit that drifts about, and a recording of the
    same digit spoken.

    Nobody wrote and spoke at the same time. To each film (see `sslcourse.data.moving_digits`) a recording is
    drawn at random among those of its class; so picture and sound share the digit and nothing else, and there
    is no moment in them that fits. Films and recordings of
    a split come from that split of their own data: no picture and no voice of the training is tested.

    Args:
        pictures: of digits with labels 0 to 9, such as `images.mnist()`, or `images.npz("mnist.npz")` of your
            own; scikit-learn's handwriting where left out.
        sounds: of digits with labels 0 to 9, such as `npz("digits.npz")` of your own; `spoken_digits()` where
            left out.
        train, validation, test: how many pairs.
        frames: of a film, which lasts as long as its recording.
        size: pixels along a side of a film.
        seed: of the films and of the pairing.

    Returns: `Data` of films with sound. The label is the digit; factors are those of the film (`digit`, `x`,
        `y`, `dx`, `dy`) and of the recording (such as `speaker`). The extra `recording` is its position in
        its own split.
    """
    sounds = spoken_digits(seed=seed) if sounds is None else sounds
    films = moving_digits.videos(
        train, validation, test, frames=frames, size=size, source=pictures, seed=seed
    )
    paired: list[Samples] = []
    for film, sound in zip(films, sounds):
        if sound.audio is None or not sound.labelled:
            raise CourseError(
                "sounds need labels, and audio: pass spoken_digits(), or npz(...) of your own with label"
            )
        # What is sealed stays sealed: the pairs of a test split are again a test split.
        label, seen = (
            open_labels(film, "heard.av_digits") if film.split == "test" else (film.label, film.factors)
        )
        spoken, heard = (
            open_labels(sound, "heard.av_digits") if sound.split == "test" else (sound.label, sound.factors)
        )
        if missing := sorted({*label.tolist()} - {*spoken.tolist()}):
            raise CourseError(
                f"no recording of {', '.join(map(str, missing))} in the {sound.split} split of "
                f"{sound.name}; labels are 0 to 9"
            )
        rng = np.random.default_rng([seed, len(paired), 0xA7D])
        chosen = np.empty(len(film), np.int64)
        for digit in label.unique():
            here = np.flatnonzero((label == digit).numpy())
            chosen[here] = rng.choice(np.flatnonzero((spoken == digit).numpy()), len(here))
        taken = {key: column[chosen] for key, column in heard.items() if key not in seen}
        paired.append(
            Samples(
                video=film.video,
                audio=sound.audio[chosen],
                rate=sound.rate,
                fps=frames * sound.rate / sound.audio.shape[1],
                label=label,
                classes=film.classes,
                factors={**seen, **taken},
                factor_names=_merged(film, sound, taken),
                extra={"recording": torch.from_numpy(chosen)},
                split=film.split,
                name="audio-visual digits (constructed pairs)",
            )
        )
    return Data(*paired)


def _merged(film: Samples, sound: Samples, taken: Mapping) -> dict:
    return {**film.factor_names, **{key: value for key, value in sound.factor_names.items() if key in taken}}
