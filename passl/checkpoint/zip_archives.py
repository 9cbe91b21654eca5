"""Zip archives as PyTorch writes them: where each record stands, after everything that could be read two ways is refused.

An archive says everything twice, in the directory at its end and in a header before each record; parsers differ in what
they believe. Here both must agree, the records must follow one another without overlap or gap, and no name may stand
twice. Records are taken as they stand in the file: nothing is decompressed, so nothing can grow. Checksums are compared
when a record is read, unless the archive says 0, which PyTorch writes when told to compute none.

Format: APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3; records of more than 4 GB have their sizes in an extra field.
"""

from __future__ import annotations

import struct
import zlib
from typing import Dict, List, NamedTuple, NoReturn, Optional, Set, Tuple

from passl.checkpoint.mapped_files import MappedFile
from passl.utils.errors import UserError

_MAX_RECORDS = 200_000
_MAX_DIRECTORY = 64 << 20
_STORED = 0
# Bits of a record's flags: 1 and 2 say how hard the packer tried, 3 that sizes follow the record, 11 that its name is UTF-8.
_KNOWN_FLAGS = 0b1000_0000_1110
_SIZES_FOLLOW = 1 << 3
# What follows a record then: the checksum and two sizes of 4 or 8 bytes, often after a mark. By its length.
_TRAILER_MARK = b"PK\x07\x08"
_TRAILERS = {16: "<4sIII", 24: "<4sIQQ", 12: "<III", 20: "<IQQ"}

