"""Reads the files of `tributary bench import` with DuckDB, all columns of all rows: import_duckdb.py FOLDER.

Prints one JSON object: seconds by format, the version, and why a format was left out.
"""

import json
import os
import sys
import time

import duckdb

folder = sys.argv[1]
readers = {
    "csv": "read_csv('{}')",
    "csv.gz": "read_csv('{}')",
    "jsonl": "read_json('{}', format='newline_delimited')",
    "xlsx": "read_xlsx('{}')",
    "parquet": "read_parquet('{}')",
}
answer = {"version": duckdb.__version__, "seconds": {}, "skipped": {}}
for name, reader in readers.items():
    path = os.path.join(folder, "lines." + name)
    if not os.path.exists(path):
        continue
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    source = reader.format(path)
    begun = time.monotonic()
    try:
        # A hash over every value: nothing can be left unread.
        connection.execute(f"SELECT count(*), sum(hash(COLUMNS(*))) FROM {source}").fetchall()
        answer["seconds"][name] = time.monotonic() - begun
    except Exception as error:
        answer["skipped"][name] = str(error).splitlines()[0]
print(json.dumps(answer))
