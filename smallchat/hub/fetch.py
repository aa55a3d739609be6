"""Fetches one file into the hub client's own cache, where every other program finds it too.

The transfer is our own, because the client throws away what it has when a download is cut: here each byte
that came stays in `blobs/CHECKSUM.incomplete`, and the next attempt asks for the rest. The file gets its name
only after its checksum is right; the client then makes its entry in the cache.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smallchat.errors import HubError
from smallchat.hub.catalog import Offer
from smallchat.hub.installed import hub_cache
from smallchat.hub.known import MAIN
from smallchat.hub.problems import disk, told
from smallchat.hub.room import lacking

Progress = Callable[[str, int, int], None]
"""Called with (stage, bytes done, bytes in all); what it raises ends the work, and nothing is lost."""

PIECE = 8 << 20
"""Bytes of a file that are added up in one go."""
ATTEMPTS = 5
"""Connections in a row that bring nothing before it is given up."""


def room(offer: Offer) -> None:
    """Raises `HubError` where the rest of the file does not fit on the cache's disk."""
    folder = _storage(offer)
    while not folder.exists():
        folder = folder.parent
    if problem := lacking(offer.what, offer.size - partial_size(offer), folder):
        raise HubError(problem, "Make room, or set HF_HOME to a folder on another disk")


def partial_size(offer: Offer) -> int:
    """Bytes that an earlier attempt left."""
    try:
        return _partial(offer).stat().st_size
    except OSError:
        return 0


def cached(offer: Offer) -> Path | None:
    """The file in the cache, whole; None: it is not there."""
    path = _storage(offer) / "snapshots" / offer.commit / offer.file
    return path if path.is_file() else None


def fetch(offer: Offer, progress: Progress) -> Path:
    """The path of the offered file in the cache, fetched, checked and entered. Raises `HubError`.

    May be ended at any moment and called again: it goes on where it was.
    """
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    storage = _storage(offer)
    lock = storage.parent / ".locks" / storage.name / f"{offer.sha256}.lock"
    with told(offer.what):
        for folder in (storage / "blobs", lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with WeakFileLock(lock, timeout=2):
                blob = storage / "blobs" / offer.sha256
                if not blob.exists():
                    room(offer)
                    _transfer(offer, progress)
                    _check(offer, progress)
                    _partial(offer).replace(blob)
        except Timeout:
            what = f"{offer.what} is being fetched by another program"
            raise HubError(what, "Wait for it, or end it, then try again") from None
        return _enter(offer, storage)


def _enter(offer: Offer, storage: Path) -> Path:
    """Let the hub's client enter the blob that is there now, under the commit and what was asked for."""
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(
        offer.repository,
        offer.file,
        revision=offer.commit,
        cache_dir=storage.parent,
        library_name="smallchat",
    )
    if offer.revision != offer.commit and "/" not in offer.revision and ".." not in offer.revision:
        reference = storage / "refs" / (offer.revision or MAIN)
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(offer.commit)
    return Path(path)


def _transfer(offer: Offer, progress: Progress) -> None:
    """Append to the partial file until it is complete, over as many connections as that takes."""
    import httpx2

    failures = 0
    _partial(offer).touch()
    with _partial(offer).open("r+b") as file:
        if file.seek(0, os.SEEK_END) > offer.size:
            _restart(file)
        while (before := file.tell()) < offer.size:
            # A page to log in ends as it should, and brings nothing: uncounted, it would be asked for ever.
            cut: Exception = _no_file(offer, "it ends too early")
            try:
                _receive(offer, file, progress)
            except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError) as error:
                cut = error
            failures = 0 if file.tell() > before else failures + 1
            if failures >= ATTEMPTS:
                raise cut
            if failures:
                time.sleep(min(2.0**failures / 4, 4))
        os.fsync(file.fileno())


def _restart(file: Any) -> None:
    file.seek(0)
    file.truncate()


def _receive(offer: Offer, file: Any, progress: Progress) -> None:
    """One connection: ask for what is missing and append what comes."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    start = file.tell()
    headers = {**build_hf_headers(library_name="smallchat"), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    progress("Fetching", start, offer.size)
    # On the way to another host, the client drops the token.
    with get_session().stream("GET", offer.url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        if not _goes_on(response, start):
            length = response.headers.get("Content-Length", str(offer.size))
            if length != str(offer.size):  # nothing of it may stand where the file's bytes are kept
                raise _no_file(offer, f"it has {length[:20]} bytes, and not {offer.size}")
            _restart(file)  # the server sends all of it again
        for piece in response.iter_raw():  # as it comes: a cut would lose what waits in a buffer
            if file.tell() + len(piece) > offer.size:
                raise HubError(
                    f"{offer.what} is longer than the hub says", "Try again; report it to its makers"
                )
            _append(offer, file, piece)
            progress("Fetching", file.tell(), offer.size)


def _no_file(offer: Offer, why: str) -> HubError:
    """Something answers in the hub's place."""
    cure = "See whether the network wants you to log in on a page; what was fetched so far is kept"
    return HubError(f"{offer.what} cannot be fetched: what comes is not the file: {why}", cure)


def _append(offer: Offer, file: Any, piece: bytes) -> None:
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        raise disk(offer.what, error) from None


def _goes_on(response: Any, start: int) -> bool:
    """Whether the answer begins at the byte that was asked for."""
    header = str(response.headers.get("Content-Range", ""))
    return response.status_code == 206 and header.startswith(f"bytes {start}-")


def _check(offer: Offer, progress: Progress) -> None:
    """Raises `HubError` where the bytes are not those of the hub; they are thrown away then."""
    partial = _partial(offer)
    if sha256(partial, lambda done: progress("Checking", done, offer.size)) != offer.sha256:
        partial.unlink()
        what = f"{offer.what} came damaged: its checksum is wrong, so it was thrown away"
        raise HubError(what, "Fetch it again; if that happens twice, something on the way changes it")


def sha256(path: Path, progress: Callable[[int], None]) -> str:
    """The checksum of a file, in hexadecimal. Raises `OSError`."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            done += len(piece)
            progress(done)
    return digest.hexdigest()


def _partial(offer: Offer) -> Path:
    return _storage(offer) / "blobs" / f"{offer.sha256}.incomplete"


def _storage(offer: Offer) -> Path:
    return hub_cache() / f"models--{offer.repository.replace('/', '--')}"
