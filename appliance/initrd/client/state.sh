# What the steps hand to each other. The kernel turns unknown key=value words of its command line into environment
# variables, so each of these is set here before anything looks at it.

CARRIAGE_RETURN=$(printf '\r')

# From the kernel's command line.
kiwiserver='' kiwiservertype=tftp ip_server='' bootif='' init='' root_access='' debug='' panic=$REBOOT_SECONDS
cmdline_nbdroot='' cmdline_aoeroot='' cmdline_nfsroot='' poll_seconds=60 extra_path=boot/initrd.extra
always_swap=''

# From DHCP.
nic='' lease_ip='' lease_mask=24 lease_router='' lease_dns='' lease_domain='' lease_siaddr='' lease_serverid=''

# The boot server, and what its configuration for this machine says.
machine_mac='' server='' from='' config_name=''
config_image='' config_nbdroot='' config_aoeroot='' config_unionfs='' config_overwrite='' config_interrupt=''
config_nfsroot='' config_disk='' config_part='' config_raid='' config_conf='' config_vendor_conf='' config_kernel=''
config_initrd='' config_kernel_options='' config_timeout='' config_reload_image='' config_reload_config=''
config_reboot='' config_shutdown='' config_ramonly=''

# The disks, and how many partitions each must have.
disk='' raid_disks='' present_disks='' part_count=''

# The root: its device, how it is reached (disk, ram, nfs, nbd, aoe), whether it is written to without an overlay, and
# where changes go to with one (nothing: memory).
write_device='' ROOT=/root
root_device='' root_mode='' default_access=ro root_image='' root_is_named='' part_root=''
