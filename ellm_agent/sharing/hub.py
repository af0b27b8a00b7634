"""Shared agents on the Hugging Face hub. The token comes from HF_TOKEN (or ``hf auth login``), never from options."""

from __future__ import annotations

from pathlib import Path

from ellm_agent.errors import UserError
from ellm_agent.sharing.folder import AGENT, CARD, CONFIG, GIF, LICENCE, RESULTS, WEIGHTS

PREFIX = "hub:"  # of an address: hub:USER/NAME
FILES = (CARD, AGENT, WEIGHTS, CONFIG, RESULTS, GIF, LICENCE)


def push(folder: Path, repository: str) -> str:
    """Uploads a folder; makes the repository if there is none. Returns its address.

    Args:
        folder: of a shared agent.
        repository: USER/NAME.

    Raises:
        UserError: if the hub refuses, or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message="Share an agent",
        )
    except Exception as error:  # of HTTP, of the hub, of names: many kinds, all the user's to correct
        raise UserError(
            f"cannot push to {repository}: {error}; {folder} is complete, push it again"
        ) from error
    return str(address)


def pull(repository: str) -> Path:
    """Downloads a shared agent, or finds it in the hub's cache; the folder.

    Args:
        repository: USER/NAME.

    Raises:
        UserError: if there is none, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except Exception as error:  # as above
        raise UserError(f"cannot get {PREFIX}{repository}: {error}") from error
