package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// setOnline takes the last vCPU offline, or brings it online.
func (s *supervisor) setOnline(to string) error {
	path := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", s.cpus-1)
	return os.WriteFile(path, []byte(to), 0)
}

// powerOffPath is the program that the kernel runs when the toolstack asks the guest to
// power off (orderly_poweroff of kernel/reboot.c). It is this program. To reboot, the kernel
// needs no program.
const powerOffPath = "/sbin/poweroff"

// powerOff ends the guest.
func powerOff() error {
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