_END = struct.Struct("<4sHHHHIIH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_HEADER = struct.Struct("<4sHHHHHIIIHH")


class Record(NamedTuple):
    """One record of an archive.

    Attributes:
        name: its path in the archive.
        position: where its bytes begin in the file.
        size: how many there are.
        is_stored: whether they stand there as they are.
        checksum: their CRC-32, or 0 where none was computed.
    """

    name: str
    position: int
    size: int
    is_stored: bool
    checksum: int


class _Entry(NamedTuple):
    """What the directory says of a record."""

    name: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    header: int


class ZipArchive:
    """The records of an archive by name.

    Raises:
        UserError: truncated, contradicting itself, or holding what archives of weights do not need.
    """

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        self._verified: Set[str] = set()
        position, size, count, end = self._directory()
        entries = self._entries(position, size, count)
        self.records = self._located(entries, position, end)

    def refuse(self, reason: str) -> NoReturn:
        """Raises `UserError` with the file and the reason."""
        raise UserError(f"{self.file.path}: {reason}. Nothing was loaded; get this file again")

    def place(self, record: Record) -> Tuple[int, int]:
        """Begin and length of a record in the file, after its checksum was compared (once).

        Raises:
            UserError: compressed, or altered.
        """
        if not record.is_stored:
            self.refuse(
                f"its record {record.name[:80]!r} is compressed, and PyTorch stores the ones with weights plainly"
            )
        if record.name not in self._verified and record.checksum:
            checksum = 0
            for begin in range(0, record.size, 1 << 20):
                part = self.file.read(record.position + begin, min(1 << 20, record.size - begin))
                checksum = zlib.crc32(part, checksum)
            if checksum != record.checksum:
                self.refuse(f"its record {record.name[:80]!r} was altered: its checksum differs from the recorded one")
        self._verified.add(record.name)
        return record.position, record.size

    def read(self, record: Record, limit: int) -> bytes:
        """The bytes of a small record.

        Raises:
            UserError: compressed, altered, or longer than `limit`.
        """
        if record.size > limit:
            self.refuse(f"its record {record.name[:80]!r} has {record.size:,} bytes, {limit:,} are allowed")
        return bytes(self.file.read(*self.place(record)))

    def _directory(self) -> Tuple[int, int, int, int]:
        """Begin, size and number of entries of the directory, and where all records end."""
        position = self.file.size - _END.size
        mark, disk, first_disk, here, count, size, begin, comment = self._unpack(_END, position)
        if mark != b"PK\x05\x06":
            self.refuse("the file is truncated or altered: the directory at the end of the zip archive is missing")
        if disk or first_disk or here != count or comment:
            self.refuse("the end of its directory announces several parts or a comment")
        if position >= _LOCATOR.size:
            mark, disk, wide, disks = self._unpack(_LOCATOR, position - _LOCATOR.size)
            if mark == b"PK\x06\x07":
                position -= _LOCATOR.size + _END_64.size
                if disk or disks != 1 or wide != position:
                    self.refuse("the second end of its directory is not where the first says")
                short = here, count, size, begin
                mark, length, *_, disk, first_disk, here, count, size, begin = self._unpack(_END_64, position)
                if mark != b"PK\x06\x06" or length != _END_64.size - 12 or disk or first_disk or here != count:
                    self.refuse("the second end of its directory is altered")
                limits = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
                for said, limit, value in zip(short, limits, (here, count, size, begin)):
                    if said not in (limit, value):
                        self.refuse("the two ends of its directory contradict each other")
        if begin + size != position:
            self.refuse("the file is truncated or altered: its directory is not where its end says")
        if count > _MAX_RECORDS or size > _MAX_DIRECTORY:
            self.refuse(
                f"it announces {count:,} records in a directory of {size:,} bytes, beyond what any weights need"
            )
        return begin, size, count, begin

    def _entries(self, position: int, size: int, count: int) -> List[_Entry]:
        directory = bytes(self.file.read(position, size))
        entries, at = [], 0
        for _ in range(count):
            if at + _ENTRY.size > size:
                self.refuse("its directory is shorter than it announces")
            fields = _ENTRY.unpack_from(directory, at)
            mark, _, _, flags, method, _, _, checksum, packed, length, names, extras, comments, disk, _, _, header = (
                fields
            )
            name = directory[at + _ENTRY.size : at + _ENTRY.size + names]
            extra = directory[at + _ENTRY.size + names : at + _ENTRY.size + names + extras]
            at += _ENTRY.size + names + extras + comments
            if mark != b"PK\x01\x02" or at > size:
                self.refuse("its directory is altered: an entry does not begin where the one before ends")
            if disk or comments or flags & ~_KNOWN_FLAGS:
                self.refuse(f"its record {_shown(name)} is encrypted, split or of an unknown kind")
            length, packed, header = self._wide(name, extra, (length, packed, header))
            entries.append(_Entry(name, flags, method, checksum, packed, length, header))
        if at != size:
            self.refuse(f"{size - at:,} bytes in its directory belong to no record")
        return entries

    def _wide(self, name: bytes, extra: bytes, values: Tuple[int, ...]) -> Tuple[int, ...]:
        """`values` with those that did not fit into 4 bytes taken from the extra field."""
        if 0xFFFFFFFF not in values:
            return values
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == 1:
                count = values.count(0xFFFFFFFF)
                if length < 8 * count or at + 4 + length > len(extra):
                    break
                wide = iter(struct.unpack_from(f"<{count}Q", extra, at + 4))
                return tuple(next(wide) if value == 0xFFFFFFFF else value for value in values)
            at += 4 + length
        self.refuse(f"its record {_shown(name)} announces sizes beyond 4 GB and does not say them")

    def _located(self, entries: List[_Entry], directory: int, end: int) -> Dict[str, Record]:
        records: Dict[str, Record] = {}
        position, before = 0, None
        for entry in sorted(entries, key=lambda entry: entry.header):
            if before is not None and entry.header < position:
                self.refuse(f"its records {_shown(before.name)} and {_shown(entry.name)} overlap")
            self._check_trailer(before, position, entry.header, f"its record {_shown(entry.name)}")
            begin = self._begin(entry, directory)
            position, before = begin + entry.packed, entry
            if position > end:
                self.refuse(f"its record {_shown(entry.name)} reaches beyond the end of all records")
            name = self._name(entry)
            if name in records:
                self.refuse(f"its record {name[:80]!r} stands twice in it")
            records[name] = Record(name, begin, entry.packed, entry.method == _STORED, entry.checksum)
        self._check_trailer(before, position, end, "its directory")
        return records

    def _check_trailer(self, entry: Optional[_Entry], position: int, end: int, after: str) -> None:
        """Between a record and what comes after it stand its checksum and sizes if its flags say so, and else nothing.

        PyTorch leaves them out for a record without bytes.
        """
        length = end - position
        if length == 0 and (entry is None or not entry.flags & _SIZES_FOLLOW or entry.size == 0):
            return
        if entry is None or not entry.flags & _SIZES_FOLLOW or length not in _TRAILERS:
            self.refuse(f"{length:,} bytes before {after} belong to no record")
        fields = self._unpack(struct.Struct(_TRAILERS[length]), position)
        mark = (_TRAILER_MARK,) if len(fields) == 4 else ()
        if fields != (*mark, entry.checksum, entry.packed, entry.size):
            self.refuse(f"what follows its record {_shown(entry.name)} contradicts the directory")

    def _begin(self, entry: _Entry, directory: int) -> int:
        """Where the bytes of a record begin, from the header before it, which must say what the directory says."""
        if entry.header + _HEADER.size + len(entry.name) > directory:
            self.refuse(f"its record {_shown(entry.name)} reaches beyond the end of all records")
        fields = self._unpack(_HEADER, entry.header)
        mark, _, flags, method, _, _, checksum, packed, size, names, extras = fields
        name = bytes(self.file.read(entry.header + _HEADER.size, len(entry.name)))
        if mark != b"PK\x03\x04" or names != len(entry.name) or name != entry.name:
            self.refuse(f"what stands at the place of its record {_shown(entry.name)} is not that record")
        begin = entry.header + _HEADER.size + names + extras
        if begin > directory:
            self.refuse(f"its record {_shown(entry.name)} reaches beyond the end of all records")
        extra = bytes(self.file.read(entry.header + _HEADER.size + names, extras))
        size, packed = self._wide(entry.name, extra, (size, packed))
        said, here = (entry.checksum, entry.packed, entry.size), (checksum, packed, size)
        is_later = flags & _SIZES_FOLLOW and here == (0, 0, 0)
        if flags != entry.flags or method != entry.method or not (is_later or here == said):
            self.refuse(f"the header of its record {_shown(entry.name)} contradicts the directory")
        if entry.method == _STORED and entry.packed != entry.size:
            self.refuse(f"its record {_shown(entry.name)} has two sizes")
        return begin

    def _name(self, entry: _Entry) -> str:
        try:
            name = entry.name.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"its record {_shown(entry.name)} has a name that is not UTF-8")
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
            self.refuse(f"its record {name[:80]!r} has a name that leads out of the archive")
        return name

    def _unpack(self, layout: struct.Struct, position: int) -> Tuple:
        if position < 0 or position + layout.size > self.file.size:
            self.refuse("the file is truncated: it is too short for a zip archive")
        return layout.unpack(self.file.read(position, layout.size))


def looks_like_zip(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a zip archive with a record."""
    return start.startswith(b"PK\x03\x04")


def _shown(name: bytes) -> str:
    return repr(name[:80].decode("utf-8", "replace"))
