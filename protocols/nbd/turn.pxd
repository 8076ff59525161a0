# One client's turn: requests taken in and answered, until nothing is left to do or others must have theirs.
from protocols.nbd.station cimport Client, Parcel, Station

cdef void take_turn(Station *station, Client *client) noexcept nogil
cdef void take_back(Station *station, Parcel *parcel) noexcept nogil
