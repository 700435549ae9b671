"""What the benchmarks' project handles, stores and relays."""

from benchmarks.stage import ChangeOrder, change_order, orders

handles = {ChangeOrder: change_order}
repositories = [orders]
