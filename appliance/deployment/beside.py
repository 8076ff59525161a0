"""Files in image/ that belong to an image of the same name: its kernel and initramfs, and what installs a disk image.

    NAME                     a root image
    NAME.kernel              its kernel, which comes before what is inside the image
    NAME.initrd              the initramfs for it
    NAME.append              more words for the kernel

    NAME.xz                  a disk image that is to be installed
    pxeboot.NAME.initrd      the initramfs that installs it, with NAME.kernel
    NAME.initrd              the installed system's, which is started by kexec then
    NAME.config.bootoptions  what that is told

They are KIWI's own names, as far as its versions agree on them and its clients ask for them.
"""

KERNEL_SUFFIX = ".kernel"
INITRD_SUFFIX = ".initrd"
APPEND_SUFFIX = ".append"
BOOT_OPTIONS_SUFFIX = ".config.bootoptions"
PACKED_DISK_SUFFIX = ".xz"
INSTALLER_PREFIX = "pxeboot."
SUFFIXES = (KERNEL_SUFFIX, INITRD_SUFFIX, APPEND_SUFFIX, BOOT_OPTIONS_SUFFIX)
