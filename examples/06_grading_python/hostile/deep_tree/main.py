import os
import sys

depth = 0
while depth < 5000:
    os.mkdir("d")
    os.chdir("d")
    depth += 1
sys.exit("%d deep" % depth)
