"""The checksums that come with an image, compared with what was read, and those it is to have in the tree."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from appliance.errors import OperatorError
from appliance.importing.recognising import TEXT_MOST
from appliance.importing.staging import Staged
from appliance.kiwi.sums import checksum_line, parse_checksum_line

# What sha256sum and md5sum write: SUM, two blanks or a star, a name.
_TOOLS_LINE = re.compile(rb"([0-9a-fA-F]{32}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?:[ \t]+\*?[^\n]*)?\n?")


@dataclass(frozen=True, slots=True)
class Content:
    """What an image is, uncompressed."""

    size: int
    md5: str
    sha256: str

    def lines(self, packed: int | None) -> dict[str, bytes]:
        """The checksum files by suffix; `packed` is the size of the compressed form, where that is served."""
        return {
            ".md5": checksum_line(self.md5, self.size, packed),
            ".sha256": checksum_line(self.sha256, self.size, packed),
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """What a checksum file says of an image; sizes are None where it is none of KIWI's."""

    name: str
    digest: str
    size: int | None
    packed: int | None


def read_claim(staged: Staged) -> Claim:
    """What a checksum file says. Raises: OperatorError when it is none."""
    text = staged.path.read_bytes()[:TEXT_MOST]
    try:
        line = parse_checksum_line(text)
    except ValueError:
        found = _TOOLS_LINE.fullmatch(text)
        if found is None:
            raise OperatorError(f"{staged.name} is no checksum file", "leave it out, or build it again") from None
        return Claim(staged.name, found[1].decode().lower(), None, None)
    return Claim(staged.name, line.digest, line.size, line.packed)


def bounded(chunks: Iterator[bytes], claims: Sequence[Claim]) -> Iterator[bytes]:
    """The same chunks; an OperatorError ends them once they are more than a claim says, as bombs are."""
    limit = min((claim for claim in claims if claim.size is not None), key=lambda claim: claim.size or 0, default=None)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if limit is not None and size > (limit.size or 0):
            raise _other_image(limit, f"it has more than {limit.size} bytes")
        yield chunk


def measure(chunks: Iterator[bytes], advance: Callable[[int], None]) -> Content:
    """What `chunks` are together."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        md5.update(chunk)
        sha256.update(chunk)
        advance(len(chunk))
    return Content(size, md5.hexdigest(), sha256.hexdigest())


def verify(claims: Sequence[Claim], content: Content, file: Staged, sha512: Callable[[], str]) -> None:
    """Compare what is claimed of an image with what it is; `file` is as it came, maybe compressed.

    `sha512` makes that sum of the image. Raises: OperatorError when they differ.
    """
    for claim in claims:
        if claim.size is not None and claim.size != content.size:
            raise _other_image(claim, f"it has {content.size} bytes, not {claim.size}")
        if claim.packed is not None and claim.packed != file.size:
            raise _other_image(claim, f"compressed it has {file.size} bytes, not {claim.packed}")
        match len(claim.digest):
            case 32:
                sums = {content.md5, file.md5}
            case 64:
                sums = {content.sha256, file.sha256}
            case _:
                sums = {sha512()}
        if claim.digest not in sums:
            raise _other_image(claim, "its checksum is another")


def _other_image(claim: Claim, why: str) -> OperatorError:
    return OperatorError(f"the image is not what {claim.name} says: {why}", "fetch it anew, or build it again")
