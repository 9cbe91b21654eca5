"""Pairs in a CSV or TSV file with named columns."""

from __future__ import annotations

import csv
import os
import sys
from typing import Dict, Iterator, List, Optional, Tuple

from passl.datasets.sources.base import Sample, Source
from passl.datasets.sources.files import read_names
from passl.utils.errors import UserError
from passl.utils.registry import DATASETS, nearest

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


@DATASETS.register()
class ImageTextTable(Source):
    """A table with a header, and a row per pair: the path of the picture, its caption, perhaps its class.

    UTF-8, with or without byte order mark, any line ends. A picture may stand in several rows; each is a sample.

    Args:
        path: the table.
        image_column: name of the column with the paths of the pictures.
        caption_column: name of the column with the captions; null if there is none.
        label_column: name of the column with class names, if there is one.
        class_names: a file with one class name a line, whose order gives the labels; null takes the names in the label
            column, sorted.
        separator: what stands between columns; null goes by the suffix, a comma for .csv and a tab for .tsv.
        quoted: whether fields may stand in double quotes; false takes quotes as ordinary characters.
        root: the folder that relative paths of pictures start from; null is the table's own.
    """

    def __init__(
        self,
        path: str,
        image_column: str = "filepath",
        caption_column: Optional[str] = "title",
        label_column: Optional[str] = None,
        class_names: Optional[str] = None,
        separator: Optional[str] = None,
        quoted: bool = True,
        root: Optional[str] = None,
    ) -> None:
        if not os.path.isfile(path):
            raise UserError(f"there is no table {path}; expected: a CSV or TSV file with a header")
        if class_names is not None and label_column is None:
            raise UserError("class_names is given without label_column; say which column holds the classes")
        columns = [column for column in (image_column, caption_column, label_column) if column is not None]
        rows = list(_read_rows(path, columns, _separator(path, separator), quoted))
        if not rows:
            raise UserError(f"{path} has a header and no row below it")
        self.has_captions = caption_column is not None
        if label_column is not None:
            labels = [(line, row[label_column]) for line, row in rows]
            self.class_names, indices = _index_labels(path, labels, class_names)
        folder = os.path.dirname(path) if root is None else root
        self.samples = [
            Sample(
                os.path.join(folder, row[image_column]),
                (row[caption_column],) if caption_column is not None else (),
                indices[position] if label_column is not None else None,
            )
            for position, (_, row) in enumerate(rows)
        ]


def _separator(path: str, given: Optional[str]) -> str:
    if given is not None:
        if len(given) != 1:
            raise UserError(f"separator is {given!r}; it is a single character")
        return given
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _SEPARATORS:
        raise UserError(f"{path} ends in neither .csv nor .tsv; say what stands between its columns: separator: ';'")
    return _SEPARATORS[suffix]


def _read_rows(path: str, columns: List[str], separator: str, quoted: bool) -> Iterator[Tuple[int, Dict[str, str]]]:
    """The line number and the wanted columns of each row; the first of them may not be empty."""
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a caption may be long
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(
                file, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
            )
            header = next(reader, None)
            if header is None:
                raise UserError(f"{path} is empty; expected: a header with the columns {', '.join(columns)}")
            positions = {column: _position(path, header, column, separator) for column in columns}
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise UserError(f"{path}:{reader.line_num}: {len(row)} columns, and the header has {len(header)}")
                values = {column: row[position].strip() for column, position in positions.items()}
                if not values[columns[0]]:
                    raise UserError(f"{path}:{reader.line_num}: the column {columns[0]!r} is empty")
                yield reader.line_num, values
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: {error}. A field that begins with a double quote ends with one, and a quote "
            "inside is written twice; `quoted: false` takes quotes as ordinary characters"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _position(path: str, header: List[str], column: str, separator: str) -> int:
    names = [name.strip() for name in header]
    if column not in names:
        one_column = f" (only one: is {separator!r} what separates them?)" if len(names) == 1 else ""
        raise UserError(
            f"{path} has no column {column!r}.{nearest(column, names)} Its columns{one_column}: {', '.join(names)}"
        )
    if names.count(column) > 1:
        raise UserError(f"{path} has {names.count(column)} columns named {column!r}")
    return names.index(column)


def _index_labels(path: str, labels: List[Tuple[int, str]], class_file: Optional[str]) -> Tuple[List[str], List[int]]:
    """The class names, and each row's index into them."""
    names = sorted({label for _, label in labels}) if class_file is None else read_names(class_file)
    indices = {name: index for index, name in enumerate(names)}
    for line, label in labels:
        if not label:
            raise UserError(f"{path}:{line}: the class is empty")
        if label not in indices:
            raise UserError(f"{path}:{line}: class {label!r} is not in {class_file}.{nearest(label, names)}")
    return names, [indices[label] for _, label in labels]
