"""Writes a Parquet file as CSV, as a spreadsheet would: parquet_to_csv.py IN OUT."""

import sys

import pyarrow.csv
import pyarrow.parquet

source, target = sys.argv[1:3]
pyarrow.csv.write_csv(pyarrow.parquet.read_table(source), target)
