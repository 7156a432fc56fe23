"""§7.2.5 How fast it is: whole training steps and single products beside the tools a reader would otherwise pick.

`python -m bench --help` says how to run it; `bench/peers/` holds one contestant a file, each doing the same work.
"""
