package dom0

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hangbench/guests/lab/place"
	"hangbench/results/printable"
)

// Installed returns the names of the guest kernels in a folder of guests, and of
// the sets of programs for which it has an initramfs. A kernel is a folder with a
// profile.
func Installed(guests string) (kernels, programs []string, err error) {
	entries, err := os.ReadDir(guests)
	if err != nil {
		return nil, nil, fmt.Errorf("read the folder of guest kernels: %w", printable.File(err))
	}
	for _, e := range entries {
		if set, ok := strings.CutPrefix(e.Name(), place.Ramdisk("")+"-"); ok {
			programs = append(programs, set)
			continue
		}
		if _, err := os.Stat(filepath.Join(guests, e.Name(), place.Profile)); err == nil {
			kernels = append(kernels, e.Name())
		}
	}
	return kernels, programs, nil
}

// sysHypervisor is the folder in which Linux says what hypervisor it runs on.
const sysHypervisor = "/sys/hypervisor"

// Releases returns the release of the Xen that this machine runs on, as in 4.20, and none
// if it runs on no Xen. It needs no Xen library.
func Releases() []string { return releases(sysHypervisor) }

func releases(dir string) []string {
	var parts []string
	for _, file := range []string{"version/major", "version/minor"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil
		}
		parts = append(parts, string(bytes.TrimSpace(b)))
	}
	return []string{strings.Join(parts, ".")}
}
