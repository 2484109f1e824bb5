"""What is installed from packages: `make package-test`, apart from `make test`, since each makes a system of its own."""
