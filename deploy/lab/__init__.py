"""The lab: diskless QEMU clients on a LAN of network namespaces, booted by the appliance."""
