# U-Boot's part, the same on a Raspberry Pi and in the emulator: two slots, so many tries each. What it knows is
# in one sector (LBA 64, so a write cannot tear), which RAUC reads and writes as BOOT_ORDER and BOOT_x_LEFT.
setenv BOOT_ORDER "A B"; setenv BOOT_A_LEFT 3; setenv BOOT_B_LEFT 3
if test "${devtype}" != virtio; then
  # A card or stick on a Pi. Farther apart than the board's own places, which are too near for this kernel.
  setenv buf 0x07f00000; setenv kernel 0x08000000; setenv ramdisk 0x0c000000
  # The firmware's device tree lies where the firmware likes: out of the way of what is loaded.
  setenv fdt ${fdtcontroladdr}
  if test -n "${fdt_addr}"; then
    if fdt move ${fdt_addr} 0x07c00000 0x100000; then setenv fdt 0x07c00000; fi
  fi
else
  setenv buf ${pxefile_addr_r}; setenv kernel ${kernel_addr_r}; setenv ramdisk ${ramdisk_addr_r}
  setenv fdt ${fdtcontroladdr}
fi
${devtype} dev ${devnum}
if ${devtype} read ${buf} 40 1; then
  if env import -c ${buf} 200 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT; then
    echo "rig: ${BOOT_ORDER}, A ${BOOT_A_LEFT}, B ${BOOT_B_LEFT}"
  else
    echo "rig: no state of slots yet"
  fi
fi
setenv slot
for s in ${BOOT_ORDER}; do
  if test -z "${slot}"; then
    if test "${s}" = A; then
      if test ${BOOT_A_LEFT} -gt 0; then setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1; setenv slot A; setenv part 2; fi
    fi
    if test "${s}" = B; then
      if test ${BOOT_B_LEFT} -gt 0; then setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1; setenv slot B; setenv part 3; fi
    fi
  fi
done
if test -z "${slot}"; then
  echo "rig: no tries are left; all over again"
  setenv BOOT_A_LEFT 3; setenv BOOT_B_LEFT 3
fi
env export -c -s 200 ${buf} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT
${devtype} write ${buf} 40 1
if test -z "${slot}"; then reset; fi
echo "rig: slot ${slot}"
if load ${devtype} ${devnum}:${part} ${buf} /boot/cmdline.txt; then
  setexpr end ${buf} + ${filesize}; mw.b ${end} 0 1; setexpr.s line *${buf}
  setenv bootargs "${line} root=PARTUUID=72696764-0${part} rauc.slot=${slot}"
  # The console of the board comes last, so it is the one that systemd speaks on.
  if test "${devtype}" = virtio; then setenv bootargs "${bootargs} console=ttyAMA0"; else setenv bootargs "${bootargs} console=tty1"; fi
  if load ${devtype} ${devnum}:${part} ${kernel} /boot/vmlinuz; then
    if load ${devtype} ${devnum}:${part} ${ramdisk} /boot/initrd.img; then
      booti ${kernel} ${ramdisk}:${filesize} ${fdt}
    fi
  fi
fi
echo "rig: slot ${slot} cannot be loaded"; sleep 1; reset
