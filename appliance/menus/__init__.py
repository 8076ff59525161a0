"""Boot menus: one model, read from and written as PXELINUX configuration, written as scripts of iPXE and GRUB."""
