"""A netCDF file with a seal behind it, which says that every byte is as it was written.

HDF5 can crash on a damaged file, so that nothing is given to it before the seal is found intact. Readers of netCDF
stop where HDF5 says that its file ends and do not see the seal.
"""

import hashlib
import os
import re

from pmlmm.errors import DataError
from pmlmm.files import in_words, is_remote

#: Version of what is inside; another one is refused.
VERSION = 1
_SEAL = re.compile(rb"\npmlmm fit, format (\d{4}), sha256 ([0-9a-f]{64})\n")
_LENGTH = len(b"\npmlmm fit, format 0001, sha256 \n") + 64
_AGAIN = "Copy it again from where it was whole, or fit and save anew."


def sealed(content: bytes, version: int = VERSION) -> bytes:
    """The content with its seal."""
    head = b"\npmlmm fit, format %04d, sha256 " % version
    return content + head + hashlib.sha256(content + head).hexdigest().encode() + b"\n"


def unsealed(path: str | os.PathLike) -> bytes:
    """The content of a sealed file.

    Raises
    ------
    DataError
        There is no such file, it is damaged or something else, or of another version.
    """
    given = os.fspath(path)
    everything = _read(given)
    content, seal = everything[:-_LENGTH], _SEAL.fullmatch(everything[-_LENGTH:])
    if seal is None:
        raise DataError(_without_seal(given, everything))
    head = everything[len(content) : -65]
    if hashlib.sha256(content + head).hexdigest().encode() != seal[2]:
        raise DataError(f"{given!r} is damaged: its content is not what was written. {_AGAIN}")
    if (version := int(seal[1])) != VERSION:
        raise DataError(
            f"{given!r} has format {version} of saved fits, this pmlmm reads format {VERSION}: "
            + ("update pmlmm." if version > VERSION else "load it with the older pmlmm that wrote it, or fit anew.")
        )
    return content


def _read(given: str) -> bytes:
    if is_remote(given):
        raise DataError(f"{given!r}: pmlmm reads local files only.")
    target = os.path.expanduser(given)
    if os.path.exists(target) and not os.path.isfile(target):
        raise DataError(f"{given!r} is no file; give the name of one that fit.save() wrote.")
    try:
        with open(target, "rb") as stream:
            return stream.read()
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {given!r}: {in_words(error)}.") from error


def _without_seal(given: str, everything: bytes) -> str:
    if not everything.startswith(b"\x89HDF\r\n\x1a\n"):
        return f"{given!r} is not a saved fit; pmlmm.load() reads what fit.save('fit.nc') wrote."
    return (
        f"{given!r} is netCDF, but not a whole fit: it holds something else (draws, as pmlmm fit --out writes them, "
        f"are read by xarray.open_datatree), or it was cut off. {_AGAIN}"
    )
