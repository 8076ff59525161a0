# What the steps hand to each other. The kernel turns unknown key=value words of its command line into environment
# variables, so each of these is set here before anything looks at it.

CARRIAGE_RETURN=$(printf '\r')

# From the kernel's command line.
kiwiserver='' kiwiservertype=tftp ip_server='' bootif='' init='' root_access='' debug='' panic=$REBOOT_SECONDS
cmdline_nbdroot='' cmdline_aoeroot='' poll_seconds=60

# From DHCP.
nic='' lease_ip='' lease_mask=24 lease_router='' lease_dns='' lease_domain='' lease_siaddr='' lease_serverid=''

# The boot server, and what its configuration for this machine says.
machine_mac='' server='' from='' config_name=''
config_image='' config_nbdroot='' config_aoeroot='' config_unionfs='' config_overwrite='' config_interrupt=''

# The root: its device, how it is reached (ram, nbd, aoe), and whether it is written to without an overlay.
root_device='' root_mode='' default_access=ro
