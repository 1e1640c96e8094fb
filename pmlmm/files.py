"""Results are written to files whole or not at all."""

import contextlib
import io
import os
import re
import secrets
from typing import TYPE_CHECKING

from pmlmm.errors import OptionError

if TYPE_CHECKING:
    import xarray as xr

NETCDF = (".nc", ".nc4", ".netcdf", ".h5", ".hdf5")


def is_remote(path: str) -> bool:
    """Whether this is an address such as https://... and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def in_words(error: Exception) -> str:
    """The reason of an error of the operating system, of a library its first line."""
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "") or type(error).__name__
    return reason[0].lower() + reason[1:].rstrip(".")


def netcdf_target(path: str | os.PathLike) -> str:
    """Where a netCDF file of this name goes; see :func:`target_of`."""
    return target_of(path, NETCDF, "netCDF", "fit")


def target_of(path: str | os.PathLike, endings: tuple[str, ...], what: str, usual: str) -> str:
    """Where a file of this name goes, links followed.

    Parameters
    ----------
    path : str or path
    endings : tuple of str
        Of the names that say what is in it; the first one is proposed.
    what, usual : str
        What is written, in words, and a usual name without its ending.

    Raises
    ------
    OptionError
        No file can be written there.
    """
    given = os.fspath(path)
    if is_remote(given):
        raise OptionError(f"{given!r}: pmlmm writes local files only.")
    target = os.path.realpath(os.path.expanduser(given))
    if os.path.isdir(target):
        raise OptionError(f"{given!r} is a folder; give the name of a file in it.")
    if os.path.islink(target) or (os.path.exists(target) and not os.path.isfile(target)):
        raise OptionError(f"{given!r} is a device, a pipe or a circle of links; give the name of a file.")
    if os.path.splitext(given)[1].lower() not in endings:
        name = os.path.splitext(os.path.basename(given))[0] or usual
        raise OptionError(
            f"{given!r}: what is written is {what}; give it a name that says so, such as {name}{endings[0]}."
        )
    _check_place(given, target)
    return target


def _check_place(given: str, target: str) -> None:
    """The folder takes a new file, and what is at the target may be replaced."""
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise OptionError(f"{given!r}: the folder {folder!r} does not exist.")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise OptionError(f"{given!r} is write-protected.")
    with _errors_in_words(given):
        temporary = _beside(target)
        open(temporary, "xb").close()
        os.unlink(temporary)


def write_netcdf(tree: "xr.DataTree", path: str | os.PathLike) -> None:
    """Write a tree as netCDF; what was at ``path`` is whole until its successor is.

    Raises
    ------
    OptionError
        It cannot be written; nothing has changed then.
    """
    target = netcdf_target(path)
    with _errors_in_words(os.fspath(path)):
        content = netcdf(tree)
    write(content, path, target)


def write(content: bytes, path: str | os.PathLike, target: str) -> None:
    """Write a file; what was at ``target``, to which ``path`` leads, is whole until its successor is.

    Raises
    ------
    OptionError
        It cannot be written; nothing has changed then.
    """
    with _errors_in_words(os.fspath(path)):
        replace(target, content)


def netcdf(tree: "xr.DataTree") -> bytes:
    """The content of a netCDF file.

    Made in memory: HDF5 that meets a full disk cannot close its file, tries again at exit and dies there.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:  # DataTree.to_netcdf takes a buffer from xarray 2025.8 on
        for node in tree.subtree:
            group = H5NetCDFStore(file, group=node.path, mode="a")
            node.to_dataset(inherit=node is tree).dump_to_store(group)
    return buffer.getvalue()


def replace(target: str, content: bytes) -> None:
    """Put ``content`` in the place of a file in one step, on the disk when it returns; no links are followed.

    Whatever stops it leaves the earlier file as it was; what is half written is taken away, unless the process is
    killed outright.
    """
    temporary = _beside(target)
    try:
        with open(temporary, "xb") as stream:
            _take_over_mode(temporary, target)  # before there is anything to read
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(target))


def _beside(target: str) -> str:
    """A new name in the same folder, not longer than a file system allows."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:200])}.{secrets.token_hex(4)}.tmp")


def _take_over_mode(temporary: str, target: str) -> None:
    """Owner and mode of the file that is replaced, where the system and the file system have them."""
    if os.path.exists(target):
        earlier = os.stat(target)
        with contextlib.suppress(OSError, AttributeError):
            os.chown(temporary, earlier.st_uid, earlier.st_gid)
        with contextlib.suppress(OSError):
            os.chmod(temporary, earlier.st_mode & 0o7777)


def _sync_folder(folder: str) -> None:
    """The new name is on the disk too, where a folder can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _errors_in_words(given: str):
    try:
        yield
    except (OSError, TypeError, ValueError) as error:
        unchanged = " The file of that name is as it was." if os.path.exists(os.path.expanduser(given)) else ""
        raise OptionError(f"Cannot write {given!r}: {in_words(error)}.{unchanged}") from error
