# The boot loader's script on the Raspberry Pi (and in QEMU's arm64 board): two slots, and a counter for the one that is tried.
#
# gwstate0.env and gwstate1.env hold one record of 512 bytes each, as "env export -c" writes it: a checksum, gw_good, gw_left, gw_try.
# src/update/boot/uboot_script.rs writes it, too. One is written after the other, so one is always whole: the first one whose
# checksum is right counts. Counting is done before what is tried is started, and only while something is tried.
if test -z "${devtype}"; then setenv devtype virtio; setenv devnum 0; fi
if test -z "${distro_bootpart}"; then setenv distro_bootpart 1; fi
setenv gw_disk "${devtype} ${devnum}:${distro_bootpart}"
setenv gw_good a
setenv gw_try none
setenv gw_left 0
setenv gw_from none
for record in gwstate0.env gwstate1.env; do
  if test "${gw_from}" = "none"; then
    if load ${gw_disk} ${ramdisk_addr_r} /${record}; then
      if env import -c ${ramdisk_addr_r} ${filesize} gw_good gw_left gw_try; then
        setenv gw_from ${record}
      fi
    fi
  fi
done
setenv gw_slot ${gw_good}
setenv gw_is_trial no
if test "${gw_try}" != "none"; then
  if test ${gw_left} -gt 0; then
    setexpr gw_left ${gw_left} - 1
    env export -c -s 0x200 ${ramdisk_addr_r} gw_good gw_left gw_try
    fatwrite ${gw_disk} ${ramdisk_addr_r} /gwstate0.env 200
    fatwrite ${gw_disk} ${ramdisk_addr_r} /gwstate1.env 200
    setenv gw_slot ${gw_try}
    setenv gw_is_trial yes
  fi
fi
echo "FRONTDESK slot=${gw_slot} good=${gw_good} try=${gw_try} left=${gw_left} record=${gw_from}"
load ${gw_disk} ${kernel_addr_r} /slot-${gw_slot}.efi && bootefi ${kernel_addr_r} ${fdtcontroladdr}
echo "FRONTDESK slot ${gw_slot} does not start"
if test "${gw_is_trial}" = "no"; then
  # Better the other one than none.
  if test "${gw_slot}" = "a"; then setenv gw_slot b; else setenv gw_slot a; fi
  load ${gw_disk} ${kernel_addr_r} /slot-${gw_slot}.efi && bootefi ${kernel_addr_r} ${fdtcontroladdr}
fi
sleep 5
reset
