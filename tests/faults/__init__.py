"""Crashes and faults: whatever strikes a night, it ends as it should, or says why it did not."""
