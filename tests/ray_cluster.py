"""A Ray cluster of two nodes on this machine, in a process of its own: `remove` on stdin takes the second node away.

Prints the address of the head when both nodes are there, and a line after each command.
"""

import os
import sys

os.environ["RAY_TMPDIR"] = sys.argv[1]

from ray.cluster_utils import Cluster

NODE = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "memory": 2**31,  # each node would claim the whole machine's
    "include_dashboard": False,
}


def main() -> None:
    """Serve until stdin ends."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second = cluster.add_node(**{name: value for name, value in NODE.items() if name != "include_dashboard"})
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "remove":
            cluster.remove_node(second, allow_graceful=False)
        elif line.strip() == "add":
            second = cluster.add_node(**{name: value for name, value in NODE.items() if name != "include_dashboard"})
            cluster.wait_for_nodes()
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
