"""Counts on a Coppice node and follows the counter: python3 main.py DATA_DIRECTORY"""

import sys
import threading

from coppice import Client, CoppiceError

ROUNDS = 5


def count(data: str) -> None:
    client = Client.of_directory(data)
    for _ in range(ROUNDS):
        client.increment("python/visits")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    data = sys.argv[1]
    client = Client.of_directory(data)
    client.increment("python/visits", 10)
    start = client.value("python/visits")
    print(f"visits: {start}")

    # A second thread counts while this one follows the counter.
    writer = threading.Thread(target=count, args=(data,))
    for digest, value in client.watch("python/visits"):
        if not writer.is_alive() and value == start:
            writer.start()
        if value == start + ROUNDS:
            print(f"visits: {value}, digest {digest}")
            break
    writer.join()

    client.perform(
        "python/words",
        {"path": ["words", {"key": "hello", "type": "gcounter"}], "op": "increment", "args": [2]},
        {"path": [{"key": "language", "type": "lww"}], "op": "set", "args": ["Python"]},
        type="struct",
        ack="sync",
    )
    print(f"words: {client.value('python/words', 'words')}")
    print(f"groups: {', '.join(group['id'] for group in client.groups('python/'))}")

    print(f"events, by a view: {client.view('domain_sizes', ['python', 'nothing'])}")

    try:
        Client.of_directory(data, "token.read").increment("python/visits")
    except CoppiceError as error:
        print(f"with the token for reading: {error.code}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ConnectionError, CoppiceError) as error:
        sys.exit(f"error: {error}")
