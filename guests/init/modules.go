package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// unrestricted is a parameter of xen-privcmd that permits a guest's userland to make
// hypercalls. Without it, recent kernels permit that only to a domain that serves
// another domain, and xenwatchdogd does not work.
const unrestricted = "unrestricted=1"

// loadModules loads the modules in the initramfs that belong to this kernel.
func loadModules() error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	modules, err := filepath.Glob(filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]), "*.ko"))
	if err != nil {
		return err
	}
	for _, m := range modules { // sorted: each after those that it needs
		f, err := os.Open(m)
		if err != nil {
			return err
		}
		params := ""
		if strings.HasSuffix(m, "privcmd.ko") {
			params = unrestricted
		}
		err = unix.FinitModule(int(f.Fd()), params, 0)
		f.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	return nil
}
