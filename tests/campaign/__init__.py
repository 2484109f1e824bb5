"""Campaigns: real processes against real servers, killed and refused wherever it hurts; short in the tests, long on request."""
