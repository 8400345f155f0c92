"""A pipeline's folder to the Hugging Face Hub, where `from_pretrained("owner/name")` and `--model owner/name` find it."""

from __future__ import annotations

from pathlib import Path

from inference.models.components import TrainingRecord
from inference.pipeline.folder import HUB_PATTERNS, read_pipeline_file
from manifests.errors import UserError


def push_folder(
    folder: str | Path,
    repo_id: str,
    message: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    create_pr: bool = False,
) -> str:
    """Uploads a folder that training or `save_pretrained` wrote as one commit, and makes the repository if there is none.

    Args:
        repo_id: owner/name. A README.md that the repository has already is kept.
        private: of a new repository; None is the owner's default.
        token: None takes the one of `hf auth login` or HF_TOKEN.

    Returns: the commit's address, or that of the pull request.

    Raises:
        UserError: no pipeline there, no token, no such name, or the Hub refused; one line.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # the last one its HTTP library's

    folder = Path(folder)
    record = read_pipeline_file(folder)[1]
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise UserError(f"{repo_id!r} is no repository on the Hub: its id has the form owner/name")
    token = token or get_token()
    if not token:
        raise UserError("uploading to the Hub needs a token that may write: `hf auth login`, or set HF_TOKEN")
    files = sorted({file for pattern in HUB_PATTERNS for file in folder.glob(pattern)})
    operations = [CommitOperationAdd(str(file.relative_to(folder).as_posix()), file) for file in files]
    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if not (folder / "README.md").is_file() and not api.file_exists(repo_id, "README.md"):
            operations.append(CommitOperationAdd("README.md", _card(repo_id, record).encode()))
        done = api.create_commit(repo_id, operations, commit_message=message or "Upload MegActorSigmaPipeline", create_pr=create_pr)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        why = "the token is wrong or may not write there" if status in (401, 403) else _line(error)
        raise UserError(f"the Hub refused {repo_id}: {why}") from error
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} is no repository on the Hub: {_line(error)}") from error
    except (HTTPError, OSError) as error:
        raise UserError(f"the Hub cannot be reached ({api.endpoint}): {_line(error)}") from error
    return done.pr_url or done.commit_url


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _card(repo_id: str, record: TrainingRecord) -> str:
    learnt = f", on {record.trained_on}" if record.trained_on else ""
    return f"""---
pipeline_tag: image-to-video
tags: [portrait-animation, diffusion, megactor-sigma]
---
# A MegActor-Σ, open, pipeline: stage {record.stage}, {record.step:,} steps{learnt}

It animates one portrait by the eyes and mouth of a driving video, by speech, or by both:

    python -m inference animate -r me.png -d you.mp4 -o out.mp4 --model {repo_id}

The model makes people appear to do and say what they did not. Animate only faces whose owners agreed, and say that the result is synthetic.
"""
