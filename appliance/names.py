"""Names as clients ask for them, made into paths relative to the boot tree's root."""

import os

STATE = ".rootwire"  # the folder of what the appliance remembers; nobody else's business
UPLOADS = "upload"  # the folder that clients may write to; nothing of it is served back: it is hostile text
IMAGES = "image/"
PATH_MAX = 1024  # characters of a name; longer ones are no file of ours
INSIDE = "/-/"  # ends the name of an image: what follows is a path inside it


def normalise(name: str) -> str:
    """A requested name as a path relative to the root: slashes for backslashes, none at the start, none doubled.

    Raises: PermissionError for a name that climbs out (`..`) or holds control characters; FileNotFoundError for an
    empty or over-long one.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise PermissionError(f"{name!r} leaves the boot tree")
    if not parts or len(name) > PATH_MAX or not _is_encodable(name):
        raise FileNotFoundError(name)
    return "/".join(parts)


def _is_encodable(name: str) -> bool:
    """Whether the file system could hold such a name at all: lone surrogates are text of no file."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def split_inside(name: str) -> tuple[str, str] | None:
    """A requested name as an image's path and a path inside that image, as asked for; None when it has no "/-/".

    The second part may hold whatever a file's name can: it is looked up in the image, which has no outside.
    """
    spelled = name.replace("\\", "/")
    at = spelled.find(INSIDE)
    if at < 0 or not _is_encodable(name):
        return None
    return "/".join(part for part in spelled[:at].split("/") if part not in ("", ".")), name[at + len(INSIDE) :]
