# Neither text nor anything that a database would keep as text.
import sys

sys.stdout.buffer.write(b"\xff\x00\xed\xa0\x80\x1b[2J")
