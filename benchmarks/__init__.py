"""Benchmarks: ours against the floor, interleaved in one run, as ratios.

A floor is a straight script without our code, without our guarantees, doing the same work on the
same servers, one step after the other. It isn't the limit: what does two things at once can beat
it. Absolute figures say more about the machine than about the code.
"""
