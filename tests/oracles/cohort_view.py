#!/usr/bin/env python3
"""Numbers for the golden view of tests/unit/cohort_view.c, by Python's statistics module: training median, mean,
SD, and inclusive (type 7) quantiles of training event times."""
import statistics

AGE = [50.0, 61.0, None, 47.5, 70.0, 66.0, 58.0, None, 39.0, 81.0, 55.0, 62.5]  # training centers A, B
TIME = [100, 250, 300, 410, 55, 720, 90, 640, 205, 333, 510, 150]
EVENT = [1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1]

known = [a for a in AGE if a is not None]
median = statistics.median(known)
filled = [median if a is None else a for a in AGE]
mean, sd = statistics.fmean(filled), statistics.pstdev(filled)
print("median", median)
print("age scaled", ["%.9g" % ((a - mean) / sd) for a in filled])
print("held-out 40, missing, 44", ["%.9g" % ((a - mean) / sd) for a in (40, median, 44)])
events = sorted(t for t, e in zip(TIME, EVENT) if e == 1)
print("cuts, 2 intervals", statistics.quantiles(events, n=2, method="inclusive") + [max(events)])
