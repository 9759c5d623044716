"""Runs a Ray cluster of two nodes on this machine, under the control of its parent.

It prints the address and the id of the second node, and "removed" once a line on its
standard input has asked for that node to be killed. It ends with its standard input.
"""

import sys

from ray import cluster_utils

# With 127.0.0.1, Ray advertises another address of the machine.
_HOST = "127.0.0.2"
_MEMORY = 100 * 2**20


def main() -> None:
    """Runs the cluster until standard input ends."""
    shared = {"node_ip_address": _HOST, "object_store_memory": _MEMORY}
    cluster = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={**shared, "num_cpus": 0, "include_dashboard": False},
    )
    cluster.add_node(**shared, num_cpus=1)
    second = cluster.add_node(**shared, num_cpus=1)
    cluster.wait_for_nodes()
    print(cluster.address, second.node_id, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
