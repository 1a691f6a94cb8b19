"""Reads the texts of single videos from the few row groups that hold them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cache.errors import CacheError
from cache.tables.embeddings import PriorTexts, open_tokens, read_words, texts_of
from cache.tables.schema import DESCRIPTION_KEY, TOKENS


class VideoTexts:
    """Reads the texts of one video at a time, without reading those of others.

    The vocabulary and the indices of the Parquet files are read once; files written later are not seen. Raises
    CacheError as `load_prior_texts` does.
    """

    def __init__(self, folder: Path) -> None:
        store = open_tokens(folder)
        self._parts = [(path, pq.read_metadata(path)) for path in sorted(store.folder.glob("part-*.parquet"))]
        self._ranges = [
            [_video_range(part.row_group(g)) for g in range(part.num_row_groups)] for _, part in self._parts
        ]
        self._words = read_words(folder)  # after the parts: words are written before the texts that use them

    def read(self, video_id: str) -> PriorTexts:
        """The texts of `video_id`; empty if there is no such video. Raises CacheError if they cannot be read."""
        tables = []
        for (path, metadata), ranges in zip(self._parts, self._ranges, strict=True):
            groups = [group for group, (low, high) in enumerate(ranges) if low <= video_id <= high]
            if not groups:
                continue
            try:
                with pq.ParquetFile(path, metadata=metadata, pre_buffer=True) as part:
                    table = part.read_row_groups(groups, columns=TOKENS.names, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise CacheError(f"{path}: cannot be read: {error}; open the embeddings again") from error
            tables.append(table.replace_schema_metadata(None).filter(pc.field("video_id") == video_id))
        rows = pa.concat_tables([TOKENS.empty_table(), *tables])
        keys = list(zip(*(rows[name].to_pylist() for name in DESCRIPTION_KEY), strict=True))
        last = {key: row for row, key in enumerate(keys)}
        return texts_of(rows.take(pa.array(list(last.values()), pa.int64())), self._words)


def video_texts(folder: Path, video_id: str) -> PriorTexts:
    """The texts of one video of `<dataset>/embeddings/<fingerprint>`; for several videos, use a VideoTexts."""
    return VideoTexts(folder).read(video_id)


def _video_range(group: pq.RowGroupMetaData) -> tuple[str, str]:
    """The first and last video of a row group; the widest range if it has no statistics."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == "video_id" and column.statistics is not None and column.statistics.has_min_max:
            return column.statistics.min, column.statistics.max
    return "", "\U0010ffff"
