"""What every LMS connector must do, whatever the LMS: inherit `LmsConformance` and tell it how to reach one."""
