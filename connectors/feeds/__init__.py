"""HRIS feeds: folders and SFTP drops, read, staged and compared."""
