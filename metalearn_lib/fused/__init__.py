"""The same answers, faster: build, learner and loop, and their two C++ files."""
