"""What the kernel and the standard library give: processes, descriptors, sockets, the loop."""
