"""What an index of an earlier version holds, taken over: nothing of it is encoded again.

Version 1 was one database; version 2 searched for words in the title and the text alone.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from rag.change import IndexChange
from rag.commits import FIRST_DATABASE
from rag.encoder import Encoder
from rag.errors import IndexUnusable
from rag.index import told
from rag.passages import headings, vector_key


def take_over(change: IndexChange, encoder: Encoder) -> None:
    """Take over what stands in the folder of `change`, if it is of an earlier version; it is only read.

    Raises IndexUnusable when one of version 1 was made by another encoder.
    """
    if change.base is not None and change.base.version < 3:
        change.renew_words()
    database = change.folder / FIRST_DATABASE
    if change.base is not None or not database.exists():
        return
    with told(change.folder), closing(sqlite3.connect(database)) as db:  # it may have a log yet
        about = dict(db.execute("SELECT key, value FROM about"))
        if about.get("encoder") != encoder.id.name:
            raise IndexUnusable(
                f"The index in {change.folder} was made by the encoder {about.get('encoder')},"
                f" not {encoder.id.name}.",
                remedy="Build it anew with `rag index --rebuild SOURCE`.",
            )
        for (path,) in db.execute("SELECT path FROM sources ORDER BY id"):
            change.add_source(Path(path))
        heading = headings(encoder.count_tokens, encoder.max_tokens)
        for title, date, text, vector in db.execute(
            'SELECT a.title, a.date, substr(a.text, p."start" + 1, p."end" - p."start"), p.vector'
            " FROM passages p JOIN articles a ON a.number = p.article WHERE p.vector IS NOT NULL"
        ):
            key = vector_key(heading(title, date), text)
            change.add_vectors([key], np.frombuffer(vector, dtype="<f4")[np.newaxis])
