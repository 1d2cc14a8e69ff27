"""Every error a user can cause, as one tree; `cli.py` prints each as one line and exits with 1.

    HeadstartError
    ├── ArgumentInvalid    (ValueError)         an argument or option is out of range, unknown or without use
    │   └── ArgumentOfWrongType  (TypeError)    it is of a type that can't be meant
    ├── FeaturesNotFound   (FileNotFoundError)  no complete feature set answers
    ├── FeaturesAmbiguous  (LookupError)        several answer
    ├── FeaturesStale      (ValueError)         a set exists, made from something else
    ├── FeaturesDamaged    (ValueError)         a file is missing, altered or not of our layout
    │   └── FeaturesOfAnotherVersion            whole perhaps, in a layout that this version doesn't know
    ├── FeaturesInvalid    (ValueError)         the numbers can't be used: not finite, one class only, wrong D
    ├── DataNotFound       (FileNotFoundError)  a data set is not where it was said to be
    ├── DataInvalid        (ValueError)         a data set's files are not what they should be
    ├── ImageUnreadable    (ValueError)         one picture can't be decoded
    │   ├── ImageNotFound  (FileNotFoundError)  its file is not there
    │   └── ImageTooLarge                       it has more pixels than are decoded
    ├── WeightsNotFound    (FileNotFoundError)  a backbone's weights can't be had
    ├── WeightsMismatch    (ValueError)         weights that don't fit the backbone, or are not the recorded ones
    ├── OutOfMemory        (MemoryError)        the device has no room for a batch of this size
    ├── DeviceUnavailable  (RuntimeError)       the device or precision asked for is not there
    ├── WorkerLost         (RuntimeError)       processes that compute died, again and again
    ├── RunNotFound        (FileNotFoundError)  no trained head answers
    └── RunDamaged         (ValueError)         a head or its record is altered or not of our layout

It lives in `cache` because that is the one room which all the others may import.
"""


class HeadstartError(Exception):
    """Base of all errors whose message is meant for the user: place, found, expected, next step."""


class ArgumentInvalid(HeadstartError, ValueError):
    """An argument of a call or an option of a command is out of range, unknown or without use; the message names it."""


class ArgumentOfWrongType(ArgumentInvalid, TypeError):
    """An argument is of a type that can't be meant."""


class FeaturesNotFound(HeadstartError, FileNotFoundError):
    """No complete feature set answers what was asked for."""


class FeaturesAmbiguous(HeadstartError, LookupError):
    """Several feature sets answer; the message lists them and the option that tells them apart."""


class FeaturesStale(HeadstartError, ValueError):
    """A feature set exists that was made from something else; the message names the field or the rows."""


class FeaturesDamaged(HeadstartError, ValueError):
    """A file of a feature set is missing, altered or not of our layout."""


class FeaturesOfAnotherVersion(FeaturesDamaged):
    """A manifest of another version of the layout: never made anew in silence, a newer headstart may need it."""


class FeaturesInvalid(HeadstartError, ValueError):
    """Features or labels that no head can be trained on, or that don't fit the head."""


class DataNotFound(HeadstartError, FileNotFoundError):
    """A data set, or the part of it that was asked for, is not there."""


class DataInvalid(HeadstartError, ValueError):
    """A data set's files are not what its format says."""


class ImageUnreadable(HeadstartError, ValueError):
    """One picture can't be decoded whole."""


class ImageNotFound(ImageUnreadable, FileNotFoundError):
    """One picture's file is not there."""


class ImageTooLarge(ImageUnreadable):
    """One picture has more pixels than are decoded."""


class WeightsNotFound(HeadstartError, FileNotFoundError):
    """A backbone's weights are not on this machine and can't be downloaded."""


class WeightsMismatch(HeadstartError, ValueError):
    """Weights that don't fit the backbone, or whose SHA-256 is not the recorded one."""


class DeviceUnavailable(HeadstartError, RuntimeError):
    """The device or the precision asked for is not available here."""


class OutOfMemory(HeadstartError, MemoryError):
    """The device has no room for a batch of this size; a smaller one may fit."""


class WorkerLost(HeadstartError, RuntimeError):
    """A process that computes died, and others that took its place did so too."""


class RunNotFound(HeadstartError, FileNotFoundError):
    """No trained head answers what was asked for."""


class RunDamaged(HeadstartError, ValueError):
    """A head file or a run record is altered or not of our layout."""
