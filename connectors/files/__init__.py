"""Any LMS that takes nothing but CSV uploads: files by template into a folder or an SFTP server."""
