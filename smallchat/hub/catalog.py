"""What the hub has under a name: repository, file, size and checksum, before anything is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smallchat.errors import HubError
from smallchat.hub.known import Reference
from smallchat.hub.problems import told

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
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    missing: list[str] = []
    for repository in reference.repositories:
        last = repository == reference.repositories[-1]
        with told(repository):
            try:
                info = HfApi(library_name="smallchat").model_info(
                    repository, revision=reference.revision, files_metadata=True, timeout=20
                )
            except RepositoryNotFoundError:
                if last and not missing:
                    raise
                continue
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, HFValidationError):
                    raise
                what = f"{repository}: what answers there is no hub ({type(error).__name__})"
                raise HubError(what, "Check HF_ENDPOINT and the proxy") from None
        sizes = {item.rfilename: item for item in info.siblings or ()}
        file = reference.choose(list(sizes))
        if file is not None:
            # A renamed repository answers under its new name.
            return _offer(str(info.id or repository), file, reference.revision, str(info.sha), sizes[file])
        missing.append(f"{repository} has {_types(list(sizes))}")
    wanted = reference.file or f"{reference.type} file"
    raise HubError(
        f"The hub has no {wanted}: {'; '.join(missing) or 'none of the repositories is there'}",
        "Choose one of these, as NAME:q8_0 or OWNER/NAME:FILE.gguf",
    )


def _offer(repository: str, file: str, revision: str, commit: str, item: object) -> Offer:
    from huggingface_hub import hf_hub_url

    size, lfs = getattr(item, "size", None), getattr(item, "lfs", None)
    sha256 = str(getattr(lfs, "sha256", "") or "")
    # The hub is not trusted either: these become a path on this disk.
    if (
        not _COMMIT.fullmatch(commit)
        or not _SHA256.fullmatch(sha256)
        or not isinstance(size, int)
        or size < 1
    ):
        what = f"{repository}/{file}: the hub does not tell its size and checksum"
        raise HubError(what, "Check HF_ENDPOINT, or fetch the file with a browser")
    url = hf_hub_url(repository, file, revision=commit)
    return Offer(repository, file, revision, commit, size, sha256, url)


def _types(files: list[str]) -> str:
    models = [file for file in files if file.lower().endswith(".gguf")]
    return ", ".join(models[:20]) or "no .gguf file"
