"""Rows out of CSV files and workbooks, each with the place it came from."""
