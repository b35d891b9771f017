"""The parts of `benchmarks/writer.py`: one module for each claim, beside the rig and the bare loop that they share."""
