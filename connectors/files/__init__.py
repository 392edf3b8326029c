"""Any LMS that takes only CSV uploads."""
