"""Which kernel modules go into the client initramfs, and into its extra archive: data only.

A kernel has some of them, as modules or built in.
"""

# Without any of these no root can be mounted.
REQUIRED = ("nbd", "aoe", "squashfs", "overlay", "loop")

# Xfs and btrfs are in the extra archive: they would be a third of this one, and a root that is served read-only is
# hardly ever one.
FILE_SYSTEMS = ("ext4", "isofs", "erofs")

# Wired network cards. At least one of them must be there, or no machine finds its server.
NETWORK_CARDS = (
    *("virtio_net", "hv_netvsc", "vmxnet3", "xen_netfront", "ena", "gve", "mana"),  # hypervisors and clouds
    *("e100", "e1000", "e1000e", "igb", "igbvf", "igc", "ixgbe", "ixgbevf", "i40e", "iavf", "ice"),  # Intel
    *("r8169", "8139cp", "8139too"),  # Realtek
    *("tg3", "bnx2", "bnx2x", "bnxt_en", "b44"),  # Broadcom
    *("alx", "atl1", "atl1c", "atl1e", "atl2", "atlantic"),  # Qualcomm Atheros, Aquantia
    *(
        "sky2",
        "skge",
        "forcedeth",
        "jme",
        "sis190",
        "sis900",
        "via_rhine",
        "via_velocity",
        "pcnet32",
        "ne2k_pci",
    ),  # boards
    *("mlx4_en", "mlx5_core", "cxgb4", "sfc", "qede", "be2net"),  # servers
    *("stmmac_pci", "dwmac_intel", "dwmac_generic", "genet", "lan78xx", "lan743x", "macb"),  # small computers
    *("r8152", "ax88179_178a", "asix", "cdc_ether", "cdc_ncm", "smsc95xx", "aqc111"),  # docks and USB adapters
)

# What stands between the card and the processor; loaded when a machine has it, missed by nobody when it hasn't.
BUSES = (
    *("virtio_pci", "virtio_mmio", "hv_vmbus", "pci_hyperv"),
    *("xhci_pci", "xhci_hcd", "ehci_pci", "uhci_hcd", "ohci_pci"),
    *(
        "realtek",
        "marvell",
        "broadcom",
        "bcm7xxx",
        "at803x",
        "micrel",
        "smsc",
        "motorcomm",
        "dp83867",
    ),  # PHYs, asked for by the card
    "af_packet",  # for DHCP, where it isn't built in
)

OPTIONAL = (*FILE_SYSTEMS, *NETWORK_CARDS, *BUSES)

# Of the extra archive: what machines with disks need, and those with their root on NFS.
DISKS = (
    *("virtio_blk", "virtio_scsi", "xen_blkfront", "hv_storvsc", "vmw_pvscsi", "mptspi"),  # hypervisors
    *("ahci", "ata_piix", "ata_generic", "sd_mod", "nvme", "vmd"),  # boards
    *("usb_storage", "uas", "mmc_block", "sdhci_pci", "sdhci_acpi"),  # sticks and cards
    *("megaraid_sas", "mpt3sas", "smartpqi", "hpsa", "aacraid"),  # servers
    *("raid1", "xfs", "btrfs"),
)
NFS = ("nfs", "nfsv3")
EXTRA = (*DISKS, *NFS)
