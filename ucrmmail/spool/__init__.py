"""The queue on disk: what was accepted stays until every recipient was relayed or reported."""
