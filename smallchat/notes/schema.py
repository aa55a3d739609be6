"""The index's tables. Whoever changes them changes `VERSION`: an index of another version is made anew."""

from __future__ import annotations

VERSION = 1

COLUMNS = "title, heading, tags, links, body, grams"

TABLES = f"""
CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    hash BLOB NOT NULL,
    title TEXT NOT NULL,
    skipped TEXT NOT NULL
) STRICT;
CREATE TABLE names (note INTEGER NOT NULL, name TEXT NOT NULL) STRICT;
CREATE INDEX names_by_name ON names (name);
CREATE INDEX names_by_note ON names (note);
CREATE TABLE tags (note INTEGER NOT NULL, tag TEXT NOT NULL) STRICT;
CREATE INDEX tags_by_note ON tags (note);
CREATE TABLE links (note INTEGER NOT NULL, target TEXT NOT NULL, line INTEGER NOT NULL) STRICT;
CREATE INDEX links_by_note ON links (note);
CREATE INDEX links_by_target ON links (target);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY,
    note INTEGER NOT NULL,
    headings TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT;
CREATE INDEX passages_by_note ON passages (note);
CREATE VIRTUAL TABLE words USING fts5 (
    {COLUMNS}, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, row);
"""
"""`notes.skipped`: why the file is not searched; empty: it is. `names`, `links.target`: folded. `modified`,
`checked`: nanoseconds. `words` has a row for each passage, of the same id."""

WEIGHTS = "6.0, 3.0, 3.0, 1.5, 1.0, 1.0"
"""What a word in the title, heading, tags, links, text and pieces of the text counts in BM25."""
