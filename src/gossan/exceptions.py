"""What gossan raises when the user's files or settings are at fault, and what it warns of."""


class GossanError(Exception):
    """Base of every error whose message is meant for the user: what, where, and the remedy."""


class StudyError(GossanError, ValueError):
    """A study file asks for what cannot be: an unknown key, a missing file, a bad value."""


class SurveyDataError(GossanError, ValueError):
    """A survey file holds what cannot be used: text in a number column, no CRS, corrupt bytes."""


class LabelError(GossanError, ValueError):
    """The deposits cannot label this area: none, one, outside, or in another CRS."""


class SurveyDataWarning(UserWarning):
    """Something in the survey's data that the user should look at, though the run can go on."""


class TrainingError(GossanError, RuntimeError):
    """A network cannot be trained: its loss is no longer a number, or it has nothing to learn."""
