import collections
import sys


def main():
    most = int(sys.argv[2]) if sys.argv[1:2] == ["--most"] else None
    counts = collections.Counter(sys.stdin.read().lower().split())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for word, count in ranked[:most]:
        print(word, count)


main()
