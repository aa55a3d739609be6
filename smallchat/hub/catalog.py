"""What the hub has under a name: repository, file, size and checksum, before anything is fetched."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from smallchat.errors import HubError
from smallchat.hub.known import Reference, is_inside, is_repository
from smallchat.hub.problems import told

SECONDS = 20
"""That the hub may be silent."""
MOST_BYTES = 16 << 20
"""Of an answer: ten thousand files take a fifth of it."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Offer:
    """One file that the hub has."""

    repository: str
    file: str
    revision: str
    """What was asked for, as "main"."""
    commit: str
    """What that is now: 40 hexadecimal digits."""
    size: int
    sha256: str
    """Checksum by the hub; also the file's name in the cache."""
    url: str

    @property
    def what(self) -> str:
        """Its name for messages."""
        return f"{self.repository}/{self.file}"


def ask(reference: Reference) -> Offer:
    """Ask the hub for the file that `reference` names, in each repository in turn.

    Raises `HubError`; a repository that is not there is only an error when it is the last.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    missing: list[str] = []
    for repository in reference.repositories:
        last = repository == reference.repositories[-1]
        with told(repository):
            try:
                listing = _listing(repository, reference.revision)
            except RepositoryNotFoundError:
                if last and not missing:
                    raise
                continue
        file = reference.choose(list(listing.files))
        if file is not None:
            return _offer(listing, file, reference.revision)
        missing.append(f"{repository} has {_types(list(listing.files))}")
    wanted = reference.file or f"{reference.type} file"
    raise HubError(
        f"The hub has no {wanted}: {'; '.join(missing) or 'none of the repositories is there'}",
        "Choose one of these, as NAME:q8_0 or OWNER/NAME:FILE.gguf",
    )


@dataclass(frozen=True, slots=True)
class _Listing:
    """What the hub tells of a repository. It is not trusted: names and numbers may be anything."""

    repository: str
    """A renamed one answers under its new name."""
    commit: str
    files: dict[str, dict[str, Any]]


def _listing(repository: str, revision: str) -> _Listing:
    """Raises `HubError` where the answer is no hub's, and whatever `told` tells."""
    from huggingface_hub import constants
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(repository)
    url = f"{constants.ENDPOINT}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        body = json.loads(_answer(repository, url))
        files = {str(item["rfilename"]): item for item in body.get("siblings") or ()}
        return _Listing(str(body.get("id") or repository), str(body.get("sha")), files)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _no_hub(repository, type(error).__name__) from None


def _answer(repository: str, url: str) -> bytes:
    """What comes from `url`, which is no more than a hub has to say."""
    import httpx2
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    body = bytearray()
    headers = build_hf_headers(library_name="smallchat")
    with get_session().stream("GET", url, headers=headers, timeout=SECONDS) as response:
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise _no_hub(repository, f"its answer is longer than {MOST_BYTES >> 20} MB")
        told = [(name, value) for name, value in response.headers.items() if name != "content-encoding"]
        # The client would read an error's text to the end, however long that is.
        read = httpx2.Response(
            response.status_code, headers=told, content=bytes(body), request=response.request
        )
    hf_raise_for_status(read)
    return read.content


def _no_hub(repository: str, why: str) -> HubError:
    what = f"{repository}: what answers there is no hub ({why})"
    return HubError(what, "Check HF_ENDPOINT and the proxy")


def _offer(listing: _Listing, file: str, revision: str) -> Offer:
    from huggingface_hub import hf_hub_url

    repository, commit, item = listing.repository, listing.commit, listing.files[file]
    # These become a path on this disk.
    if not is_repository(repository) or not is_inside(file):
        what = f"{repository[:100]}/{file[:100]}: the hub tells a name that no file can have here"
        raise HubError(what, "Check HF_ENDPOINT, or fetch the file with a browser")
    size, lfs = item.get("size"), item.get("lfs")
    sha256 = str(lfs.get("sha256")) if isinstance(lfs, dict) else ""
    if (
        not _COMMIT.fullmatch(commit)
        or not _SHA256.fullmatch(sha256)
        or not isinstance(size, int)
        or not 1 <= size < 1 << 60
    ):
        what = f"{repository}/{file}: the hub does not tell its size and checksum"
        raise HubError(what, "Check HF_ENDPOINT, or fetch the file with a browser")
    with told(repository):
        url = hf_hub_url(repository, file, revision=commit)
    return Offer(repository, file, revision, commit, size, sha256, url)


def _types(files: list[str]) -> str:
    models = [file for file in files if file.lower().endswith(".gguf")]
    return ", ".join(model[:100] for model in models[:20]) or "no .gguf file"
