"""One user at a time of a writable image: the newest, once it does anything."""

from typing import Any

from storage.image import Image

class Tenure:
    """Who may use `image`; for one thread, while its leases are for any."""

    def __init__(self, image: Image) -> None: ...
    @property
    def image(self) -> Image: ...
    def lease(self) -> LeaseImage:
        """A lease that comes into force with its first operation, and ends every earlier one."""

class LeaseImage(Image):
    """The image for one user; once a newer lease is in force, all of its operations fail with ESTALE."""

    @property
    def tenure(self) -> Tenure: ...
    @property
    def is_over(self) -> bool:
        """Whether a newer lease is in force."""

__test__: dict[str, Any]
