"""What an LMS and a feed must offer."""
