"""The engine of ``gossan new``: look at a folder's files, draft a study that runs."""

from gossan.draft.facts import FileFacts, inspect_folder
from gossan.draft.writing import draft_study

__all__ = ["FileFacts", "draft_study", "inspect_folder"]
