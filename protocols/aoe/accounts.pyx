# cython: language_level=3
"""Who uses which target, as C: accounts by machine and target, bounded, the quietest forgotten first."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from storage.trace cimport Trace

from protocols.aoe.initiators import Initiator
from protocols.ethernet import format_mac, parse_mac


cdef inline uint32_t bucket_of(const Table *table, uint64_t mac, uint32_t address) noexcept nogil:
    cdef uint64_t key = (mac ^ (<uint64_t> address << 36)) * <uint64_t> 0x9E3779B97F4A7C15
    return <uint32_t> (key >> 40) & table.mask


cdef void unlink(Table *table, Account *account) noexcept nogil:
    # Out of the order of who was heard last.
    if account.quieter == NULL:
        table.quietest = account.louder
    else:
        account.quieter.louder = account.louder
    if account.louder == NULL:
        table.loudest = account.quieter
    else:
        account.louder.quieter = account.quieter


cdef void append(Table *table, Account *account) noexcept nogil:
    account.quieter = table.loudest
    account.louder = NULL
    if table.loudest == NULL:
        table.quietest = account
    else:
        table.loudest.louder = account
    table.loudest = account


cdef void remove(Table *table, Account *account) noexcept nogil:
    cdef Account **link = &table.buckets[bucket_of(table, account.mac, account.address)]
    while link[0] != account:
        link = &link[0].next_of_bucket
    link[0] = account.next_of_bucket
    unlink(table, account)
    account.next_of_bucket = table.spare
    table.spare = account


cdef Account *vacant(Table *table) noexcept nogil:
    cdef Account *account
    if table.spare == NULL and table.used < table.limit:
        account = &table.accounts[table.used]
        table.used += 1
        return account
    if table.spare == NULL:
        remove(table, table.quietest)
    account = table.spare
    table.spare = account.next_of_bucket
    return account


cdef Account *find(const Table *table, uint64_t mac, uint32_t address) noexcept nogil:
    cdef Account *account = table.buckets[bucket_of(table, mac, address)]
    while account != NULL and (account.mac != mac or account.address != address):
        account = account.next_of_bucket
    return account


cdef Account *touch(Table *table, uint64_t mac, uint32_t address, double now) noexcept nogil:
    # The account of a machine at a target, opened at `now` when there is none; never NULL.
    cdef uint32_t bucket
    cdef Account *account = find(table, mac, address)
    if account != NULL:
        if account.louder != NULL:
            unlink(table, account)
            append(table, account)
        return account
    account = vacant(table)
    bucket = bucket_of(table, mac, address)
    account[0] = Account(mac, address, False, False, 0, 0, 0, now, NULL, table.buckets[bucket], NULL, NULL)
    table.buckets[bucket] = account
    append(table, account)
    return account


cdef void count_command(Account *account, uint64_t read, uint64_t written) noexcept nogil:
    # Any ATA command but IDENTIFY, with the bytes it asked to move.
    account.is_identified = False
    account.commands += 1
    account.bytes_read += read
    account.bytes_written += written


cdef uint64_t number_of(mac) except? 0:
    return int.from_bytes(parse_mac(mac), "big")


cdef uint32_t address_of(uint16_t shelf, uint8_t slot) noexcept:
    return <uint32_t> shelf << 8 | slot


cdef object initiator_of(const Account *account):
    return Initiator(
        format_mac(int(account.mac).to_bytes(6, "big")),
        account.address >> 8,
        account.address & 0xFF,
        account.bytes_read,
        account.bytes_written,
        account.commands,
        account.since,
    )


cdef object drop_ended_traces(Ledger ledger):
    cdef Account *account
    cdef Trace trace
    for key, trace in list(ledger.traces.items()):
        if trace.record.is_over:
            account = find(&ledger.table, key[0], key[1])
            if account != NULL:
                account.trace = NULL
            del ledger.traces[key]


cdef class Ledger:
    def __cinit__(self, uint32_t limit):
        cdef uint32_t buckets = 1
        if not 0 < limit <= 1 << 24:
            raise ValueError(f"{limit} accounts: from 1 to {1 << 24} can be kept")
        self.traces = {}
        while buckets < limit:
            buckets *= 2
        self.table.limit = limit
        self.table.mask = buckets - 1
        self.table.accounts = <Account *> calloc(limit, sizeof(Account))
        self.table.buckets = <Account **> calloc(buckets, sizeof(Account *))
        if self.table.accounts == NULL or self.table.buckets == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.table.accounts)
        free(self.table.buckets)

    def note_command(self, str mac not None, uint16_t shelf, uint8_t slot, double now, *, uint64_t read=0, uint64_t written=0):
        count_command(touch(&self.table, number_of(mac), address_of(shelf, slot), now), read, written)

    def note_identify(self, str mac not None, uint16_t shelf, uint8_t slot, double now):
        cdef Account *account = touch(&self.table, number_of(mac), address_of(shelf, slot), now)
        cdef bint is_new = not account.is_identified
        account.is_identified = True
        account.commands += 1
        return is_new

    def note_query(self, str mac not None, uint16_t shelf, uint8_t slot, double now):
        touch(&self.table, number_of(mac), address_of(shelf, slot), now).is_identified = False

    def trace(self, str mac not None, uint16_t shelf, uint8_t slot, double now, Trace trace not None):
        cdef Account *account = touch(&self.table, number_of(mac), address_of(shelf, slot), now)
        drop_ended_traces(self)
        self.traces[account.mac, account.address] = trace
        account.trace = &trace.record

    def await_command(self, str mac not None):
        cdef uint64_t number = number_of(mac)
        cdef Account *account = self.table.quietest
        while account != NULL:
            if account.mac == number:
                account.is_told = False
            account = account.louder

    def forget(self, uint16_t shelf, uint8_t slot):
        cdef uint32_t address = address_of(shelf, slot)
        cdef Account *account = self.table.quietest
        cdef Account *following
        while account != NULL:
            following = account.louder
            if account.address == address:
                remove(&self.table, account)
            account = following

    def snapshot(self):
        cdef Account *account = self.table.quietest
        found = []
        while account != NULL:
            if account.commands:
                found.append(initiator_of(account))
            account = account.louder
        return found
